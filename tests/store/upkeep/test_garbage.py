"""What gc may delete: ages are faked with the stamps of real files and the facts of hand-made snapshots."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import read_part
from songbag_store.errors import DamagedStore, StoreError, StoreNotFound
from songbag_store.format.keys import snapshot_key
from songbag_store.storage.folder import LocalStorage
from songbag_store.store import open_in
from songbag_store.upkeep.change import remove
from songbag_store.upkeep.compact import compact
from songbag_store.upkeep.garbage import gc
from songbag_store.upkeep.verify import verify
from songbag_store.writer import commit_parts
from tests.support.ages import commit_days_ago, rewrite_as_old, stamp_days_ago
from tests.support.stores import MakeStore, fill, sixteenths
from tests.support.watched import WatchedPlace

SHAPE = FeatureSpec().window_shape


@pytest.fixture
def store(make_store: MakeStore, rng: np.random.Generator) -> SongStore:
    return make_store({name: sixteenths(rng, 2, SHAPE) for name in "abc"})


def keys(store: SongStore) -> set[str]:
    return {entry.key for entry in store.inside.storage.entries("")}


def test_a_fresh_store_has_no_garbage(store: SongStore) -> None:
    assert gc(store).objects == ()


def test_looking_for_garbage_deletes_nothing_and_leaves_nothing(store: SongStore) -> None:
    store = commit_days_ago(store, 100, 20)
    stamp_days_ago(store, 100)
    before = keys(store)
    assert gc(store).snapshots == tuple(range(2, 12))
    assert keys(store) == before


def test_the_last_ten_snapshots_the_tagged_and_the_young_stay(store: SongStore) -> None:
    store = commit_days_ago(store, 100, 4)
    SongStore.open(store.address, snapshot=3).tag("paper")
    store = commit_days_ago(store, 29, 2)
    store = commit_days_ago(store, 1, 10)
    stamp_days_ago(store, 100)
    stamp_days_ago(store, 29, "index/*0[67].parquet")
    assert gc(store, yes=True).snapshots == (2, 4, 5)
    assert store.snapshots() == [1, 3, *range(6, 18)]
    assert not verify(SongStore.open(store.address, snapshot=3), full=True)


def test_bytes_of_removed_songs_go_when_no_kept_snapshot_has_them(store: SongStore) -> None:
    (old,) = set(store.index(arrow=True)["fragment"].to_pylist())
    removed, _ = remove(store, "song_id = 'a'")
    compacted, _ = compact(removed)
    commit_days_ago(compacted, 60, 10)
    stamp_days_ago(store, 100)
    # Snapshots 1 to 3 were committed today: what they reach stays, whatever the stamps of the files say.
    assert gc(store.at()).objects == ()
    rewrite_as_old(store, [1, 2, 3])
    garbage = gc(store.at(), yes=True)
    assert garbage.snapshots == (1, 2, 3)
    assert not any(old in key for key in keys(store))
    after = store.at()
    assert set(dict(after.iter_windows())) == {"b", "c"}
    assert not verify(after, full=True)
    assert gc(after, yes=True).objects == ()


def orphan(store: SongStore, rng: np.random.Generator) -> str:
    """Leave a fragment without its part, as a killed task does."""
    fragment = fill(store, {"lost": sixteenths(rng, 1, SHAPE)})
    Path(store.address, f"parts/{fragment}.parquet").unlink()
    return fragment


@pytest.mark.parametrize(("days", "gone"), [(6.9, False), (7.1, True)])
def test_the_fragment_of_a_killed_task_goes_after_seven_days(
    store: SongStore, rng: np.random.Generator, days: float, gone: bool
) -> None:
    fragment = orphan(store, rng)
    stamp_days_ago(store, days)
    garbage = gc(store, yes=True)
    assert any(fragment in entry.key for entry in garbage.objects) == gone
    assert any(fragment in key for key in keys(store)) != gone
    assert bool(garbage.n_young) != gone


def test_a_fragment_with_one_young_object_stays_whole(store: SongStore, rng: np.random.Generator) -> None:
    """A task that has been writing for long is not pulled apart."""
    fragment = orphan(store, rng)
    stamp_days_ago(store, 20)
    stamp_days_ago(store, 0, f"features.zarr/{fragment}/c/0/0/0")
    assert gc(store, yes=True).objects == ()


def test_half_written_files_of_killed_writers_go_too(store: SongStore) -> None:
    path = Path(store.address, "index", ".tmp-0123")
    path.write_bytes(b"half")
    assert gc(store, yes=True).objects == ()
    stamp_days_ago(store, 8, "index/.tmp-*")
    assert [entry.key for entry in gc(store, yes=True).objects] == ["index/.tmp-0123"]
    assert not path.exists()


def test_finished_work_that_nobody_committed_is_taken_in_and_not_deleted(
    store: SongStore, rng: np.random.Generator
) -> None:
    fill(store, {"late": sixteenths(rng, 3, SHAPE)})
    stamp_days_ago(store, 300)
    assert gc(store).objects == ()
    assert store.at().snapshot == 1
    assert gc(store, yes=True).objects == ()
    assert len(store.at().windows("late")) == 3


def test_the_part_and_fragment_of_a_task_that_ran_twice_go(store: SongStore, rng: np.random.Generator) -> None:
    twin = fill(store, {"a": sixteenths(rng, 2, SHAPE)})
    stamp_days_ago(store, 8)
    gone = {entry.key for entry in gc(store, yes=True).objects}
    assert f"parts/{twin}.parquet" in gone
    assert f"features.zarr/{twin}/zarr.json" in gone
    assert len(store.at().songs()) == 3


def test_a_damaged_part_and_its_fragment_go(store: SongStore, rng: np.random.Generator) -> None:
    fragment = fill(store, {"x": sixteenths(rng, 2, SHAPE)})
    Path(store.address, f"parts/{fragment}.parquet").write_bytes(b"nonsense")
    stamp_days_ago(store, 8)
    assert {fragment in entry.key for entry in gc(store, yes=True).objects} == {True}


@pytest.mark.parametrize("text", ["", "{}", '{"snapshot": "x"}', "[" * 100_000])
def test_a_damaged_tag_stops_the_collection_and_names_the_tag(store: SongStore, text: str) -> None:
    store.tag("paper")
    Path(store.address, "tags/paper.json").write_text(text)
    with pytest.raises(DamagedStore, match=r"tags/paper\.json"):
        gc(store, yes=True)


def test_a_damaged_snapshot_stops_the_collection(store: SongStore) -> None:
    store = commit_days_ago(store, 0, 3)
    Path(store.address, snapshot_key(2)).write_bytes(b"")
    with pytest.raises(DamagedStore, match="what it reaches is unknown"):
        gc(store, yes=True)


@pytest.mark.fault(56)
@pytest.mark.parametrize("days", [-2, 2, 400])
def test_a_wrong_clock_of_one_writer_makes_nothing_old(store: SongStore, days: float) -> None:
    """Facts that say "long ago" beside files written today: the younger of the two clocks counts."""
    removed, _ = remove(store, "song_id = 'a'")
    after, _ = compact(removed)
    commit_days_ago(after, days, 12)
    assert gc(after.at()).objects == ()


@pytest.mark.fault(57)
def test_a_reader_of_an_old_tagged_snapshot_keeps_its_windows_through_a_collection(store: SongStore) -> None:
    store.tag("run-1")
    removed, _ = remove(store, "true")
    commit_days_ago(removed, 60, 12)
    stamp_days_ago(store, 60)
    gc(store.at(), yes=True)
    reader = SongStore.open(store.address, snapshot=1)
    assert dict(reader.iter_windows()).keys() == set("abc")


class Interrupted(LocalStorage):
    """A folder where something else happens right before or after snapshot 1 is deleted."""

    def __init__(self, root: Path, *, before: Callable[[], None] = bool, after: Callable[[], None] = bool) -> None:
        super().__init__(root)
        self.before, self.after = before, after

    def delete(self, key: str) -> None:
        others = (self.before, self.after) if key == snapshot_key(1) else (bool, bool)
        others[0]()
        super().delete(key)
        others[1]()


@pytest.fixture
def reader(store: SongStore) -> SongStore:
    """A reader of snapshot 1, of which nothing is left in the newest, and which gc may delete."""
    removed, _ = remove(store, "true")
    commit_days_ago(removed, 60, 12)
    rewrite_as_old(store, [1])
    return SongStore.open(store.address, snapshot=1)


@pytest.mark.fault(57)
def test_a_snapshot_pinned_while_gc_deletes_it_is_put_back_with_all_it_reaches(reader: SongStore) -> None:
    storage = Interrupted(Path(reader.address), before=partial(reader.tag, "paper"))
    garbage = gc(open_in(storage), yes=True)
    assert garbage.snapshots == (3, 4)
    assert not any("features.zarr" in entry.key for entry in garbage.objects)
    assert dict(SongStore.open(reader.address, snapshot=1).iter_windows()).keys() == set("abc")


@pytest.mark.fault(57)
def test_who_pins_a_snapshot_that_gc_has_just_deleted_is_told(reader: SongStore) -> None:
    def pin() -> None:
        with pytest.raises(StoreNotFound, match=r"snapshot 1 is being deleted"):
            reader.tag("paper")

    garbage = gc(open_in(Interrupted(Path(reader.address), after=pin)), yes=True)
    assert garbage.snapshots == (1, 3, 4)
    assert not any(key.startswith("tags/") for key in keys(reader))


@pytest.mark.fault(57)
def test_a_collection_beside_a_run_leaves_what_the_run_has_written(store: SongStore, rng: np.random.Generator) -> None:
    stamp_days_ago(store, 60)
    fragment = fill(store, {"d": sixteenths(rng, 2, SHAPE)})
    rows = read_part(store.inside.storage, store.uuid, store.spec, fragment)
    gc(store, yes=True)
    after = commit_parts(store, {fragment: rows})
    assert dict(after.iter_windows()).keys() == set("abcd")


def test_a_copied_store_is_young_again(store: SongStore, rng: np.random.Generator, tmp_path: Path) -> None:
    orphan(store, rng)
    stamp_days_ago(store, 60)
    shutil.copytree(store.address, tmp_path / "copy", copy_function=shutil.copyfile)
    assert gc(SongStore.open(tmp_path / "copy")).objects == ()
    assert gc(store).objects


@pytest.mark.fault(114)
def test_of_the_snapshots_of_a_run_that_has_ended_the_last_stays(store: SongStore) -> None:
    """However young they are, and beside other runs: 2 to 5 are of a run and 6 of one in progress, 7 of the first."""
    store = commit_days_ago(store, 0, 4, run="first")
    store = commit_days_ago(store, 0, 1, run="second")
    store = commit_days_ago(store, 0, 1, run="first", ended=True)
    SongStore.open(store.address, snapshot=3).tag("paper")
    store = commit_days_ago(store, 0, 2, run="second")
    store = commit_days_ago(store, 0, 1)
    assert gc(store).snapshots == (2, 4, 5)
    assert store.snapshots() == list(range(1, 11))
    assert gc(store, yes=True).snapshots == (2, 4, 5)
    assert store.snapshots() == [1, 3, 6, 7, 8, 9, 10]
    store = commit_days_ago(store, 0, 1, run="second", ended=True)
    assert gc(store, yes=True).snapshots == (6, 8, 9)
    assert store.snapshots() == [1, 3, 7, 10, 11]
    assert verify(store, full=True) == []


@pytest.mark.fault(114)
def test_a_run_that_was_killed_has_ended_when_it_has_committed_nothing_for_a_week(store: SongStore) -> None:
    store = commit_days_ago(store, 8, 3, run="killed")
    assert gc(store).snapshots == ()
    stamp_days_ago(store, 8)
    assert gc(store).snapshots == (2, 3)
    store = commit_days_ago(store, 1, 1, run="killed")
    assert gc(store).snapshots == ()


@pytest.mark.fault(114)
def test_snapshots_of_ended_runs_do_not_count_as_the_last_ten(store: SongStore) -> None:
    store = commit_days_ago(store, 60, 3)
    store = commit_days_ago(store, 60, 11, run="r")
    store = commit_days_ago(store, 60, 1, run="r", ended=True)
    stamp_days_ago(store, 100)
    assert gc(store, yes=True).snapshots == tuple(range(5, 16))
    assert store.snapshots() == [1, 2, 3, 4, 16]


@pytest.fixture
def old(store: SongStore, rng: np.random.Generator) -> SongStore:
    """A store with something to delete, and a part that waits for a commit."""
    orphan(store, rng)
    fill(store, {"waits": sixteenths(rng, 1, SHAPE)})
    store = commit_days_ago(store, 60, 12)
    stamp_days_ago(store, 60)
    return store


def test_a_look_at_the_garbage_writes_nothing_so_a_store_that_cannot_be_written_will_do(old: SongStore) -> None:
    asked: list[str] = []

    def refuse(operation: str, key: str) -> None:
        asked.append(operation)
        if operation in ("create", "delete", "make_durable", "new_array"):
            raise StoreError("cannot be written", place=key)

    place = WatchedPlace(old.address, before=refuse)
    garbage = gc(place)
    assert garbage.snapshots == (2, 3, 4)  # the part that waits is one more snapshot by then
    assert any(entry.key.startswith("features.zarr/") for entry in garbage.objects)
    assert "entries" in asked
    with pytest.raises(StoreError, match="cannot be written"):
        gc(place, yes=True)
    assert gc(old, yes=True) == garbage


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_the_garbage_of_a_folder_without_write_access_is_listed(old: SongStore) -> None:
    folders = [path for path in (Path(old.address), *Path(old.address).rglob("*")) if path.is_dir()]
    for folder in folders:
        folder.chmod(0o500)
    try:
        assert gc(old.address).snapshots == (2, 3, 4)
        with pytest.raises(StoreError, match="cannot be written"):
            gc(old.address, yes=True)
    finally:
        for folder in folders:
            folder.chmod(0o700)
