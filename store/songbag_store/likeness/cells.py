"""Neighbours of many points: cells of near points, each compared with the points of the nearest cells."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from songbag_store.likeness.statistics import Points
from songbag_store.types import Ints

COMPARED = 20_000
"""So many points are compared with each one; of fewer points, all are. Measured in docs/decisions/0029."""

_CELLS = 20
_ROUNDS = 5
_SAMPLED = 50
_AT_ONCE = 4_000_000


def neighbours(points: Points, k: int, compared: int = COMPARED) -> Iterator[tuple[Ints, Ints, Points]]:
    """Yield the nearest of all points for some points at a time, in no order of the points.

    Up to `compared` points the neighbours are exact. Of more, a few of a point may be missed.

    Parameters
    ----------
    points : float32, shape (n, D)
        The points.
    k : int
        So many neighbours each; below n.
    compared : int
        So many points are compared with each one, or eight times `k`.

    Yields
    ------
    rows : int64, shape (m,)
        Some points.
    near : int64, shape (m, k)
        Their neighbours, the nearest first, without themselves.
    squares : float32, shape (m, k)
        Squared distances.
    """
    lengths = np.einsum("nd,nd->n", points, points)
    centres, cells = _cells(points, compared)
    least = max(compared, 8 * k)
    for number, cell in enumerate(cells):
        order = np.argsort(np.square(centres - centres[number]).sum(axis=1), kind="stable")
        reached = np.cumsum([len(cell), *(len(cells[other]) for other in order if other != number)])
        wanted = int(np.searchsorted(reached, least)) + 1
        others = [other for other in order if other != number][: wanted - 1]
        candidates = np.concatenate([cell, *(cells[other] for other in others)])
        at_once = max(1, _AT_ONCE // len(candidates))
        for start in range(0, len(cell), at_once):
            rows = cell[start : start + at_once]
            yield rows, *_nearest(points, lengths, rows, candidates, start, k)


def _nearest(points: Points, lengths: Points, rows: Ints, candidates: Ints, start: int, k: int) -> tuple[Ints, Points]:
    """Return the nearest candidates of some points; `start` is where these are among the candidates."""
    compared = lengths[candidates] - 2 * (points[rows] @ points[candidates].T)
    own = np.arange(len(rows))
    compared[own, start + own] = np.inf
    # One is taken away, so that there is a k-th place also if all others are neighbours.
    near = candidates[np.argpartition(compared, k - 1, axis=1)[:, :k]]
    # Again by differences: a product of vectors has no exact zero for equal points.
    differences = points[near] - points[rows][:, None]
    squares = np.einsum("mkd,mkd->mk", differences, differences)
    order = np.lexsort((near, squares), axis=1)
    return np.take_along_axis(near, order, axis=1), np.take_along_axis(squares, order, axis=1)


def _cells(points: Points, compared: int) -> tuple[Points, list[Ints]]:
    """Divide points into cells by k-means, about 20 of which are compared; return the centre and the points of each."""
    n_points, size = len(points), max(1, compared // _CELLS)
    if n_points <= compared:
        return points[:1], [np.arange(n_points)]
    n_cells = n_points // size
    rng = np.random.default_rng(0)
    sample = points[np.sort(rng.choice(n_points, min(n_points, _SAMPLED * n_cells), replace=False))]
    centres = sample[rng.choice(len(sample), n_cells, replace=False)].copy()
    for _ in range(_ROUNDS):
        nearest = _nearest_centres(sample, centres)
        sums = np.zeros(centres.shape)
        np.add.at(sums, nearest, sample)
        counts = np.bincount(nearest, minlength=n_cells)[:, None]
        np.divide(sums, counts, out=sums, where=counts > 0)
        centres = np.where(counts > 0, sums, centres).astype(np.float32)
    nearest = _nearest_centres(points, centres)
    order = np.argsort(nearest, kind="stable")
    bounds = np.searchsorted(nearest[order], np.arange(n_cells + 1))
    # Thousands of equal songs would be one large cell.
    pieces = [
        (cell, order[begin : min(begin + 2 * size, end)])
        for cell, (begin_cell, end) in enumerate(pairwise(bounds))
        for begin in range(int(begin_cell), int(end), 2 * size)
    ]
    return centres[[cell for cell, _ in pieces]], [rows for _, rows in pieces]


def _nearest_centres(points: Points, centres: Points) -> Ints:
    """Return the nearest centre of each point."""
    lengths = np.einsum("nd,nd->n", centres, centres)
    at_once = max(1, _AT_ONCE // len(centres))
    parts = [
        np.argmin(lengths - 2 * (points[start : start + at_once] @ centres.T), axis=1)
        for start in range(0, len(points), at_once)
    ]
    return np.concatenate(parts)
