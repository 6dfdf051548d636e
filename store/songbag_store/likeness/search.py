"""The nearest points of many points: all compared with each one, or found by faiss."""

from __future__ import annotations

from typing import Any

import numpy as np

from songbag_store.errors import require_extra
from songbag_store.likeness.statistics import Points
from songbag_store.types import Ints
from songbag_store.words import counted

COMPARED = 20_000
"""So many points are compared with each one; of fewer points, all are. See docs/decisions/0029."""

HELD = 2_000_000
"""So many numbers are in memory at a time, beside the points."""

_CELLS = 20
_ROUNDS = 10
_SAMPLED = 64
_UNEVEN = 5


def require_search(n_points: int, *, compared: int = COMPARED) -> None:
    """Require what finds the nearest of so many points, before work begins.

    Raises
    ------
    MissingExtra
        If there are more than `compared`, and faiss is not installed.
    """
    if n_points > compared:
        place = f"finding the neighbours of each of more than {counted(compared, 'song')}"
        require_extra("training", "faiss", place=place)


class Search:
    """Finds the nearest points of each point.

    Up to `compared` points the result is exact. Of more, faiss divides them into cells of near points and looks into
    the nearest cells only: a few neighbours may be missed. The result does not depend on the number of threads.

    Memory holds the points; above `compared`, faiss holds them a second time, with room for up to twice as many.

    Parameters
    ----------
    points : float32, shape (n, D)
        The points.
    k : int
        So many neighbours each; from 1 to n - 1.
    compared : int
        About so many points are compared with each one, or eight times `k`.
    held : int
        So many numbers are in memory at a time beside the points, or those of one point.

    Attributes
    ----------
    at_once : int
        So many points are asked for at a time.

    Raises
    ------
    MissingExtra
        If there are more than `compared` points, and faiss is not installed.
    """

    def __init__(self, points: Points, k: int, *, compared: int = COMPARED, held: int = HELD) -> None:
        n_points, n_numbers = points.shape
        require_search(n_points, compared=compared)
        self._points, self._k = points, k
        self._lengths = np.einsum("nd,nd->n", points, points)
        self._index: Any = None if n_points <= compared else _index(points, compared, max(compared, 8 * k))
        # A row of what `_exact` or `_found` holds.
        numbers = max(n_points, k * n_numbers) if self._index is None else max(k + 1, n_numbers)
        self.at_once = max(1, held // numbers)

    def nearest(self, start: int) -> tuple[Ints, Points]:
        """Return the nearest of `at_once` points from one on, without themselves.

        Returns
        -------
        near : int64, shape (m, k)
            The neighbours of each, the nearest first; of equally near ones, the first.
        squares : float32, shape (m, k)
            Squared distances.
        """
        rows = np.arange(start, min(start + self.at_once, len(self._points)))
        near, squares = self._exact(rows) if self._index is None else self._found(rows)
        # Where the nearest cells have too few points.
        for row in np.flatnonzero((near < 0).any(axis=1)):
            near[row], squares[row] = self._exact(rows[row : row + 1])
        order = np.lexsort((near, squares), axis=1)
        return np.take_along_axis(near, order, axis=1), np.take_along_axis(squares, order, axis=1)

    def _exact(self, rows: Ints) -> tuple[Ints, Points]:
        """Compare points with all others."""
        compared = self._lengths - 2 * (self._points[rows] @ self._points.T)
        compared[np.arange(len(rows)), rows] = np.inf
        near = np.argpartition(compared, self._k - 1, axis=1)[:, : self._k]
        # Again by differences: a product of vectors has no exact zero for equal points.
        differences = self._points[near] - self._points[rows][:, None]
        return near, np.einsum("mkd,mkd->mk", differences, differences)

    def _found(self, rows: Ints) -> tuple[Ints, Points]:
        """Ask faiss; a neighbour that it does not find is -1."""
        squares, near = self._index.search(self._points[rows], self._k + 1)
        # The point itself comes last, or the farthest one where many equal ones have taken its place.
        others = np.argsort(near == rows[:, None], axis=1, kind="stable")[:, : self._k]
        return np.take_along_axis(near, others, axis=1), np.take_along_axis(squares, others, axis=1)


def _index(points: Points, compared: int, wanted: int) -> Any:
    """Return an index of faiss that compares a point with `wanted` ones, a twentieth of `compared` to a cell."""
    import faiss

    n_numbers = points.shape[1]
    n_cells = max(1, len(points) * _CELLS // compared)
    index: Any = faiss.IndexIVFFlat(faiss.IndexFlatL2(n_numbers), n_numbers, n_cells)
    index.cp.niter, index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = _ROUNDS, 1, _SAMPLED
    # A cell of thousands of equal points is not looked through to its end.
    index.nprobe, index.max_codes = -(-wanted * _CELLS // compared), _UNEVEN * wanted
    index.train(points)
    index.add(points)
    return index
