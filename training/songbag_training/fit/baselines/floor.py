"""Learners on summaries beside a training: its floor, what a baseline reaches on the same test songs; and its trees.

No TensorFlow here.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from songbag_store import SongStore
from songbag_store.errors import SongbagError
from songbag_store.progress import Progress, Silent
from songbag_training.config import BaselineConfig
from songbag_training.evaluation.metrics import song_metrics
from songbag_training.fit.baselines.learner import SummaryMaterial, fitted_trees, predictor_of
from songbag_training.fit.material import Material
from songbag_training.runs.facts import FloorFacts
from songbag_training.summaries.scorer import SummaryScorer
from songbag_training.summaries.statistics import SongSummaries
from songbag_training.summaries.trees import Trees

_shared_by: WeakKeyDictionary[SongStore, SongSummaries] = WeakKeyDictionary()
"""The summaries that folds share, and the trees and the floor of one training, as long as their store is open."""


def floor_of(
    material: Material, progress: Progress, *, is_fold: bool = False, trees: Trees | None = None
) -> FloorFacts | None:
    """Return what `songbag baseline` reaches with the songs, the split and the seed of a training; None if it cannot.

    No random number of the training is drawn, so its weights do not change. With `is_fold`, songs are summed up once
    for all folds that are trained in this process. `trees` are those of `trees_of`, if there are any.
    """
    store, labels = material.store, material.labels
    try:
        own = _material(material, _options(material), is_fold=is_fold)
        predictor = predictor_of(own, Silent(), trees)
        rows = material.split.rows_of("test")
        scores = SummaryScorer(predictor, store.spec, own.known).of_store(store, own.rows(np.array(rows, np.int64)))
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


def trees_of(material: Material, *, is_fold: bool = False) -> Trees | None:
    """Return the trees that count in the predictions of a training; None if it has none. See `floor_of`.

    Raises
    ------
    ModelError
        If the features of a song cannot be summed up.
    """
    if not material.config.tree_share:
        return None
    return fitted_trees(_material(material, _options(material), is_fold=is_fold), Silent())


def _options(material: Material) -> BaselineConfig:
    return BaselineConfig(seed=material.config.seed, class_weight=material.config.class_weight)


def _material(material: Material, config: BaselineConfig, *, is_fold: bool) -> SummaryMaterial:
    is_shared = is_fold or material.config.tree_share
    known = _shared(material, config) if is_shared else SongSummaries(material.store, config.summaries)
    return SummaryMaterial(
        material.store, material.label, material.where, material.labels, material.split, config, known
    )


def _shared(material: Material, config: BaselineConfig) -> SongSummaries:
    """Return the summaries of all songs of a training or a cross-validation."""
    known = _shared_by.get(material.store)
    if known is None or not known.has(material.labels.songs):
        known = SongSummaries.remembered(material.store, material.labels.songs, config.summaries)
        _shared_by[material.store] = known
    return known
