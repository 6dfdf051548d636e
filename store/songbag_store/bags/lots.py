"""The order of songs and the choice of windows: a pure function of integers, the same on every machine."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from songbag_store.types import Ints

# The lots are hashes, and sorting positions by them is a shuffle. NumPy's own generators may change their numbers in a
# later version (NEP 19), and then a run could not be repeated or resumed.
Lots = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ZERO = np.zeros(1, np.uint64)
_SONGS, _STRETCH, _WINDOWS = 1, 2, 3


def splitmix64(values: Lots) -> Lots:
    """Hash integers to integers, one by one.

    Parameters
    ----------
    values : uint64, any shape
        Not a scalar: NumPy would warn of its overflow.

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


def lots(*keys: npt.ArrayLike, state: Lots = _ZERO) -> Lots:
    """Hash several integers, broadcast against each other, to one; the order of the keys counts."""
    for key in keys:
        state = splitmix64(state ^ splitmix64(np.atleast_1d(np.asarray(key)).astype(np.uint64)))
    return state


@lru_cache(maxsize=64)
def _lots_of_epoch(seed: int, purpose: int, epoch: int) -> Lots:
    """Return the part of the lots that all batches of an epoch share: it takes as long as the part of one batch."""
    return lots(seed, purpose, epoch)


def song_order(n_songs: int, *, seed: int, epoch: int) -> Ints:
    """Return the order of the songs in an epoch, a permutation of ``range(n_songs)``."""
    return np.argsort(lots(np.arange(n_songs), state=_lots_of_epoch(seed, _SONGS, epoch)), kind="stable")


def stretch_starts(songs: Ints, n_windows: Ints, longest: int, *, seed: int, epoch: int) -> Ints:
    """Return the first window of the stretch of at most `longest` windows that is read of each song, shape (B,)."""
    room = np.maximum(n_windows - longest, 0) + 1
    if room.max() == 1:
        return np.zeros(len(songs), np.int64)
    drawn = lots(songs, state=_lots_of_epoch(seed, _STRETCH, epoch))
    return (drawn % room.astype(np.uint64)).astype(np.int64)


def draw_windows(songs: Ints, n_windows: Ints, bag_size: int, *, seed: int, epoch: int) -> Ints:
    """Draw the windows of each song's bag, without replacement, in the order of time.

    Parameters
    ----------
    songs : int64, shape (B,)
        Positions of the songs; the lots depend on them.
    n_windows : int64, shape (B,)
        The number of windows to draw from.
    bag_size : int
        K.

    Returns
    -------
    windows : int64, shape (B, K)
        For a song with fewer than K windows, all of them and then the same again from the first.
    """
    slots = np.arange(max(int(n_windows.max()), bag_size))
    tickets = lots(songs[:, None], slots[None, :], state=_lots_of_epoch(seed, _WINDOWS, epoch))
    tickets[slots[None, :] >= n_windows[:, None]] = np.iinfo(np.uint64).max
    drawn = np.sort(np.argsort(tickets, axis=1, kind="stable")[:, :bag_size], axis=1)
    return np.where(n_windows[:, None] <= bag_size, slots[None, :bag_size] % n_windows[:, None], drawn)
