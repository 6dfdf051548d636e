from __future__ import annotations

import gc
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from songbag_store import SongStore
from songbag_store.errors import DamagedStore, SongNotFound, UsageError
from songbag_training import BagDataset


@pytest.fixture(scope="session")
def ids(store: SongStore) -> list[str]:
    names: list[str] = store.songs(arrow=True)["song_id"].to_pylist()
    return names


def test_tensorflow_gets_the_same_batches_epoch_after_epoch(store: SongStore, ids: list[str]) -> None:
    labels = [len(song_id) for song_id in ids]
    bags = BagDataset(store, ids, labels, bag_size=4, batch_size=5, shard=(1, 2))
    plain = store.bags(ids, labels, bag_size=4, batch_size=5, shard=(1, 2))
    pairs = zip(bags.dataset((1, 2), stop_epoch=3), plain.batches((1, 2), stop_epoch=3), strict=True)
    for (inputs, given), batch in pairs:
        np.testing.assert_array_equal(inputs["windows"], batch.windows)
        np.testing.assert_array_equal(inputs["mask"], batch.mask)
        np.testing.assert_array_equal(given, batch.labels)


def test_a_dataset_begins_anew_whenever_it_is_iterated(store: SongStore, ids: list[str]) -> None:
    bags = BagDataset(store, ids, [0] * len(ids), bag_size=2, batch_size=3)
    dataset, other = bags.dataset((2, 0), stop_epoch=3), bags.dataset((0, 1), stop_epoch=2)
    whole = [inputs["windows"].numpy() for inputs, _ in dataset]
    assert len(whole) == len(dataset) == bags.n_steps
    next(iter(dataset))  # left before its end
    expected = [batch.windows for batch in bags.batches((0, 1), stop_epoch=2)]
    for one, ((inputs, _), (others, _)) in enumerate(zip(dataset, other, strict=False)):
        np.testing.assert_array_equal(inputs["windows"], whole[one])
        np.testing.assert_array_equal(others["windows"], expected[one])


def test_a_dataset_that_broke_off_does_not_end_early_the_next_time(
    store: SongStore, ids: list[str], tmp_path: Path
) -> None:
    shutil.copytree(store.address, tmp_path / "store")
    features = tmp_path / "store" / "features.zarr"
    bags = BagDataset(SongStore.open(tmp_path / "store"), ids, [0] * len(ids), bag_size=2, batch_size=3)
    dataset = bags.dataset(stop_epoch=1)
    features.rename(tmp_path / "gone")
    with pytest.raises(tf.errors.OpError, match=r"has no zarr\.json"):
        list(dataset)
    assert isinstance(bags.failure, DamagedStore)
    (tmp_path / "gone").rename(features)
    assert len(list(dataset)) == bags.n_steps


def test_bags_live_for_as_long_as_their_datasets(store: SongStore, ids: list[str]) -> None:
    bags = BagDataset(store, ids, [0] * len(ids), bag_size=2, batch_size=3)
    expected = [batch.songs for batch in bags.batches(stop_epoch=1)]
    numbered = bags.dataset(stop_epoch=1).map(lambda inputs, labels: (inputs["windows"], labels)).take(2)
    alive = weakref.ref(bags)
    del bags
    gc.collect()
    assert [len(labels) for _, labels in numbered] == [len(songs) for songs in expected[:2]]
    del numbered
    gc.collect()
    assert alive() is None


def test_labels_of_several_classes_stay_with_their_songs(store: SongStore, ids: list[str]) -> None:
    targets = np.array([[song_id.startswith("folk"), song_id.endswith("0")] for song_id in ids], np.float64)
    bags = BagDataset(store, ids[::-1], targets[::-1], bag_size=2, batch_size=5)
    for (_, labels), batch in zip(bags.dataset(stop_epoch=1), bags.batches(stop_epoch=1), strict=True):
        expected = [[bags.song_ids[song].startswith("folk"), bags.song_ids[song].endswith("0")] for song in batch.songs]
        np.testing.assert_array_equal(labels, np.array(expected, np.float32))
        assert labels.dtype == "float32"


def test_an_unknown_song_is_refused(store: SongStore) -> None:
    with pytest.raises(SongNotFound, match="nobody"):
        BagDataset(store, ["nobody"], [0])


def test_songs_and_labels_must_match(store: SongStore, ids: list[str]) -> None:
    with pytest.raises(UsageError, match="do not make bags"):
        BagDataset(store, ids[:2], [0])
