from __future__ import annotations

import numpy as np
import pytest

from songbag_store.likeness.neighbours import MOST_NEAR, Nearness, near_pairs


@pytest.fixture
def points(rng: np.random.Generator) -> np.ndarray:
    # A few directions hold nearly all of the spread, as in features of music.
    return (rng.normal(size=(300, 12)) * np.geomspace(1, 0.01, 12) @ rng.normal(size=(12, 12))).astype(np.float32)


def test_the_nearest_are_those_of_every_distance(points: np.ndarray, rng: np.random.Generator) -> None:
    asked = rng.permutation(len(points))[:50]
    distances, others = Nearness(points).nearest(asked, 1.5)
    every = np.linalg.norm(points[asked][:, None] - points, axis=2)
    nearest = np.argsort(every, axis=1)[:, : MOST_NEAR + 1]
    expected = np.take_along_axis(every, nearest, axis=1)
    near = expected < 1.5
    assert near[:, 1].any()
    assert not near[:, -1].all()
    np.testing.assert_array_equal(np.isfinite(distances), near)
    np.testing.assert_array_equal(others[near], nearest[near])
    np.testing.assert_allclose(distances[near], expected[near], rtol=1e-3, atol=1e-4)


def test_pairs_come_once_and_by_their_distance_relative_to_the_farthest(points: np.ndarray) -> None:
    limits = 1.5, 0.75
    found = near_pairs([Nearness(points), Nearness(points[::-1])], limits, np.arange(len(points))).pairs
    assert len(np.unique(found, axis=0)) == len(found) > 0
    assert (found[:, 0] < found[:, 1]).all()
    first, second = found.T
    relative = np.minimum(
        np.linalg.norm(points[first] - points[second], axis=1) / limits[0],
        np.linalg.norm(points[::-1][first] - points[::-1][second], axis=1) / limits[1],
    )
    assert (np.diff(relative) > -1e-3).all()
    assert relative.max() < 1.001
