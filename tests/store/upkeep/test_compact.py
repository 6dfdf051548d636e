from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import finished_parts, read_part
from songbag_store.errors import DamagedStore
from songbag_store.format.keys import PARTS, snapshot_key
from songbag_store.upkeep.change import relabel, remove
from songbag_store.upkeep.compact import compact
from songbag_store.upkeep.verify import verify
from songbag_store.writer import commit_parts
from tests.support.stores import MakeStore, Windows, fill, sixteenths
from tests.support.watched import WatchedPlace

SHAPE = FeatureSpec().window_shape


@pytest.fixture
def songs(rng: np.random.Generator) -> dict[str, Windows]:
    return {name: sixteenths(rng, n, SHAPE) for name, n in {"a": 3, "b": 1, "c": 5, "d": 2, "e": 4}.items()}


@pytest.fixture
def store(make_store: MakeStore, songs: dict[str, Windows]) -> SongStore:
    """Two fragments: a, b, c and d, e."""
    store = make_store({name: songs[name] for name in "abc"}, {"label": ["x", "y", "z"]})
    fragment = fill(store, {name: songs[name] for name in "de"}, {"label": ["x", "y"]})
    return commit_parts(store, {fragment: read_part(store.inside.storage, store.uuid, store.spec, fragment)})


def fragments(store: SongStore) -> set[str]:
    return set(store.index(arrow=True)["fragment"].to_pylist())


def test_small_fragments_become_one_with_the_same_windows_and_labels(
    store: SongStore, songs: dict[str, Windows]
) -> None:
    after, done = compact(store)
    assert (done.n_before, done.n_after, done.n_songs, done.n_freed_bytes) == (2, 1, 5, 0)
    assert len(fragments(after)) == 1
    for name, windows in songs.items():
        np.testing.assert_array_equal(after.windows(name), windows)
    changed = {"fragment", "row_start"}
    same = [name for name in store.index(arrow=True).column_names if name not in changed]
    assert after.index(arrow=True).select(same).equals(store.index(arrow=True).select(same))
    assert not verify(after, full=True)


def test_a_store_that_is_compact_is_left_alone(store: SongStore) -> None:
    after, _ = compact(store)
    again, done = compact(after)
    assert (again.snapshot, done.n_before) == (after.snapshot, 0)


def test_windows_of_removed_songs_are_left_out(store: SongStore, songs: dict[str, Windows]) -> None:
    without, n_removed = remove(store, "song_id in ('a', 'd')")
    after, done = compact(without)
    assert (n_removed, done.n_freed_bytes) == (2, 5 * store.spec.window_bytes)
    assert dict(after.iter_windows()).keys() == {"b", "c", "e"}
    np.testing.assert_array_equal(after.windows("c"), songs["c"])
    np.testing.assert_array_equal(store.windows("a"), songs["a"])


def test_many_songs_become_fragments_of_a_bounded_size(store: SongStore, songs: dict[str, Windows]) -> None:
    after, done = compact(store, fragment_bytes=6 * store.spec.window_bytes)
    assert done.n_after == 3
    for name, windows in songs.items():
        np.testing.assert_array_equal(after.windows(name), windows)


def test_what_others_commit_during_a_compaction_stays(
    store: SongStore, songs: dict[str, Windows], tmp_path: Path
) -> None:
    """A relabel, a removal and a recomputation arrive between the copying and the commit."""
    (tmp_path / "labels.csv").write_text("song_id,label\nb,new\n")
    anew = songs["e"] + 1

    def meanwhile(operation: str, key: str) -> None:
        if operation != "create" or not key.startswith(PARTS):
            return
        relabel(store, tmp_path / "labels.csv")
        remove(store, "song_id = 'a'")
        fragment = fill(store, {"e": anew}, {"label": ["y"]})
        rows = read_part(store.inside.storage, store.uuid, store.spec, fragment)
        old = store.index(arrow=True).filter(pc.field("song_id") == "e")["fragment"]
        commit_parts(store, {fragment: rows.set_column(rows.schema.get_field_index("replaces"), "replaces", old)})

    after, _ = compact(WatchedPlace(store.address, before=meanwhile))
    assert after.songs("song_id = 'b'")["label"].tolist() == ["new"]
    assert set(after.index(arrow=True)["song_id"].to_pylist()) == set("bcde")
    np.testing.assert_array_equal(after.windows("e"), anew)
    np.testing.assert_array_equal(after.windows("b"), songs["b"])


def test_a_compaction_killed_before_its_commit_changes_nothing_when_its_part_is_adopted(
    store: SongStore,
) -> None:
    def die(operation: str, key: str) -> None:
        if (operation, key) == ("create", snapshot_key(store.snapshot + 1)):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compact(WatchedPlace(store.address, before=die))
    parts, damaged = finished_parts(store.inside.storage, store.uuid, store.spec, store.inside.state.parts)
    assert (len(parts), damaged) == (1, [])
    after = commit_parts(store, parts)
    assert after.index(arrow=True).equals(store.index(arrow=True))
    assert after.inside.state.parts == store.inside.state.parts | parts.keys()


def test_damaged_windows_are_never_copied(store: SongStore) -> None:
    for shard in (Path(store.address) / "features.zarr").glob("*/c/0/0/0"):
        shard.write_bytes(shard.read_bytes()[:-40])
    with pytest.raises(DamagedStore, match="songs hit"):
        compact(store)
    assert store.at().snapshot == store.snapshot
