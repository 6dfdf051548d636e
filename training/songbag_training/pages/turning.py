"""Which window of a song, left out, would change the answer: from what is on disk, without the network.

It can be told of poolings whose result follows from the probabilities and weights of windows: mean and attention, which
are means of logits, and the maximum where no temperature divides these. `songbag explain` asks the network, of every
pooling.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, softmax

from songbag_training.config import TrainConfig
from songbag_training.songs.task import Task
from songbag_training.types import Floats

MOST_TOLD = 5
"""Windows of a song that are told."""

_MEANS = ("mean", "attention", "gated-attention")
_MOST_CLASSES = 8
_TINY, _NEAR_ONE = 1e-300, 1e-16
_LEAST_LEFT = 1e-6


def can_be_told(config: TrainConfig) -> bool:
    """Return whether the files of a run say what its songs are without a window."""
    if config.members > 1:
        return False
    return config.pooling in _MEANS or (config.pooling == "max" and not config.calibrates)


def turning(task: Task, config: TrainConfig, weights: Floats, shares: Floats) -> dict[str, Any]:
    """Return which windows of a song, left out one at a time, would change the answer.

    Parameters
    ----------
    task : Task
    config : TrainConfig
        Of which `can_be_told` holds.
    weights : float64, shape (N,)
    shares : float64, shape (N, n_classes)
        What each window says.

    Returns
    -------
    turns : dict
        ``n`` windows; ``first``: number, and numbers of the classes of the answer without it, of at most 5 of them.
    """
    if len(weights) < 2:
        return {"n": 0, "first": []}
    whole, without = _pooled(task, config, weights, shares)
    said = task.predicted(whole[None])[0]
    tried = np.isfinite(without).all(axis=1)
    others = task.predicted(np.where(tried.reshape(-1, 1), without, whole))
    found = np.flatnonzero(np.any(others != said, axis=1)).tolist()
    first = [[window, np.flatnonzero(others[window])[:_MOST_CLASSES].tolist()] for window in found[:MOST_TOLD]]
    return {"n": len(found), "first": first}


def _pooled(task: Task, config: TrainConfig, weights: Floats, shares: Floats) -> tuple[Floats, Floats]:
    """Return the probabilities of a song, (n_classes,), and those without each window, (N, n_classes)."""
    logs = np.log(np.maximum(shares, _TINY))
    if task.several:
        logs -= np.log(np.maximum(1 - shares, _NEAR_ONE))
    if config.pooling in _MEANS:
        # A number that is the same for all classes of a window changes nothing: it is the same for those of the song.
        left = np.where(1 - weights > _LEAST_LEFT, 1 - weights, np.nan)[:, None]
        whole = weights @ logs
        joined = np.concatenate([whole[None], (whole - weights[:, None] * logs) / left])
    else:
        if not task.several and task.n_logits == 1:
            logs = np.stack([np.zeros(len(logs)), logs[:, 1] - logs[:, 0]], axis=1)
        ranked = np.sort(logs, axis=0)
        is_only = (logs == ranked[-1]) & ((logs == ranked[-1]).sum(axis=0) == 1)
        joined = np.concatenate([ranked[-1:], np.where(is_only, ranked[-2], ranked[-1])])
    found = np.asarray(expit(joined) if task.several else softmax(joined, axis=1), np.float64)
    return found[0], found[1:]
