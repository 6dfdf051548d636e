"""Labels that are probably wrong, by confident learning: docs/decisions/0074."""

from __future__ import annotations

import numpy as np

from songbag_training.types import Bools, Floats, Ints


def doubtful(given: Ints, shares: Floats) -> Ints:
    """Return which songs are probably of another class than the one that they are given.

    Confident learning: a class is likely for a song if it is at least as probable as it is, on average, for the songs
    that are given this class. A song is doubtful if its most probable class is likely and is not the given one.
    C. Northcutt, L. Jiang and I. Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", Journal of
    Artificial Intelligence Research 70, 2021, equations 1 and 2; a test compares it with cleanlab.

    Parameters
    ----------
    given : int64, shape (n,)
        The class of each song.
    shares : float64, shape (n, n_classes)
        Probabilities by models that were not trained on the song. Songs with NaN count for nothing.

    Returns
    -------
    rows : int64, shape (m,)
        The doubtful songs, the worst first: those whose most probable class is ahead of the given one by most. Equal
        ones keep their order. The most probable class of a row is the likely one.
    """
    known = np.flatnonzero(np.isfinite(shares).all(axis=1))
    given, shares = given[known], shares[known]
    if not len(known):
        return known
    own = shares[np.arange(len(given)), given]
    counts = np.bincount(given, minlength=shares.shape[1])
    sums = np.bincount(given, own, minlength=shares.shape[1])
    # No song is likely of a class that no song is given.
    usual = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    likely = shares.argmax(axis=1)
    top = shares[np.arange(len(given)), likely]
    # Sums in another order give another last bit, and a song alone in its class is its own average.
    doubted = (top > own) & (top >= usual[likely] - _LAST_BITS)
    rows = np.flatnonzero(doubted)
    return np.asarray(known[rows[np.argsort(own[rows] - top[rows], kind="stable")]])


_LAST_BITS = 1e-9


def doubtful_members(members: Bools, shares: Floats) -> Bools:
    """Return which classes of which songs are doubtful, where a song may be of any number: each class by itself.

    Parameters
    ----------
    members : bool, shape (n, n_classes)
        The classes that each song is given.
    shares : float64, shape (n, n_classes)

    Returns
    -------
    doubted : bool, shape (n, n_classes)
        Where having the class, or not having it, is probably wrong.
    """
    doubted = np.zeros(members.shape, np.bool_)
    for number in range(members.shape[1]):
        of_class = np.stack([1 - shares[:, number], shares[:, number]], axis=1)
        doubted[doubtful(members[:, number].astype(np.int64), of_class), number] = True
    return doubted
