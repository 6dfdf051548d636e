"""The order of songs and the choice of windows: a pure function of integers, the same on every machine for ever.

numpy's generators may change their streams between versions (NEP 19), so a run could not be repeated or resumed
years later. Here the lots are hashes: sorting positions by them is a shuffle.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from songbag_store.types import Ints

Lots = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SONGS, _STRETCH, _WINDOWS = 1, 2, 3


def splitmix64(values: Lots) -> Lots:
    """Hash integers to integers, one by one.

    Parameters
    ----------
    values : uint64, any shape
        Anything but a scalar, whose overflow numpy would warn of.

    Notes
    -----
    The output function of splitmix64 (G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators",
    OOPSLA 2014, in S. Vigna's constants): a bijection of 64 bits.
    """
    z = values + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Lots = z ^ (z >> np.uint64(31))
    return mixed


def lots(*keys: npt.ArrayLike) -> Lots:
    """Hash several integers, broadcast against each other, to one; the order of the keys counts."""
    return _and_lots(np.zeros(1, np.uint64), *keys)


def _and_lots(state: Lots, *keys: npt.ArrayLike) -> Lots:
    for key in keys:
        state = splitmix64(state ^ splitmix64(np.atleast_1d(np.asarray(key)).astype(np.uint64)))
    return state


@lru_cache(maxsize=64)
def _lots_of_epoch(seed: int, purpose: int, epoch: int) -> Lots:
    """Return what the lots of every batch of an epoch begin with: as long to hash as a batch of songs."""
    return lots(seed, purpose, epoch)


def song_order(n_songs: int, *, seed: int, epoch: int) -> Ints:
    """Return the order of the songs in an epoch, a permutation of ``range(n_songs)``."""
    return np.argsort(_and_lots(_lots_of_epoch(seed, _SONGS, epoch), np.arange(n_songs)), kind="stable")


def stretch_starts(songs: Ints, n_windows: Ints, longest: int, *, seed: int, epoch: int) -> Ints:
    """Return where the stretch of at most `longest` windows begins that is read of each song, shape (B,)."""
    room = np.maximum(n_windows - longest, 0) + 1
    if room.max() == 1:
        return np.zeros(len(songs), np.int64)
    return (_and_lots(_lots_of_epoch(seed, _STRETCH, epoch), songs) % room.astype(np.uint64)).astype(np.int64)


def draw_windows(songs: Ints, n_windows: Ints, bag_size: int, *, seed: int, epoch: int) -> Ints:
    """Draw the windows of each song's bag, without replacement, in the order of time.

    Parameters
    ----------
    songs : int64, shape (B,)
        Positions of the songs, which the lots depend on.
    n_windows : int64, shape (B,)
        Windows to draw from.
    bag_size : int
        K.

    Returns
    -------
    windows : int64, shape (B, K)
        A song with fewer than K windows has all of them, then them again from the first: slots to be masked.
    """
    slots = np.arange(max(int(n_windows.max()), bag_size))
    tickets = _and_lots(_lots_of_epoch(seed, _WINDOWS, epoch), songs[:, None], slots[None, :])
    tickets[slots[None, :] >= n_windows[:, None]] = np.iinfo(np.uint64).max
    drawn = np.sort(np.argsort(tickets, axis=1, kind="stable")[:, :bag_size], axis=1)
    return np.where(n_windows[:, None] <= bag_size, slots[None, :bag_size] % n_windows[:, None], drawn)
