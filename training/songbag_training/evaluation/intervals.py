"""How far metrics may be from the truth: bootstrap over songs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from songbag_training.songs.task import Task
from songbag_training.types import Floats, Targets

RESAMPLES = 1000
LEVEL = 0.95
_AT_ONCE = 50


def bootstrap_intervals(
    task: Task, true: Targets, probabilities: Floats, *, seed: int = 0
) -> dict[str, list[float] | None]:
    """Return 95 % confidence intervals of the metrics that count right and wrong answers.

    The percentile bootstrap (B. Efron, R. Tibshirani, "An introduction to the bootstrap", 1993, chapter 13) with 1,000
    resamples of the songs: how much the metric would vary over other songs of the same kind, with the same model. Songs
    with the same label and the same prediction are counted together, so that a million songs take no longer than their
    combinations.

    Where all songs are right, or none is, all resamples are alike and tell nothing of how rare the other is. The share
    of right songs then has the exact binomial interval (C. Clopper, E. Pearson, "The use of confidence or fiducial
    limits", Biometrika 26, 1934), and the other metrics have none.

    Parameters
    ----------
    task, true, probabilities
        As `songbag_training.evaluation.metrics.song_metrics` takes them; at least one song.
    seed : int
        Of the resamples.

    Returns
    -------
    intervals : dict
        Lower and upper end of accuracy, balanced_accuracy and macro_f1, or, of several classes a song, of accuracy,
        subset_accuracy, micro_f1 and macro_f1; None where there is none.
    """
    own, said = task.members(true), task.predicted(probabilities)
    cells, counts = np.unique(np.concatenate([own, said], axis=1), axis=0, return_counts=True)
    own, said = np.split(cells, 2, axis=1)
    # Of each combination and class: right, missed, falsely said; and whether all is right.
    facts = np.concatenate([own & said, own & ~said, ~own & said, (own == said).all(axis=1)[:, None]], axis=1)
    rng = np.random.default_rng(seed)
    drawn: list[dict[str, Floats]] = []
    for _ in range(RESAMPLES // _AT_ONCE):
        weights = rng.multinomial(len(true), counts / counts.sum(), size=_AT_ONCE)
        drawn.append(_metrics(weights @ facts, len(true), several=task.several))
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    ends = {name: np.quantile(np.concatenate([one[name] for one in drawn]), tails) for name in drawn[0]}
    intervals: dict[str, list[float] | None] = {
        name: own.tolist() if own[0] < own[1] else None for name, own in ends.items()
    }
    of_songs = "subset_accuracy" if task.several else "accuracy"
    if intervals[of_songs] is None:
        intervals[of_songs] = _exact_interval(len(true), all_right=bool(ends[of_songs][0] == 1.0))
    return intervals


def _exact_interval(n: int, *, all_right: bool) -> list[float]:
    """Return the interval of a share that is 1, or 0, among n songs."""
    bound = float(((1 - LEVEL) / 2) ** (1 / n))
    return [bound, 1.0] if all_right else [0.0, 1.0 - bound]


def _metrics(sums: npt.NDArray[np.int64], n: int, *, several: bool) -> dict[str, Floats]:
    """Return the metrics of each resample, from its sums, shape (resamples, 3 * n_classes + 1)."""
    right, missed, false = np.split(sums[:, :-1].astype(np.float64), 3, axis=1)
    actual, answered = right + missed, 2 * right + missed + false
    f1 = _mean_share(2 * right, answered)
    if several:
        n_answers = n * right.shape[1]
        return {
            "accuracy": 1 - (missed + false).sum(axis=1) / n_answers,
            "subset_accuracy": sums[:, -1] / n,
            "micro_f1": 2 * right.sum(axis=1) / np.maximum(answered.sum(axis=1), 1),
            "macro_f1": f1,
        }
    return {"accuracy": right.sum(axis=1) / n, "balanced_accuracy": _mean_share(right, actual), "macro_f1": f1}


def _mean_share(parts: Floats, wholes: Floats) -> Floats:
    """Return the mean share over the classes that there are, of each resample; 0 where there is none."""
    mean: Floats = (parts / np.maximum(wholes, 1)).sum(axis=1) / np.maximum((wholes > 0).sum(axis=1), 1)
    return mean
