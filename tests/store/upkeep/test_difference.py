from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import read_part
from songbag_store.commits.snapshots import Snapshot
from songbag_store.errors import StoreNotFound
from songbag_store.format.index import index_schema
from songbag_store.upkeep.change import relabel, remove
from songbag_store.upkeep.compact import compact
from songbag_store.upkeep.comparable import comparable_texts
from songbag_store.upkeep.difference import diff, diff_text
from songbag_store.writer import commit_change, commit_parts
from tests.support.command import songbag_here as songbag
from tests.support.stores import MakeStore, fail, fill, sixteenths

SHAPE = FeatureSpec().window_shape
Row = tuple[object, ...]


@pytest.fixture
def store(make_store: MakeStore, rng: np.random.Generator) -> SongStore:
    songs = {name: sixteenths(rng, 2, SHAPE) for name in "abcd"}
    return make_store(songs, {"genre": ["rock", "jazz", "rock", None], "tags": [["x"], ["x", "y"], None, []]})


def rows(changes: pa.Table) -> list[Row]:
    return [tuple(row.values()) for row in changes.to_pylist()]


def relabelled(store: SongStore, tmp_path: Path, columns: dict[str, object]) -> SongStore:
    pq.write_table(pa.table(columns), tmp_path / "labels.parquet")
    return relabel(store, tmp_path / "labels.parquet")[0]


def test_new_and_changed_labels_are_listed_by_column_with_both_values(store: SongStore, tmp_path: Path) -> None:
    columns = {"song_id": ["d", "a", "b"], "genre": ["folk", "rock", None], "tags": [["z"], ["x"], ["y", "x"]]}
    after = relabelled(store, tmp_path, {**columns, "an 'odd\" name": [1.5, None, 2.0]})
    assert rows(diff(after, 1, arrow=True)) == [
        ("relabelled", "b", "genre", "jazz", None),
        ("relabelled", "d", "genre", None, "folk"),
        ("relabelled", "b", "tags", '["x", "y"]', '["y", "x"]'),
        ("relabelled", "d", "tags", "[]", '["z"]'),
        ("relabelled", "b", "an 'odd\" name", None, "2"),
        ("relabelled", "d", "an 'odd\" name", None, "1.5"),
    ]
    assert diff_text(diff(after, 1, arrow=True), 1, 2) == (
        "From snapshot 1 to 2: 2 relabelled (genre 2, tags 2, an 'odd\" name 2)."
    )


MANY = 2**53 + 2
NOON = datetime(2026, 1, 1, 12)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (pa.array([MANY, 1]), pa.array([float(MANY), 1.0])),
        (pa.array([0.1, 1.0], pa.float32()), pa.array([0.1, 1.0], pa.float64())),
        (pa.array([Decimal("1.10"), Decimal("2.00")]), pa.array(["1.1", "2"])),
        (pa.array([NOON, None], pa.timestamp("s")), pa.array([NOON, None], pa.timestamp("ns"))),
        (pa.array([date(2026, 1, 1), None]), pa.array([datetime(2026, 1, 1), None], pa.timestamp("us"))),
        (pa.array([timedelta(seconds=1), None], pa.duration("s")), pa.array([timedelta(seconds=1), None])),
        (pa.array([[1], []]), pa.array([[1.0], []])),
        (pa.array([{"a": 1, "b": "x"}] * 2), pa.array([{"c": None, "b": "x", "a": 1}] * 2)),
    ],
)
def test_a_column_whose_type_alone_changed_is_no_change(
    store: SongStore, tmp_path: Path, before: pa.Array, after: pa.Array
) -> None:
    for values in (before, after):
        last = relabelled(store, tmp_path, {"song_id": ["a", "b"], "mark": values})
    assert (last.snapshot, diff(last, 2, arrow=True).num_rows) == (3, 0)


def test_times_in_a_zone_that_the_system_does_not_know_and_beyond_python_are_compared(
    store: SongStore, tmp_path: Path
) -> None:
    """An index of an earlier version may have the zone; by `relabel` it becomes UTC."""
    odd = pa.array([NOON, None], pa.timestamp("us", "Mars/Olympus"))
    far = pa.array([[2**60], None], pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("ms")))
    after = relabelled(store, tmp_path, {"song_id": ["a", "b"], "at": odd, "far": far})
    assert rows(diff(after, 1, arrow=True)) == [
        ("relabelled", "a", "at", None, "2026-01-01 12:00:00Z"),
        ("relabelled", "a", "far", None, '["<value out of range: 1152921504606846976>"]'),
    ]
    assert comparable_texts("at", pa.chunked_array([odd])).to_pylist() == ["2026-01-01 12:00:00Z", None]
    nested = pa.chunked_array([pa.ListArray.from_arrays(pa.array([0, 2]), odd)])
    assert comparable_texts("at", nested).to_pylist() == ['["2026-01-01 12:00:00.000000Z", null]']
    assert comparable_texts("nan", pa.chunked_array([[[float("nan")], [None]]])).to_pylist() == ["[NaN]", "[null]"]


def test_backwards_every_change_is_the_other_way_round(store: SongStore, tmp_path: Path) -> None:
    after = relabelled(store, tmp_path, {"song_id": ["a"], "genre": ["folk"], "mood": ["calm"]})
    assert rows(diff(after, 2, 1, arrow=True)) == [
        ("relabelled", "a", "genre", "folk", "rock"),
        ("relabelled", "a", "mood", "calm", None),
    ]


def test_songs_that_came_failed_and_left_are_listed_once_and_their_labels_are_no_change(
    store: SongStore, rng: np.random.Generator
) -> None:
    removed, _ = remove(store, "song_id in ('a', 'b')")
    fragments = fill(removed, {"e": sixteenths(rng, 1, SHAPE)}, {"genre": ["folk"]}), fail(removed, ["f"])
    commit_parts(
        removed, {one: read_part(removed.inside.storage, removed.uuid, removed.spec, one) for one in fragments}
    )
    after = SongStore.open(store.address)
    assert rows(diff(after, 1, arrow=True)) == [
        ("added", "e", None, None, None),
        ("failed", "f", "error_code", None, "not-audio"),
        ("removed", "a", None, None, None),
        ("removed", "b", None, None, None),
    ]
    assert diff_text(diff(after, 1, arrow=True), 1, 3) == "From snapshot 1 to 3: 1 added, 1 failed, 2 removed."


def test_features_that_only_moved_are_no_change(store: SongStore) -> None:
    removed, _ = remove(store, "song_id = 'a'")
    compacted = compact(removed)[0]
    assert compacted.snapshot == 3
    changes = diff(compacted, 2, 3, arrow=True)
    assert (changes.num_rows, diff_text(changes, 2, 3)) == (
        0,
        "Snapshots 2 and 3 have the same songs, features and labels.",
    )


def test_songs_that_were_computed_again_failed_or_recovered_are_told_apart(store: SongStore) -> None:
    """The rows are changed by hand, as the runs of an extract change them: test_extract has a real one."""

    def state(**changes: dict[str, object]) -> SongStore:
        def change(base: Snapshot) -> tuple[pa.Table, frozenset[str]]:
            songs = [row | changes.get(row["song_id"], {}) for row in base.index.to_pylist()]
            fields = [field for field in base.index.schema if field.name in ("genre", "tags")]
            return pa.Table.from_pylist(songs, schema=index_schema(fields)), base.parts

        return commit_change(SongStore.open(store.address), change, note="by hand")

    now = datetime(2026, 1, 1, tzinfo=UTC)
    ill = {"status": "failed", "error_code": "corrupt", "n_windows": 0}
    state(
        a={"run_id": "second", "extracted_at": now}, b={"extracted_at": now, "content_sha256": "c" * 64}, c=ill, d=ill
    )
    state(c={"status": "ok", "error_code": None, "n_windows": 2}, d={"error_code": "decoder-crash"})
    digest = store.songs(ids=["b"], arrow=True)["content_sha256"][0].as_py()
    assert rows(diff(store, 1, 2, arrow=True)) == [
        ("failed", "c", "error_code", None, "corrupt"),
        ("failed", "d", "error_code", None, "corrupt"),
        ("computed anew", "a", "content_sha256", None, None),
        ("computed anew", "b", "content_sha256", digest, "c" * 64),
    ]
    assert rows(diff(store, 2, 3, arrow=True)) == [
        ("recovered", "c", "error_code", "corrupt", None),
        ("failed", "d", "error_code", "corrupt", "decoder-crash"),
    ]


def test_the_command_writes_what_the_function_returns_and_refuses_a_snapshot_that_is_gone(
    store: SongStore, tmp_path: Path
) -> None:
    after = relabelled(store, tmp_path, {"song_id": ["a"], "genre": ["folk"]})
    shown = songbag("diff", store.address, "--from", "1")
    assert shown.stdout.split() == [
        "change",
        "song_id",
        "column",
        "before",
        "after",
        *["relabelled", "a", "genre", "rock", "folk"],
    ]
    assert shown.stderr == "From snapshot 1 to 2: 1 relabelled (genre 1).\n"
    songbag("diff", store.address, "--from", "1", "--to", "2", "-o", tmp_path / "changes.parquet")
    assert pq.read_table(tmp_path / "changes.parquet") == diff(after, 1, arrow=True)
    gone = songbag("diff", store.address, "--from", "7")
    assert (gone.returncode, "no snapshot 7" in gone.stderr) == (1, True)
    with pytest.raises(StoreNotFound):
        diff(store, 1, 9)
