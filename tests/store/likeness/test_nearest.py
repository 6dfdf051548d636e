"""Nearest songs, by brute force beside what is returned, and what must not count as a neighbour."""

from __future__ import annotations

import dataclasses
import sys
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import MissingExtra
from songbag_store.likeness.nearest import NEAREST, NEIGHBOURS, Neighbours, nearest_songs
from songbag_store.likeness.points import SongPoints
from songbag_store.likeness.search import Search, require_search
from songbag_store.likeness.statistics import Points
from songbag_store.progress import Silent
from songbag_store.types import Ints
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


def every(own: Points, k: int, *, compared: int) -> tuple[Ints, Points]:
    """Return the neighbours of all points, a few at a time."""
    search = Search(own, k, compared=compared, held=400 * k)
    assert search.at_once < len(own)
    near, squares = zip(*map(search.nearest, range(0, len(own), search.at_once)), strict=True)
    return np.concatenate(near), np.concatenate(squares)


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
    """Also where many of them are equal; by one thread and by several the same ones."""
    faiss = pytest.importorskip("faiss")
    values = rng.normal(size=(40, 6))[rng.integers(0, 40, 1500)] * 3 + rng.normal(size=(1500, 6))
    values[:n_equal] = 1
    own = values.astype(np.float32)
    n_threads = faiss.omp_get_max_threads()
    try:
        found, squares = every(own, 5, compared=500)
        faiss.omp_set_num_threads(1)
        by_one_thread = every(own, 5, compared=500)
    finally:
        faiss.omp_set_num_threads(n_threads)
    np.testing.assert_array_equal([found, squares], by_one_thread)
    distances = np.square(own[:, None] - own).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    assert np.isfinite(np.take_along_axis(distances, found, axis=1)).all()
    np.testing.assert_allclose(np.take_along_axis(distances, found, axis=1), squares, rtol=1e-5)
    assert (np.diff(squares, axis=1) >= 0).all()
    assert (squares[:n_equal] == 0).all()
    fifth = np.sort(distances, axis=1)[:, 4:5]
    assert (squares <= fifth * (1 + 1e-5)).mean() > 0.98


def test_cells_with_too_few_points_leave_no_song_without_neighbours(rng: np.random.Generator) -> None:
    pytest.importorskip("faiss")
    values = rng.normal(size=(600, 3)).astype(np.float32)
    values[:4] += 1000
    found, squares = every(values, 7, compared=100)
    assert (found >= 0).all()
    assert set(found[0, :3]) == {1, 2, 3}
    assert squares[0, 3] > 1e6
    every_distance = np.square(values[0] - values).sum(axis=1)
    np.testing.assert_array_equal(found[0], np.argsort(every_distance)[1:8])


def test_no_more_than_some_rows_are_in_memory(rng: np.random.Generator) -> None:
    """All numbers and distances would be 7 MB."""
    pytest.importorskip("faiss")
    songs = points(rng.normal(size=(3000, 4)))
    n_rows = 0
    for compared in (300, 3000):
        rows = Neighbours(songs, 200, Silent(), compared=compared, held=30_000).to_batches(8192)
        next(rows)
        tracemalloc.start()
        n_rows += sum(batch.num_rows for batch in rows)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3_500_000
    assert n_rows > 1_180_000


def test_more_songs_than_are_compared_need_faiss(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    require_search(20_000)
    with pytest.raises(MissingExtra, match=r"20,000 songs: needs .*'faiss'.*\n.*pip install 'songbag\[training\]'"):
        require_search(20_001)
    with pytest.raises(MissingExtra):
        Search(rng.normal(size=(11, 2)).astype(np.float32), 1, compared=10)


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
