"""Bags read from a bucket of a real S3 server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.object_storage import ObjectStorage
from songbag_store.parts import adopt_part
from songbag_training.bags import BagDataset
from tests import objects
from tests.conftest import Windows, fill, sixteenths

SPEC = FeatureSpec(window_s=0.5, n_mels=40)


def filled(place: str, options: dict[str, str], songs: dict[str, Windows]) -> SongStore:
    store = SongStore.open_for_writing(place, SPEC, storage_options=options)
    fragment = fill(store, songs)
    return store.commit_parts({fragment: adopt_part(store.storage, store.uuid, SPEC, fragment)})


def test_bags_from_a_bucket_are_those_from_a_folder(
    tmp_path: Path, s3_url: str, s3_endpoint: str, rng: np.random.Generator
) -> None:
    songs = {f"{n:02}": sixteenths(rng, 1 + n % 7, SPEC.window_shape) for n in range(20)}
    stores = [filled(str(tmp_path / "store"), {}, songs), filled(s3_url, objects.options(s3_endpoint), songs)]
    bags = [BagDataset(store, sorted(songs), [0, 1] * 10, bag_size=4, batch_size=6) for store in stores]
    pairs = zip(*(one.batches(stop_epoch=2) for one in bags), strict=True)
    for mine, theirs in pairs:
        np.testing.assert_array_equal(mine.windows, theirs.windows)
        np.testing.assert_array_equal(mine.mask, theirs.mask)
        np.testing.assert_array_equal(mine.labels, theirs.labels)


def test_a_store_that_remembers_asks_the_bucket_for_a_song_once(
    s3_url: str, s3_endpoint: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    songs = {f"{n:02}": sixteenths(rng, 1 + n % 7, SPEC.window_shape) for n in range(20)}
    store = filled(s3_url, objects.options(s3_endpoint), songs).remembering(10**8)
    requests: list[str] = []
    read_range = ObjectStorage.read_range

    def noting(storage: ObjectStorage, key: str, start: int, stop: int) -> bytes:
        requests.append(key)
        return read_range(storage, key, start, stop)

    monkeypatch.setattr(ObjectStorage, "read_range", noting)
    bags = BagDataset(store, sorted(songs), [0, 1] * 10, bag_size=7, batch_size=6)
    first = [batch.windows for batch in bags.batches(stop_epoch=1)]
    assert requests
    requests.clear()
    again = [batch.windows for batch in bags.batches(stop_epoch=1)]
    assert requests == []
    for mine, theirs in zip(first, again, strict=True):
        np.testing.assert_array_equal(mine, theirs)
