"""What the validation songs decide at the end of a training: the temperature, and what is predicted."""

from __future__ import annotations

import keras
import numpy as np

from songbag_store.progress import Progress
from songbag_store.terminal import plain_text
from songbag_store.words import counted
from songbag_training.evaluation.calibration import fit_temperature, scale
from songbag_training.evaluation.score import SongScorer, stored_pieces
from songbag_training.evaluation.thresholds import FEWEST, with_best_f1
from songbag_training.fit.material import Material
from songbag_training.runs.run import Run
from songbag_training.runs.weights import save_weights
from songbag_training.songs.costs import with_costs

_NAMES_SHOWN = 8


def decide(run: Run, material: Material, model: keras.Model, progress: Progress) -> None:
    """Set the temperature and what is predicted, as the options say, and keep both in the run.

    Parameters
    ----------
    run : Run
    material : Material
    model : keras.Model
        With the weights of the run; its temperature is set.
    progress : Progress
        Where to say what was decided.
    """
    config, task = material.config, material.labels.task
    if not (config.calibrates or config.thresholds):
        return
    songs, true = material.subset("validation")
    temperature = model.get_layer("pooling").temperature
    # Weights from an interrupted end of this training may be calibrated already.
    temperature.assign(np.ones(1, np.float32))
    scorer = SongScorer(model, task)
    scores = scorer.score(stored_pieces(material.store, songs, scorer.chunk_windows))
    probabilities = np.array([score.probabilities for score in scores])
    if config.calibrates:
        found = fit_temperature(task, true, probabilities)
        temperature.assign(np.full(1, found, np.float32))
        save_weights(model, run.weights_path)
        progress.note(f"temperature {found:.2f}: log loss of the validation songs is lowest there")
        probabilities = scale(task, probabilities, found)
    if config.weighs_costs:
        task = with_costs(task, config.thresholds or "")
        progress.note(f"least expected cost: predicted is {task.rule}")
    elif config.thresholds:
        task, few = with_best_f1(task, true, probabilities)
        progress.note(f"best F1 of {counted(len(true), 'validation song')}: predicted is {task.rule}")
        if few:
            named = ", ".join(map(plain_text, few[:_NAMES_SHOWN])) + ", ..." * (len(few) > _NAMES_SHOWN)
            progress.note(f"note: fewer than {FEWEST} validation songs have, or lack, these classes, so 0.5: {named}")
    run.predict_by(task)
