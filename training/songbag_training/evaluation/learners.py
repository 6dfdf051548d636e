"""Metrics of each learner of a baseline, and of each member of a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from songbag_training.evaluation.metrics import room, song_metrics
from songbag_training.evaluation.predictions import SongScore
from songbag_training.songs.task import Task
from songbag_training.types import Floats, Targets


def judge_learners(
    task: Task,
    true: Targets,
    rows_of: Mapping[str, Sequence[int]],
    probabilities: Floats,
    scores: Iterable[SongScore],
    folder: Path,
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
    folder : pathlib.Path
        Where many numbers lie meanwhile, see `songbag_training.evaluation.metrics.room`.
    """
    found = Learners(probabilities.shape, folder)
    for row, score in enumerate(found.noted(scores)):
        probabilities[row] = score.probabilities
    return {subset: found.metrics(task, true, rows) for subset, rows in rows_of.items()}


class Learners:
    """The probabilities of each learner, noted as scores of songs go by.

    Parameters
    ----------
    shape : tuple of int
        Of the probabilities of all songs, (n, n_classes).
    folder : pathlib.Path
        Where many numbers lie meanwhile.
    """

    def __init__(self, shape: tuple[int, ...], folder: Path) -> None:
        self._shape, self._folder = shape, folder
        self._found: dict[str, Floats] = {}

    def noted(self, scores: Iterable[SongScore]) -> Iterator[SongScore]:
        """Yield the scores of all songs, in their order."""
        for row, score in enumerate(scores):
            for name, own in score.of_learners.items():
                if name not in self._found:
                    self._found[name] = room(self._shape[0], self._shape[1], self._folder)
                self._found[name][row] = own
            yield score

    def metrics(self, task: Task, true: Targets, rows: Sequence[int]) -> dict[str, Any]:
        """Return ``learners``, the metrics of each on some songs; nothing if there are none."""
        numbers = np.array(rows, np.int64)
        found = {name: song_metrics(task, true, own, rows=numbers) for name, own in self._found.items()}
        return {"learners": found} if found else {}
