"""Thresholds of best F1, chosen on songs that are used neither to train nor to test."""

from __future__ import annotations

import dataclasses

import numpy as np

from songbag_training.songs.task import THRESHOLD, Task
from songbag_training.types import Bools, Floats, Targets

FEWEST = 2
"""Songs with a class, and songs without it, that a threshold is chosen by; with fewer it stays 1/2."""

_EQUAL = 1e-12


def with_best_f1(task: Task, true: Targets, probabilities: Floats) -> tuple[Task, list[str]]:
    """Return a task with thresholds of best F1, and the classes for which there are too few songs to choose one.

    Each class has the threshold with the highest F1 over the songs. Of two classes, which share one threshold, it is
    the one with the highest mean of both classes' F1. All thresholds between two neighbouring probabilities predict the
    same: the middle between them is taken. Where thresholds further apart have the same F1, 1/2 is taken if it is among
    them, and else the one nearest to it.

    Parameters
    ----------
    task : Task
        Several classes for each song, or one of two.
    true : Targets
    probabilities : float64, shape (n, n_classes)
        Of the validation songs.
    """
    own = task.members(true)
    if not task.several:
        chosen = _best(own[:, 1], probabilities[:, 1], both=True)
        second = THRESHOLD if chosen is None else chosen
        few = [name for name, n in zip(task.classes, own.sum(axis=0), strict=True) if n < FEWEST]
        return dataclasses.replace(task, thresholds=(1.0 - second, second)), few
    found = [_best(members, shares, both=False) for members, shares in zip(own.T, probabilities.T, strict=True)]
    thresholds = tuple(THRESHOLD if one is None else one for one in found)
    few = [name for name, one in zip(task.classes, found, strict=True) if one is None]
    return dataclasses.replace(task, thresholds=thresholds), few


def _best(own: Bools, shares: Floats, *, both: bool) -> float | None:
    """Return the threshold of best F1 of yes, or of the best mean F1 of yes and no; None if there are too few songs."""
    n, n_yes = len(own), int(own.sum())
    if min(n_yes, n - n_yes) < FEWEST:
        return None
    order = np.argsort(-shares, kind="stable")
    # Cut k predicts the first k songs: its threshold is below the k-th probability and not below the next.
    high, low = np.append(1.0, shares[order]), np.append(shares[order], 0.0)
    said, right = np.arange(n + 1), np.append(0, np.cumsum(own[order]))
    scores = 2 * right / (said + n_yes)
    if both:
        scores += 2 * (n - n_yes - said + right) / (n - said + n - n_yes)
    possible = high > low
    possible[0] = True  # 1 is above no probability, so nothing is predicted
    best = possible & (scores >= scores[possible].max() - _EQUAL)
    if (best & (low <= THRESHOLD) & (high > THRESHOLD)).any():
        return THRESHOLD
    middles = (low + (high - low) / 2)[best]
    return float(middles[np.abs(middles - THRESHOLD).argmin()])
