"""Metrics of each learner of a baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from songbag_training.evaluation.metrics import song_metrics
from songbag_training.evaluation.predictions import SongScore
from songbag_training.songs.task import Task
from songbag_training.types import Floats, Targets


def judge_learners(
    task: Task,
    true: Targets,
    rows_of: Mapping[str, Sequence[int]],
    probabilities: Floats,
    scores: Iterable[SongScore],
) -> dict[str, dict[str, Any]]:
    """Fill in the probabilities of songs; return the metrics of each learner on each subset, as ``learners``.

    Parameters
    ----------
    task : Task
    true : Targets
        Of all songs.
    rows_of : mapping
        The rows of each subset.
    probabilities : float64, shape (n, n_classes)
        Filled in.
    scores : iterable of SongScore
        Of all songs, in their order.
    """
    found: dict[str, Floats] = {}
    for row, score in enumerate(scores):
        probabilities[row] = score.probabilities
        for name, own in score.of_learners.items():
            found.setdefault(name, np.empty_like(probabilities))[row] = own
    return {
        subset: {"learners": {name: song_metrics(task, true[rows], own[rows]) for name, own in found.items()}}
        for subset, rows in rows_of.items()
    }
