from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from songbag_store import FeatureSpec
from songbag_store.commits.merge import merge_parts
from songbag_store.commits.snapshots import Snapshot
from songbag_store.errors import StoreError
from songbag_store.format.index import apply_parts, empty_index
from songbag_store.format.sealed import Rows, Sealed, seal
from songbag_store.writer import commit_parts, open_for_writing
from tests.support.stores import part

SONGS = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from([None, "f0", "f1", "f2"]), min_size=1)


def merged(base: pa.Table, parts: list[pa.Table], group_rows: int = 8192) -> pa.Table:
    """Merge into a snapshot that has been written, a few rows at a time."""
    content = Sealed(seal(base, {}, group_rows=group_rows), key="k", place="w", group_rows=group_rows)
    rows = merge_parts(Snapshot(1, content, frozenset()), lambda: parts)
    return Sealed(seal(rows, {}, group_rows=group_rows), key="k", place="w").read()


@given(
    st.lists(SONGS, min_size=1, max_size=3), st.lists(SONGS, min_size=1, max_size=4), st.sampled_from([1, 2, 4, 16, 24])
)
def test_rows_that_pass_through_give_the_index_that_tables_give(
    before: list[dict[str, str | None]], then: list[dict[str, str | None]], group_rows: int
) -> None:
    base = apply_parts(empty_index(), [part(f"f{i}", songs) for i, songs in enumerate(before)])
    parts = [part(f"g{i}", songs, **({"label": ["x"] * len(songs)} if i else {})) for i, songs in enumerate(then)]
    assert merged(base, parts, group_rows).sort_by("song_id").equals(apply_parts(base, parts).sort_by("song_id"))


def test_songs_that_stay_keep_their_order() -> None:
    base = apply_parts(empty_index(), [part("f", dict.fromkeys("cabd"))])
    assert merged(base, [part("g", {"a": "f", "e": None, "b": "other"})])["song_id"].to_pylist() == list("cbdae")


def test_a_column_of_two_types_is_refused_before_anything_is_written() -> None:
    base = apply_parts(empty_index(), [part("f", {"a": None}, year=["1999"])])
    with pytest.raises(StoreError, match="year"):
        merged(base, [part("g", {"b": None}, year=[1999])])


def test_parts_are_drawn_one_at_a_time() -> None:
    base = apply_parts(empty_index(), [part("f", {"a": None, "b": None})])
    drawn: list[str] = []

    def parts() -> Iterator[pa.Table]:
        for name in "gh":
            drawn.append(name)
            yield part(name, {name: None})

    pieces = iter(merge_parts(Snapshot(1, Sealed(seal(base, {}), key="k", place="w"), frozenset()), parts).pieces)
    drawn.clear()
    assert [next(pieces)["song_id"].to_pylist() for _ in range(2)] == [["a", "b"], ["g"]]
    assert drawn == ["g"]


def test_row_groups_are_of_one_size_however_the_rows_come() -> None:
    table = pa.table({"song_id": [str(i) for i in range(23)]})
    pieces = [table.slice(0, 1), table.slice(1, 9), table.slice(10, 0), table.slice(10)]
    data = seal(Rows(table.schema, pieces), {}, group_rows=4)
    footer = pq.read_metadata(pa.BufferReader(data))
    assert [footer.row_group(group).num_rows for group in range(footer.num_row_groups)] == [4, 4, 4, 4, 4, 3]
    found = Sealed(data, key="k", place="w", group_rows=8)
    assert found.read().equals(table)
    assert [piece.num_rows for piece in found.pieces(["song_id"])] == [8, 8, 7]
    assert [piece.num_rows for piece in found.pieces()] == 23 * [1]


def test_a_commit_takes_no_memory_for_the_rows_that_it_passes_on(tmp_path: Path) -> None:
    store = open_for_writing(tmp_path / "store", FeatureSpec(window_s=0.5, n_mels=40))
    pool, peaks = pa.default_memory_pool(), []
    for round_ in range(6):
        ids = dict.fromkeys(f"{round_}/{i:06}" for i in range(20_000))
        rows = part(f"f{round_}", ids, text=[f"{i:0500}" for i in range(20_000)])
        rows = rows.set_column(
            rows.schema.get_field_index("row_start"), "row_start", pa.array(range(20_000), pa.int64())
        )
        before = pool.bytes_allocated()
        watched = pa.proxy_memory_pool(pool)
        pa.set_memory_pool(watched)
        try:
            commit_parts(store, {f"f{round_}": rows})
        finally:
            pa.set_memory_pool(pool)
        peaks.append(watched.max_memory())
        assert pool.bytes_allocated() - before < 1 << 20
    assert store.at().inside.state.content.n_rows == 120_000
    # A row is 0.7 KB here. Of the rows passed on two row groups are in memory, whatever their number.
    assert peaks[-1] - peaks[1] < 80_000 * 20, peaks
