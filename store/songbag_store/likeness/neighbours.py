"""The songs that are nearest to each other by their statistics."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from songbag_store.machine import n_cores
from songbag_store.types import Ints

Floats = npt.NDArray[np.float32]

MOST_NEAR = 8
"""How many neighbours of a song are looked at, by each measure."""
FARTHEST = 0.5
"""Distance of two songs from which on they are not near; most copies lie within a tenth."""
_CLOSE = 0.15
"""Within this distance another song is as near as most copies are."""
_LEAF_SONGS = 16
_ASKED_AT_ONCE = 1 << 15


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class NearPairs:
    """Pairs of near songs, the nearest first.

    Attributes
    ----------
    pairs : int64, shape (pairs, 2)
        Numbers of songs, the smaller first; no pair is there twice.
    crowded : int64, shape (songs,)
        Songs with more close neighbours than are looked at.
    """

    pairs: Ints
    crowded: Ints


class Nearness:
    """The nearest songs of songs, by one measure.

    Parameters
    ----------
    points : float32, shape (n, D)
        A point for each song.
    """

    def __init__(self, points: Floats) -> None:
        centred = points - points.mean(axis=0)
        # Along its longest axes a tree tells far songs apart with fewer comparisons; distances stay what they are.
        _, axes = np.linalg.eigh(centred.T @ centred)
        self._points: Floats = np.ascontiguousarray(centred @ axes[:, ::-1])
        self._tree = cKDTree(self._points, leafsize=_LEAF_SONGS)
        self._place = np.empty(len(points), np.int32)
        self._place[self._tree.indices] = np.arange(len(points))

    def in_turn(self, asked: Ints) -> Iterator[Ints]:
        """Yield songs, some thousands at once; neighbours follow each other, as their leaves are cached then."""
        ordered = asked[np.argsort(self._place[asked])]
        for start in range(0, len(ordered), _ASKED_AT_ONCE):
            yield ordered[start : start + _ASKED_AT_ONCE]

    def nearest(self, asked: Ints, farthest: float) -> tuple[Floats, Ints]:
        """Return the distances and the numbers of the nearest `MOST_NEAR` songs of some, and of each itself.

        Both have the shape (asked, `MOST_NEAR` + 1), the nearest first. Beyond `farthest` the distance is infinite.
        """
        distances, others = self._tree.query(
            self._points[asked], k=np.arange(1, MOST_NEAR + 2), distance_upper_bound=farthest, workers=n_cores()
        )
        return np.asarray(distances, np.float32), np.asarray(others, np.int64)


def near_pairs(measures: Sequence[Nearness], farthest: Sequence[float], asked: Ints) -> NearPairs:
    """Find the nearest songs of some songs, among all, by each of several measures.

    Parameters
    ----------
    measures : sequence of Nearness
        The last is the one that tells songs apart best: who is crowded is judged by it.
    farthest : sequence of float
        For each measure the distance from which on songs are not near. Distances are compared relative to it.
    asked : int64, shape (songs,)
        The songs whose neighbours are looked for.
    """
    keys, distances, crowded = [], [], asked[:0]
    for measure, limit in zip(measures, farthest, strict=True):
        close = [asked[:0]]
        for songs in measure.in_turn(asked):
            near, others = measure.nearest(songs, limit)
            is_pair = np.isfinite(near) & (others != songs[:, None])
            row, _ = np.nonzero(is_pair)
            first, second = songs[row], others[is_pair]
            keys.append((np.minimum(first, second) << 32) + np.maximum(first, second))
            distances.append(near[is_pair] / limit)
            close.append(songs[near[:, -1] < _CLOSE])
        crowded = np.concatenate(close)
    key, distance = np.concatenate(keys), np.concatenate(distances)
    nearest = np.argsort(distance, kind="stable")
    _, first = np.unique(key[nearest], return_index=True)
    ordered = key[nearest][np.sort(first)]
    return NearPairs(np.stack([ordered >> 32, ordered & 0xFFFFFFFF], axis=1), crowded)
