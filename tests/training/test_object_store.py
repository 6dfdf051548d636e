"""Bags read from a bucket of a real S3 server."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from songbag_store import FeatureSpec, SongStore
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
