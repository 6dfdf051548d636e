from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from songbag_store import SongStore
from songbag_store.errors import DamagedStore, SongNotFound
from songbag_training import BagDataset
from songbag_training.bags import Batch
from songbag_training.errors import ModelError


@pytest.fixture(scope="session")
def ids(store: SongStore) -> list[str]:
    names: list[str] = store.select_songs()["song_id"].to_pylist()
    return names


def _bags(store: SongStore, ids: list[str], **options: Any) -> BagDataset:
    return BagDataset(store, ids, [len(song_id) for song_id in ids], **({"bag_size": 4, "batch_size": 5} | options))


def _same(a: Batch, b: Batch) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("windows", "mask", "labels", "songs"))


def test_every_song_comes_once_an_epoch(store: SongStore, ids: list[str]) -> None:
    bags = _bags(store, ids)
    songs = np.concatenate([batch.songs for batch in bags.batches(stop_epoch=1)])
    assert sorted(songs.tolist()) == list(range(len(ids)))


def test_batches_of_an_epoch_differ_by_one_song_at_most(store: SongStore, ids: list[str]) -> None:
    sizes = [len(plan.songs) for plan in _bags(store, ids, batch_size=7).plans((0, 0), 1)]
    assert sum(sizes) == len(ids)
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 7


def test_the_same_seed_gives_the_same_bags_and_another_one_others(store: SongStore, ids: list[str]) -> None:
    first, again, other = (_bags(store, ids, seed=seed).batch(2, 1) for seed in (7, 7, 8))
    assert _same(first, again)
    assert not _same(first, other)


def test_the_order_in_which_songs_are_given_does_not_matter(store: SongStore, ids: list[str]) -> None:
    assert _same(_bags(store, ids).batch(0, 0), _bags(store, ids[::-1]).batch(0, 0))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 10**6), batch_size=st.integers(1, 40), data=st.data())
def test_any_step_can_be_entered_directly(
    store: SongStore, ids: list[str], seed: int, epoch: int, batch_size: int, data: st.DataObject
) -> None:
    bags = _bags(store, ids, seed=seed, batch_size=batch_size)
    step = data.draw(st.integers(0, bags.n_steps - 1))
    in_turn = list(bags.plans((epoch, 0), epoch + 1))
    directly = bags.plan(epoch, step)
    for name in ("songs", "first", "length", "windows", "mask"):
        np.testing.assert_array_equal(getattr(in_turn[step], name), getattr(directly, name))
    resumed = next(bags.plans((epoch, step), epoch + 1))
    np.testing.assert_array_equal(resumed.windows, directly.windows)


@settings(max_examples=40, deadline=None)
@given(bag_size=st.integers(1, 20), epoch=st.integers(0, 100))
def test_a_bag_holds_windows_of_its_song_without_repeating_a_real_one(
    store: SongStore, ids: list[str], bag_size: int, epoch: int
) -> None:
    bags = _bags(store, ids, bag_size=bag_size)
    n_windows = dict(zip(ids, store.select_songs()["n_windows"].to_pylist(), strict=True))
    for plan in bags.plans((epoch, 0), epoch + 1):
        for song, windows, mask in zip(plan.songs, plan.windows, plan.mask, strict=True):
            there = n_windows[bags.song_ids[song]]
            real = windows[mask == 1].tolist()
            assert len(real) == len(set(real)) == min(there, bag_size)
            assert windows.max() < there


def test_a_batch_holds_the_windows_as_stored(store: SongStore, ids: list[str]) -> None:
    bags = _bags(store, ids)
    batch, plan = bags.batch(3, 2), bags.plan(3, 2)
    assert batch.windows.dtype == np.int16
    for bag, song, drawn in zip(batch.windows, plan.songs, plan.windows, strict=True):
        np.testing.assert_array_equal(bag / 16, store.windows(bags.song_ids[song])[drawn])


def test_another_epoch_draws_other_windows_of_a_long_song(store: SongStore, ids: list[str]) -> None:
    longest = max(ids, key=lambda song_id: len(store.windows(song_id)))
    bags = _bags(store, [longest], bag_size=4)
    drawn = {tuple(bags.plan(epoch, 0).windows[0].tolist()) for epoch in range(20)}
    assert len(drawn) > 10


def test_of_a_very_long_song_only_a_stretch_is_read(tmp_path: Path, make_store: Any, spec: Any) -> None:
    windows = np.arange(3000, dtype=np.float32)[:, None, None] / 2 * np.ones(spec.window_shape, np.float32)
    store = make_store(tmp_path / "store", [{"song_id": "day", "label": "x", "windows": windows}])
    bags = BagDataset(store, ["day"], [0], bag_size=8)
    plan, batch = bags.plan(5, 0), bags.batch(5, 0)
    assert plan.length.tolist() == [1024]
    np.testing.assert_array_equal(batch.windows[0, :, 0, 0] / 8, plan.first + plan.windows[0])


def test_tensorflow_gets_the_same_batches_epoch_after_epoch(store: SongStore, ids: list[str]) -> None:
    bags = _bags(store, ids)
    for (inputs, labels), batch in zip(
        bags.dataset((1, 2), stop_epoch=3), bags.batches((1, 2), stop_epoch=3), strict=True
    ):
        np.testing.assert_array_equal(inputs["windows"], batch.windows)
        np.testing.assert_array_equal(inputs["mask"], batch.mask)
        np.testing.assert_array_equal(labels, batch.labels)


def test_labels_of_several_classes_stay_with_their_songs(store: SongStore, ids: list[str]) -> None:
    targets = np.array([[song_id.startswith("folk"), song_id.endswith("0")] for song_id in ids], np.float64)
    bags = BagDataset(store, ids[::-1], targets[::-1], bag_size=2, batch_size=5)
    for (_, labels), batch in zip(bags.dataset(stop_epoch=1), bags.batches(stop_epoch=1), strict=True):
        expected = [[bags.song_ids[song].startswith("folk"), bags.song_ids[song].endswith("0")] for song in batch.songs]
        np.testing.assert_array_equal(labels, np.array(expected, np.float32))
        assert labels.dtype == "float32"


def test_a_lost_shard_is_an_error_that_names_the_song(tmp_path: Path, store: SongStore, ids: list[str]) -> None:
    shutil.copytree(store.location, tmp_path / "store")
    next((tmp_path / "store" / "features.zarr").glob("*/c/0/0/0")).unlink()
    with pytest.raises(DamagedStore, match="songs hit"):
        _bags(SongStore.open(tmp_path / "store"), ids).batch(0, 0)


def test_an_unknown_song_is_refused(store: SongStore) -> None:
    with pytest.raises(SongNotFound, match="nobody"):
        BagDataset(store, ["nobody"], [0])


def test_songs_and_labels_must_match(store: SongStore, ids: list[str]) -> None:
    with pytest.raises(ModelError, match="do not make bags"):
        BagDataset(store, ids[:2], [0])
    with pytest.raises(ModelError, match="do not make bags"):
        BagDataset(store, [ids[0], ids[0]], [0, 0])
