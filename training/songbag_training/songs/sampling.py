"""How often each training song comes in an epoch."""

from __future__ import annotations

import numpy as np

from songbag_training.config import Sampling
from songbag_training.types import Floats, Targets


def song_rates(targets: Targets, sampling: Sampling, epoch_songs: int | None) -> Floats | None:
    """Return how often each song is to come in an epoch, on the average of many epochs.

    Parameters
    ----------
    targets : array, shape (N,) or (N, n_classes)
        Labels of the songs, see `songbag_training.songs.task.Task`.
    sampling : str
        With ``balanced``, a song comes as often as one divided by the number of songs of its class says, so that every
        class comes equally often. With ``sqrt`` the root of that number divides. With ``natural`` all songs come
        equally often.
    epoch_songs : int or None
        Songs of an epoch; by default N.

    Returns
    -------
    rates : float64, shape (N,), or None
        Their sum is `epoch_songs`. None: every song once.

    Notes
    -----
    A song of several classes comes as often as its rarest class asks for, the rule of repeat factors (A. Gupta,
    P. Dollar, R. Girshick, "LVIS: a dataset for large vocabulary instance segmentation", CVPR 2019). Songs of no class
    count as a class.
    """
    if sampling == "natural" and epoch_songs is None:
        return None
    counts = _songs_of_rarest_class(targets)
    # Not a power: other machines may round it otherwise, and draw other songs.
    ways: dict[Sampling, Floats] = {
        "natural": np.ones_like(counts),
        "sqrt": 1 / np.sqrt(counts),
        "balanced": 1 / counts,
    }
    rates = ways[sampling]
    wanted: Floats = rates * ((epoch_songs or len(rates)) / rates.sum())
    return wanted


def _songs_of_rarest_class(targets: Targets) -> Floats:
    """Return for each song the number of songs of its class, or of the rarest of its classes."""
    if targets.ndim == 1:
        return np.bincount(targets)[targets].astype(np.float64)
    of_none = ~targets.any(1)
    has = np.column_stack([targets > 0, of_none])
    counts: Floats = np.where(has, has.sum(0, dtype=np.float64), np.inf).min(1)
    return counts
