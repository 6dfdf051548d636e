"""Nearest songs, by brute force beside what is returned, and what must not count as a neighbour."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.likeness.cells import neighbours
from songbag_store.likeness.nearest import NEAREST, NEIGHBOURS, Neighbours, nearest_songs
from songbag_store.likeness.points import SongPoints
from songbag_store.likeness.statistics import Points
from songbag_store.progress import Silent
from tests.support.labelled import write_store
from tests.support.stores import MakeStore, sixteenths

SPEC = FeatureSpec(window_s=0.1, n_fft=512, hop_length=512, n_mels=24, n_mfcc=6)


def points(values: Points, *, are_vectors: bool = False) -> SongPoints:
    ids = pa.array([f"song {number}" for number in range(len(values))])
    if are_vectors:
        return SongPoints.of_vectors(ids, values.astype(np.float32))
    return SongPoints(ids, values.astype(np.float32), False)


@pytest.fixture
def made(make_store: MakeStore, rng: np.random.Generator) -> SongStore:
    levels = rng.normal(0, 30, (40, SPEC.window_shape[0], 1))
    songs = {
        f"song {n}": (sixteenths(rng, int(rng.integers(1, 5)), SPEC.window_shape) + levels[n].round()).astype(
            np.float32
        )
        for n in range(40)
    }
    return make_store(songs, spec=SPEC)


def test_points_are_standardised_means_and_deviations(made: SongStore) -> None:
    found = SongPoints.read(made.inside.state.content, made.spec)
    wanted = np.array(
        [
            np.concatenate([windows.mean((0, 2), dtype=float), windows.std((0, 2), dtype=float)])
            for windows in map(made.windows, found.song_ids.to_pylist())
        ]
    )
    wanted = (wanted - wanted.mean(axis=0)) / wanted.std(axis=0)
    np.testing.assert_allclose(found.points, wanted, atol=1e-3)
    assert (found.points.shape, found.are_vectors) == ((40, 12), False)


@pytest.mark.parametrize("are_vectors", [False, True])
@pytest.mark.parametrize("k", [1, 5, 59, 100])
def test_one_and_all_agree_with_every_distance(rng: np.random.Generator, are_vectors: bool, k: int) -> None:
    songs = points(rng.normal(size=(60, 7)), are_vectors=are_vectors)
    own = songs.points.astype(np.float64)
    distance = 1 - own @ own.T if are_vectors else np.sqrt(np.square(own[:, None] - own).mean(axis=2))
    np.fill_diagonal(distance, np.inf)
    every = Neighbours(songs, k, Silent()).table()
    k = min(k, 59)
    assert (every.schema, every.num_rows) == (NEIGHBOURS, 60 * k)
    for row in (0, 31, 59):
        nearest = nearest_songs(songs, f"song {row}", songs, k)
        assert nearest.schema == NEAREST
        wanted = np.argsort(distance[row])[:k]
        assert nearest["song_id"].to_pylist() == [f"song {number}" for number in wanted]
        assert nearest["rank"].to_pylist() == list(range(1, k + 1))
        np.testing.assert_allclose(nearest["distance"], distance[row][wanted], atol=1e-6)
        of_row = every.slice(row * k, k)
        assert set(of_row["song_id"].to_pylist()) == {f"song {row}"}
        assert of_row["neighbour"].to_pylist() == nearest["song_id"].to_pylist()
        np.testing.assert_allclose(of_row["distance"], nearest["distance"], atol=1e-6)


def test_a_copy_is_a_neighbour_at_no_distance_and_the_song_itself_is_none(rng: np.random.Generator) -> None:
    values = np.repeat(rng.normal(size=(3, 4)), [20, 1, 1], axis=0)
    songs = points(values)
    every = Neighbours(songs, 5, Silent()).table()
    assert not any(a == b for a, b in zip(*(every[name].to_pylist() for name in ("song_id", "neighbour")), strict=True))
    of_copies = every.slice(0, 100)
    assert set(of_copies["distance"].to_pylist()) == {0.0}
    nearest = nearest_songs(songs, "song 7", songs, 5)
    assert nearest["distance"].to_pylist() == [0.0] * 5
    assert nearest["song_id"].to_pylist() == ["song 0", "song 1", "song 10", "song 11", "song 12"]


@pytest.mark.parametrize("n_equal", [0, 700])
def test_of_many_points_nearly_all_neighbours_are_found(rng: np.random.Generator, n_equal: int) -> None:
    """Also where most of them are equal."""
    values = rng.normal(size=(40, 6))[rng.integers(0, 40, 1500)] * 3 + rng.normal(size=(1500, 6))
    values[:n_equal] = 1
    own = values.astype(np.float32)
    found = np.full((1500, 5), -1)
    for rows, near, squares in neighbours(own, 5, compared=300):
        assert (found[rows] == -1).all()
        assert not (near == rows[:, None]).any()
        assert (np.diff(squares, axis=1) >= 0).all()
        found[rows] = near
    distances = np.square(own[:, None] - own).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    fifth = np.sort(distances, axis=1)[:, 4:5]
    right = np.take_along_axis(distances, found, axis=1) <= fifth * (1 + 1e-5)
    assert right.mean() > 0.98
    assert right[:n_equal].all()


def test_a_song_alone_has_no_neighbours(rng: np.random.Generator) -> None:
    songs = points(rng.normal(size=(1, 4)))
    assert nearest_songs(songs, "song 0", songs, 3).num_rows == 0
    for few in (songs, points(np.zeros((0, 4)))):
        assert Neighbours(few, 3, Silent()).table().equals(NEIGHBOURS.empty_table())


def test_songs_without_telling_sums_are_no_points(tmp_path: object, rng: np.random.Generator) -> None:
    """Silence is one: its deviations are 0, which is a number like another."""
    windows = sixteenths(rng, 2, SPEC.window_shape)
    songs = [{"song_id": f"song {n}", "label": "x", "windows": windows + n} for n in range(3)]
    songs.append({"song_id": "silence", "label": "x", "windows": np.full_like(windows, -100)})
    songs.append({"song_id": "failed", "label": "x", "status": "failed", "error_code": "corrupt", "error": "cut off"})
    store = write_store(tmp_path / "store", songs, spec=SPEC)  # type: ignore[operator]
    found = SongPoints.read(store.inside.state.content, store.spec)
    assert sorted(found.song_ids.to_pylist()) == ["silence", "song 0", "song 1", "song 2"]
    assert np.isfinite(found.points).all()
    one = SongPoints.read(store.inside.state.content, dataclasses.replace(store.spec, n_mfcc=5))
    assert len(one.points) == 0


def test_a_number_that_all_songs_share_counts_for_nothing(make_store: MakeStore, rng: np.random.Generator) -> None:
    windows = {f"song {n}": sixteenths(rng, 1, SPEC.window_shape) for n in range(5)}
    for own in windows.values():
        own[:, 2] = 7.0
    found = SongPoints.read(make_store(windows, spec=SPEC).inside.state.content, SPEC)
    np.testing.assert_array_equal(found.points[:, [2, 8]], 0)
