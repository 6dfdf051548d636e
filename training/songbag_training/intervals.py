"""How far metrics may be from the truth: bootstrap over songs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from songbag_training.metrics import Floats, predict_classes

RESAMPLES = 1000
LEVEL = 0.95
_AT_ONCE = 50


def bootstrap_intervals(true: npt.NDArray[Any], probabilities: Floats, *, seed: int = 0) -> dict[str, list[float]]:
    """Return 95 % confidence intervals of the metrics that count right and wrong answers.

    The percentile bootstrap (B. Efron, R. Tibshirani, "An introduction to the bootstrap", 1993, chapter 13) with 1,000
    resamples of the songs: how much the metric would vary over other songs of the same kind, with the same model. Songs
    with the same label and the same prediction are counted together, so that a million songs take no longer than their
    combinations.

    Parameters
    ----------
    true, probabilities
        As `songbag_training.metrics.song_metrics` takes them; at least one song.
    seed : int
        Of the resamples.

    Returns
    -------
    intervals : dict
        Lower and upper end of accuracy, balanced_accuracy and macro_f1, or, multi-label, of accuracy, subset_accuracy,
        micro_f1 and macro_f1.
    """
    multi_label = true.ndim == 2
    own, said = _indicators(true, probabilities)
    cells, counts = np.unique(np.concatenate([own, said], axis=1), axis=0, return_counts=True)
    own, said = np.split(cells, 2, axis=1)
    # Of each combination and class: right, missed, falsely said; and whether all is right.
    facts = np.concatenate([own & said, own & ~said, ~own & said, (own == said).all(axis=1)[:, None]], axis=1)
    rng = np.random.default_rng(seed)
    drawn: list[dict[str, Floats]] = []
    for _ in range(RESAMPLES // _AT_ONCE):
        weights = rng.multinomial(len(true), counts / counts.sum(), size=_AT_ONCE)
        drawn.append(_metrics(weights @ facts, len(true), multi_label=multi_label))
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    return {name: np.quantile(np.concatenate([one[name] for one in drawn]), tails).tolist() for name in drawn[0]}


def _indicators(true: npt.NDArray[Any], probabilities: Floats) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return of which classes each song is, and is said to be, shape (n, n_classes) each."""
    predicted = predict_classes(probabilities, multi_label=true.ndim == 2)
    if true.ndim == 2:
        return true > 0, predicted
    numbers = np.arange(probabilities.shape[1])
    return true[:, None] == numbers, predicted[:, None] == numbers


def _metrics(sums: npt.NDArray[np.int64], n: int, *, multi_label: bool) -> dict[str, Floats]:
    """Return the metrics of each resample, from its sums, shape (resamples, 3 * n_classes + 1)."""
    right, missed, false = np.split(sums[:, :-1].astype(np.float64), 3, axis=1)
    actual, answered = right + missed, 2 * right + missed + false
    with np.errstate(invalid="ignore"):
        f1 = np.nanmean(np.where(answered > 0, 2 * right / answered, np.nan), axis=1)
        if multi_label:
            n_answers = n * right.shape[1]
            return {
                "accuracy": 1 - (missed + false).sum(axis=1) / n_answers,
                "subset_accuracy": sums[:, -1] / n,
                "micro_f1": 2 * right.sum(axis=1) / np.maximum(answered.sum(axis=1), 1),
                "macro_f1": f1,
            }
        recall = np.nanmean(np.where(actual > 0, right / actual, np.nan), axis=1)
    return {"accuracy": right.sum(axis=1) / n, "balanced_accuracy": recall, "macro_f1": f1}
