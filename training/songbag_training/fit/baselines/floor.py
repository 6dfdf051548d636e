"""The floor of a training: what a baseline reaches on the same test songs. No TensorFlow here."""

from __future__ import annotations

import numpy as np

from songbag_store.errors import SongbagError
from songbag_store.progress import Progress, Silent
from songbag_training.config import BaselineConfig
from songbag_training.evaluation.metrics import song_metrics
from songbag_training.fit.baselines.learner import SummaryMaterial, predictor_of
from songbag_training.fit.material import Material
from songbag_training.runs.facts import FloorFacts
from songbag_training.summaries.scorer import SummaryScorer
from songbag_training.summaries.statistics import SongSummaries


def floor_of(material: Material, progress: Progress) -> FloorFacts | None:
    """Return what `songbag baseline` reaches with the songs, the split and the seed of a training; None if it cannot.

    No random number of the training is drawn, so its weights do not change.
    """
    store, labels, config = material.store, material.labels, BaselineConfig(seed=material.config.seed)
    known = SongSummaries(store, config.summaries)
    own = SummaryMaterial(store, material.label, material.where, labels, material.split, config, known)
    try:
        predictor = predictor_of(own, Silent())
        rows = material.split.rows_of("test")
        scores = SummaryScorer(predictor, store.spec, known).of_store(store, own.rows(np.array(rows, np.int64)))
        found = [score.of_learners for score in scores]
    except SongbagError as error:
        progress.note(f"note: there is no floor to compare with ({error.what})")
        return None
    true = labels.targets(rows)

    def accuracy(learner: str) -> float:
        return float(song_metrics(labels.task, true, np.array([one[learner] for one in found]))["accuracy"])

    return FloorFacts(
        learner=predictor.learner, linear=accuracy("linear"), trees=accuracy("trees"), mean=accuracy("mean")
    )
