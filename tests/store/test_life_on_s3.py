"""The whole life of a store that lies in a bucket of a real S3 server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.history import history_table
from songbag_store.commits.parts import read_part
from songbag_store.storage.location import Location
from songbag_store.upkeep.change import relabel, remove
from songbag_store.upkeep.compact import compact
from songbag_store.upkeep.garbage import gc
from songbag_store.upkeep.verify import repair, verify
from songbag_store.writer import commit_parts, open_for_writing
from tests.support import objects
from tests.support.stores import fill, sixteenths

SHAPE = FeatureSpec().window_shape


@pytest.fixture
def store(s3_endpoint: str, s3_url: str, rng: np.random.Generator) -> SongStore:
    store = open_for_writing(Location(s3_url, objects.options(s3_endpoint)), FeatureSpec())
    fragment = fill(store, {name: sixteenths(rng, 2, SHAPE) for name in "abc"}, {"genre": ["rock", "jazz", "rock"]})
    return commit_parts(store, {fragment: read_part(store.inside.storage, store.uuid, store.spec, fragment)})


def test_labels_removal_compaction_history_and_verification_go_the_same_way_in_a_bucket(
    store: SongStore, tmp_path: Path
) -> None:
    before = store.windows("b")
    (tmp_path / "labels.csv").write_text("song_id,year\nb,1999\n")
    after, _ = relabel(store, tmp_path / "labels.csv")
    after, _ = remove(after, "genre = 'rock' and song_id = 'a'")
    after, done = compact(after)
    assert (done.n_before, done.n_after, done.n_songs) == (1, 1, 2)
    np.testing.assert_array_equal(after.windows("b"), before)
    assert after.songs("year = 1999")["song_id"].tolist() == ["b"]
    assert history_table(after.inside.storage, after.uuid)["songs"].to_pylist() == [2, 2, 3, 3]
    assert not verify(after, full=True)


def test_a_lost_object_is_found_and_its_songs_leave(store: SongStore) -> None:
    (lost,) = (entry.key for entry in store.inside.storage.entries("features.zarr") if "/c/" in entry.key)
    store.inside.storage.delete(lost)
    damages = verify(store)
    assert [(damage.key, damage.song_ids) for damage in damages] == [(lost, ("a", "b", "c"))]
    after, n_removed = repair(store, damages)
    assert (n_removed, after.index(arrow=True).num_rows) == (3, 0)


def test_what_was_written_today_by_the_clock_of_the_bucket_is_not_collected(
    store: SongStore, rng: np.random.Generator
) -> None:
    orphan = fill(store, {"x": sixteenths(rng, 1, SHAPE)})
    store.inside.storage.delete(f"parts/{orphan}.parquet")
    found = gc(store)
    assert (found.objects, found.n_young) == ((), 2)
    gc(store, yes=True)
    assert any(orphan in entry.key for entry in store.inside.storage.entries("features.zarr"))
