"""Confidence intervals of metrics, by bootstrap over songs."""

from __future__ import annotations

import numpy as np

from songbag_training.evaluation.metrics import counted_metrics, outcomes
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
    resamples of the songs: how much the metric would vary over other songs of the same kind, with the same model.

    If all songs are right, or all are wrong, all resamples are equal. Then the share of right songs has the exact
    binomial interval (C. Clopper, E. Pearson, "The use of confidence or fiducial limits", Biometrika 26, 1934), and the
    other metrics have none.

    Parameters
    ----------
    task, true, probabilities
        As `songbag_training.evaluation.metrics.song_metrics` takes them; at least one song.
    seed : int
        Seed of the resamples.

    Returns
    -------
    intervals : dict
        Lower and upper end of each metric of `songbag_training.evaluation.metrics.counted_metrics`, or None.
    """
    own, said = task.members(true), task.predicted(probabilities)
    # Songs with equal label and prediction count together: time grows with their combinations, not with the songs.
    cells, counts = np.unique(np.concatenate([own, said], axis=1), axis=0, return_counts=True)
    facts = outcomes(*np.split(cells, 2, axis=1))
    rng = np.random.default_rng(seed)
    drawn: list[dict[str, Floats]] = []
    for _ in range(RESAMPLES // _AT_ONCE):
        weights = rng.multinomial(len(true), counts / counts.sum(), size=_AT_ONCE)
        drawn.append(counted_metrics(task, weights @ facts, len(true)))
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    ends = {name: np.quantile(np.concatenate([one[name] for one in drawn]), tails) for name in drawn[0]}
    intervals: dict[str, list[float] | None] = {
        name: own.tolist() if own[0] < own[1] else None for name, own in ends.items()
    }
    of_songs = "subset_accuracy" if task.several else "accuracy"
    if intervals[of_songs] is None:
        # The exact interval of a share that is 1, or 0, of n songs.
        bound = float(((1 - LEVEL) / 2) ** (1 / len(true)))
        intervals[of_songs] = [bound, 1.0] if ends[of_songs][0] == 1.0 else [0.0, 1.0 - bound]
    return intervals
