"""The songs that are nearest to each other by their statistics."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from songbag_store.machine import n_cores
from songbag_store.types import Ints

Floats = npt.NDArray[np.float32]

MOST_NEAR = 8
"""How many neighbours of a song are looked at, by each measure."""
_FARTHEST = 0.5
"""Distance of two songs from which on they are not near; most copies lie within a tenth."""
_CLOSE = 0.15
"""Within this distance another song is as near as most copies are."""
_MANY_SONGS = 100_000
"""Among more songs only close ones are looked for: the others would not be compared, and the search is quicker."""


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


def near_pairs(measures: Sequence[Floats], asked: Ints) -> NearPairs:
    """Find the nearest songs of some songs, among all, by each of several measures.

    Parameters
    ----------
    measures : sequence of float32, shape (n, D)
        A point for each song. The last is the one that tells songs apart best: who is crowded is judged by it.
    asked : int64, shape (songs,)
        The songs whose neighbours are looked for.
    """
    n_songs = len(measures[0])
    farthest = _FARTHEST if n_songs <= _MANY_SONGS else _CLOSE
    keys, distances, crowded = [], [], asked[:0]
    for points in measures:
        # One more than are wanted, because a song is its own neighbour.
        found = cKDTree(points, leafsize=32).query(
            points[asked], k=np.arange(1, MOST_NEAR + 2), distance_upper_bound=farthest, workers=n_cores()
        )
        near, others = np.asarray(found[0]), np.asarray(found[1])
        songs = np.broadcast_to(asked[:, None], others.shape)
        is_pair = np.isfinite(near) & (others != songs)
        low, high = np.minimum(songs, others)[is_pair], np.maximum(songs, others)[is_pair]
        keys.append(low * n_songs + high)
        distances.append(near[is_pair])
        crowded = asked[near[:, -1] < _CLOSE]
    key, distance = np.concatenate(keys), np.concatenate(distances)
    nearest = np.argsort(distance, kind="stable")
    _, first = np.unique(key[nearest], return_index=True)
    ordered = key[nearest][np.sort(first)]
    return NearPairs(np.stack([ordered // n_songs, ordered % n_songs], axis=1).astype(np.int64), crowded)
