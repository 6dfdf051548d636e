"""What the validation songs decide at the end of a training: the temperature, and what is predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from songbag_store.progress import Progress
from songbag_store.terminal import plain_text
from songbag_store.words import counted
from songbag_training.config import RunConfig
from songbag_training.evaluation.calibration import fit_temperature, scale
from songbag_training.evaluation.thresholds import FEWEST, with_best_f1
from songbag_training.runs.run import Run
from songbag_training.runs.weights import save_weights
from songbag_training.songs.costs import with_costs
from songbag_training.songs.task import Task
from songbag_training.types import Floats, Targets

if TYPE_CHECKING:
    from songbag_training.evaluation.score import SongScorer
    from songbag_training.fit.material import Material

_NAMES_SHOWN = 8


def decide(run: Run, material: Material, scorer: SongScorer, progress: Progress) -> None:
    """Set the temperature and what is predicted, as the options say, and keep both in the run.

    Parameters
    ----------
    run : Run
    material : Material
    scorer : SongScorer
        Of the model with the weights of the run; its temperature is set.
    progress : Progress
        Where to say what was decided.
    """
    config, task = material.config, material.labels.task
    if not (config.calibrates or config.thresholds):
        return
    songs, true = material.subset("validation")
    temperature = scorer.model.get_layer("pooling").temperature
    # Weights from an interrupted end of this training may be calibrated already.
    temperature.assign(np.ones(1, np.float32))
    scores = scorer.of_store(material.store, songs)
    probabilities = np.array([score.probabilities for score in scores])
    if config.calibrates:
        found = temperature_of(task, true, probabilities, progress)
        temperature.assign(np.full(1, found, np.float32))
        save_weights(scorer.model, run.weights_path)
        probabilities = scale(task, probabilities, found)
    run.predict_by(rule_of(config, task, true, probabilities, progress))


def temperature_of(task: Task, true: Targets, probabilities: Floats, progress: Progress) -> float:
    """Return the temperature that suits the validation songs, and say it."""
    found = fit_temperature(task, true, probabilities)
    progress.note(f"temperature {found:.2f}: log loss of the validation songs is lowest there")
    return found


def rule_of(config: RunConfig, task: Task, true: Targets, probabilities: Floats, progress: Progress) -> Task:
    """Return the task with the costs, or the thresholds that suit the validation songs, and say them."""
    if config.weighs_costs:
        task = with_costs(task, config.thresholds or "")
        progress.note(f"least expected cost: predicted is {task.rule}")
    elif config.thresholds:
        task, few = with_best_f1(task, true, probabilities)
        progress.note(f"best F1 of {counted(len(true), 'validation song')}: predicted is {task.rule}")
        if few:
            named = ", ".join(map(plain_text, few[:_NAMES_SHOWN])) + ", ..." * (len(few) > _NAMES_SHOWN)
            progress.note(f"note: fewer than {FEWEST} validation songs have, or lack, these classes, so 0.5: {named}")
    return task
