from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.history import history_table, read_events, read_tags
from songbag_store.commits.parts import finished_parts
from songbag_store.errors import QueryError, UsageError
from songbag_store.upkeep.change import remove
from tests.support.command import songbag_here as songbag
from tests.support.stores import MakeStore, sixteenths


@pytest.fixture
def store(make_store: MakeStore, rng: np.random.Generator) -> SongStore:
    return make_store({name: sixteenths(rng, 1, FeatureSpec().window_shape) for name in ("a", "b", "it's")})


def test_removed_songs_leave_at_once_and_are_not_adopted_again(store: SongStore) -> None:
    after, n_removed = remove(store, "song_id = 'it''s'")
    assert (n_removed, len(after.songs()), len(store.songs())) == (1, 2, 3)
    assert finished_parts(after.inside.storage, after.uuid, after.spec, after.inside.state.parts) == ({}, [])


@pytest.mark.parametrize("where", ["", "  ", "1=1; drop view songs", "nope = 1", "true) or (true"])
def test_a_condition_that_is_none_removes_nothing(store: SongStore, where: str) -> None:
    with pytest.raises((QueryError, UsageError), match=r"empty|query"):
        remove(store, where)
    assert len(store.at().songs()) == 3


def test_a_condition_that_no_song_meets_makes_no_snapshot(store: SongStore) -> None:
    after, n_removed = remove(store, "false")
    assert (after.snapshot, n_removed) == (1, 0)


def test_the_history_says_what_each_snapshot_changed_and_which_tags_pin_it(store: SongStore) -> None:
    store.tag("paper")
    store.tag("run-1")
    remove(store, "song_id = 'a'")
    rows = history_table(store.inside.storage, store.uuid).drop_columns(["committed_at"]).to_pylist()
    assert rows == [
        {"snapshot": 2, "songs": 2, "more": -1, "failed": 0, "change": "remove where song_id = 'a'", "tags": ""},
        {"snapshot": 1, "songs": 3, "more": 3, "failed": 0, "change": "extract", "tags": "paper, run-1"},
    ]


def test_a_damaged_snapshot_is_shown_as_such_and_hides_no_other(store: SongStore) -> None:
    remove(store, "song_id = 'a'")
    remove(store, "song_id = 'b'")
    Path(store.address, "index", f"{2:020d}.parquet").write_bytes(b"PAR1")
    events = read_events(store.inside.storage, store.uuid)
    assert [event.whole for event in events] == [True, False, True]
    assert "cut off" in history_table(store.inside.storage, store.uuid)["change"][1].as_py()
    assert songbag("history", store.address).returncode == 0


def test_a_damaged_tag_is_still_a_tag(store: SongStore) -> None:
    store.tag("paper")
    Path(store.address, "tags", "paper.json").write_text("")
    (tag,) = read_tags(store.inside.storage)
    assert (tag.name, tag.snapshot) == ("paper", None)


def test_the_commands_of_a_stores_life(store: SongStore, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("song_id,genre\na,rock\n")
    assert "1 of 3 songs matched; snapshot 2" in songbag("relabel", store.address, labels).stdout
    assert "has these values already" in songbag("relabel", store.address, labels).stdout
    removed = songbag("remove", store.address, "--where", "genre = 'rock'").stdout
    assert "1 song left the index; snapshot 3" in removed
    assert "takes them as new" in removed
    assert "1 fragment became 1: 2 songs copied" in songbag("compact", store.address).stdout
    assert "nothing to compact" in songbag("compact", store.address).stdout
    assert "0 objects, 0 bytes to delete" in songbag("gc", store.address).stdout
    assert "0 objects, 0 bytes deleted" in songbag("gc", store.address, "--yes").stdout
    listed = songbag("history", store.address).stdout
    assert [line.split()[0] for line in listed.splitlines()] == ["snapshot", "4", "3", "2", "1"]
    assert "rock" in songbag("query", store.address, "select genre from songs", "--snapshot", "2").stdout
    assert "rock" not in songbag("query", store.address, "select genre from songs").stdout


def test_labels_with_a_fault_are_wrong_usage(store: SongStore, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("song_id,genre\nzz,rock\n")
    done = songbag("relabel", store.address, labels)
    assert (done.returncode, "line 2" in done.stderr) == (2, True)
