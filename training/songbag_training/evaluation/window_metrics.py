"""Metrics of windows, summed up song by song: memory grows with the number of classes, not of windows."""

from __future__ import annotations

from itertools import repeat

import numpy as np

from songbag_training.evaluation.metrics import (
    CONFIDENCE_BINS,
    answers,
    calibration_gaps,
    outcomes,
    ranking_metrics,
    summed_metrics,
)
from songbag_training.songs.task import Task
from songbag_training.types import Bools, Floats, Metrics, Targets

_SCORE_BINS = 4096
_LOG_ODDS = 20.0


class WindowMetrics:
    """Sums up the predictions of windows; a window is right if it predicts the song's label, or one of its own.

    The metrics are those of `song_metrics`. For ROC-AUC and average precision the log-odds of probabilities are rounded
    to 4,096 steps between -20 and 20, so any number of windows needs 64 KB for each class; the results are within 0.001
    of the exact values. The other metrics are exact.

    Parameters
    ----------
    task : Task
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._n = 0
        self._loss = 0.0
        self._counts = np.zeros(3 * len(task.classes) + 1, np.int64)
        self._gaps = np.zeros(CONFIDENCE_BINS)
        self._ranks = np.zeros((len(task.classes), 2, _SCORE_BINS), np.int64)

    def add(self, true: Targets, probabilities: Floats) -> None:
        """Add the windows of one song.

        Parameters
        ----------
        true : Targets
            Of the song, or of each window.
        probabilities : float64, shape (N, n_classes)
        """
        task, n = self._task, len(probabilities)
        repeated = np.broadcast_to(true, (n, *true.shape[1:]))
        own = task.members(repeated)
        self._n += n
        self._loss += float(task.losses(repeated, probabilities).sum())
        self._counts += outcomes(own, task.predicted(probabilities)).sum(axis=0)
        self._gaps += calibration_gaps(*answers(task, repeated, probabilities))
        self._add_ranks(own, probabilities)

    def _add_ranks(self, own: Bools, probabilities: Floats) -> None:
        with np.errstate(divide="ignore"):
            log_odds = np.log(probabilities) - np.log1p(-np.minimum(probabilities, 1.0))
        places = (np.clip(log_odds, -_LOG_ODDS, _LOG_ODDS) + _LOG_ODDS) * ((_SCORE_BINS - 1) / (2 * _LOG_ODDS))
        np.add.at(self._ranks, (np.arange(own.shape[1]), own.astype(np.int64), np.round(places).astype(np.int64)), 1)

    def metrics(self) -> Metrics:
        """Return the metrics of all windows so far, and their number as `n`."""
        members = np.repeat([False, True], _SCORE_BINS)
        scores = np.tile(np.arange(_SCORE_BINS, dtype=np.float64), 2)
        weights = [own.reshape(-1).astype(np.float64) for own in self._ranks[self._task.ranked.start :]]
        ranking = ranking_metrics(repeat(members), repeat(scores), weights)
        return summed_metrics(self._task, self._n, self._counts, self._gaps, self._loss, ranking)
