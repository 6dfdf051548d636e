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
_SONGS, _STRETCH, _WINDOWS, _RATES, _OFFSET = 1, 2, 3, 4, 5


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


def in_order(draws: Ints, *, seed: int, epoch: int) -> Ints:
    """Return the draws of an epoch in its order."""
    return draws[np.argsort(lots(draws, state=_lots_of_epoch(seed, _SONGS, epoch)), kind="stable")]


def draw_songs(rates: npt.NDArray[np.float64], *, seed: int, epoch: int) -> Ints:
    """Draw the songs of an epoch by how often each is to come, on the average of many epochs.

    Parameters
    ----------
    rates : float64, shape (N,)
        Times an epoch, at least 0. Their sum is a whole number, but for rounding.

    Returns
    -------
    draws : int64, shape (sum of rates,)
        Ascending. Song n is drawn for the first time as n, for the second time in this epoch as N + n, then as 2 N + n.

    Notes
    -----
    Systematic sampling (W. G. Madow, L. H. Madow, "On the theory of systematic sampling, I", Annals of Mathematical
    Statistics 15, 1944): the songs lie side by side on a line, each as long as its rate, and from a random offset on
    every whole step hits one. So a song comes as often as its rate says, rounded down or up. Songs of one rate lie
    together, in another order in each epoch, so that they too come together as often as they should, within one.
    """
    n_songs = len(rates)
    beside = np.lexsort((lots(np.arange(n_songs), state=_lots_of_epoch(seed, _RATES, epoch)), rates))
    ends = np.cumsum(rates[beside])
    ends[-1] = round(float(ends[-1]))
    offset = (int(_lots_of_epoch(seed, _OFFSET, epoch)[0]) + 0.5) / 2.0**64
    hits = np.diff(np.ceil(np.maximum(ends - offset, 0)).astype(np.int64), prepend=0)
    times = np.empty(n_songs, np.int64)
    times[beside] = hits
    songs = np.repeat(np.arange(n_songs), times)
    again = np.arange(len(songs)) - np.repeat(np.cumsum(times) - times, times)
    return np.sort(songs + again * n_songs)


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
        Draws of the songs, see `draw_songs`; the lots depend on them.
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
