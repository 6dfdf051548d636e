"""Metrics of windows, summed up song by song: memory grows with the number of classes, not of windows."""

from __future__ import annotations

import numpy as np

from songbag_training.evaluation.metrics import (
    CONFIDENCE_BINS,
    calibration_error,
    confidence_bins,
    metric_names,
    ranking_metrics,
)
from songbag_training.songs.task import Task
from songbag_training.types import Bools, Floats, Metrics, Targets

_SCORE_BINS = 4096
_LOG_ODDS = 20.0


class WindowMetrics:
    """Sums up what windows say of their songs; a window is right if it says the song's label.

    The metrics are those of `song_metrics`. ROC-AUC and average precision take probabilities
    whose log-odds fall into the same of 4,096 bins between -20 and 20 for equal, so that 64 KB a class are enough for
    any number of windows; they are within 0.001 of the exact values. The others are exact.

    Parameters
    ----------
    task : Task
    """

    def __init__(self, task: Task) -> None:
        n_classes = len(task.classes)
        self._task = task
        self._n = 0
        self._loss = 0.0
        self._subset_hits = 0
        # true and predicted, true only, predicted only
        self._counts = np.zeros((3, n_classes), np.int64)
        self._ranks = np.zeros((n_classes, 2, _SCORE_BINS), np.int64)
        self._confidence = np.zeros((3, CONFIDENCE_BINS))

    def add(self, true: Targets, probabilities: Floats) -> None:
        """Add the windows of one song.

        Parameters
        ----------
        true : Targets, of one song
        probabilities : float64, shape (N, n_classes)
        """
        n = len(probabilities)
        repeated = np.broadcast_to(true, (n, *true.shape[1:]))
        own, said = self._task.members(true), self._task.predicted(probabilities)
        self._n += n
        self._subset_hits += int((said == own).all(axis=1).sum())
        self._counts += np.stack([(said & own).sum(axis=0), (~said & own).sum(axis=0), (said & ~own).sum(axis=0)])
        self._loss += float(self._task.losses(repeated, probabilities).sum())
        self._add_ranks(own, probabilities)
        hits = self._task.right(repeated, probabilities).ravel()
        confidence = self._task.confidences(probabilities).ravel()
        bins = confidence_bins(confidence)
        for sums, values in zip(self._confidence, (hits, confidence, np.ones(len(hits))), strict=True):
            sums += np.bincount(bins, values, CONFIDENCE_BINS)

    def _add_ranks(self, own: Bools, probabilities: Floats) -> None:
        with np.errstate(divide="ignore"):
            log_odds = np.log(probabilities) - np.log1p(-np.minimum(probabilities, 1.0))
        places = (np.clip(log_odds, -_LOG_ODDS, _LOG_ODDS) + _LOG_ODDS) * ((_SCORE_BINS - 1) / (2 * _LOG_ODDS))
        bins = np.round(places).astype(np.int64)
        classes = np.broadcast_to(np.arange(bins.shape[1]), bins.shape)
        np.add.at(self._ranks, (classes, np.broadcast_to(own, bins.shape).astype(np.int64), bins), 1)

    def metrics(self) -> Metrics:
        """Return the metrics of all windows so far, and their number as `n`."""
        names = metric_names(self._task)
        if not self._n:
            return dict.fromkeys(names) | {"n": 0}
        both, missed, false = self._counts
        actual, answered = both + missed, both + missed + false
        recall = both[actual > 0] / actual[actual > 0]
        f1 = 2 * both[answered > 0] / (2 * both + missed + false)[answered > 0]
        hits, confidence, n_in_bin = self._confidence
        filled = n_in_bin > 0
        roc_auc, average_precision = self._ranking()
        own = {
            "accuracy": float(hits.sum() / n_in_bin.sum()),
            "subset_accuracy": self._subset_hits / self._n,
            "balanced_accuracy": float(recall.mean()) if len(recall) else None,
            "micro_f1": float(2 * both.sum() / max(1, (2 * both + missed + false).sum())),
            "macro_f1": float(f1.mean()) if len(f1) else 0.0,
            "roc_auc": roc_auc,
            "average_precision": average_precision,
            "log_loss": self._loss / self._n,
            "ece": calibration_error(
                hits[filled] / n_in_bin[filled], confidence[filled] / n_in_bin[filled], n_in_bin[filled]
            ),
        }
        return {name: own[name] for name in names} | {"n": self._n}

    def _ranking(self) -> tuple[float | None, float | None]:
        counts = self._ranks[1:] if self._task.n_logits == 1 else self._ranks
        members = np.repeat([False, True], _SCORE_BINS)
        scores = np.tile(np.arange(_SCORE_BINS, dtype=np.float64), 2)
        return ranking_metrics(
            [members] * len(counts), [scores] * len(counts), [own.reshape(-1).astype(np.float64) for own in counts]
        )
