"""The next index from the present one and finished parts, a few thousand rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.index import apply_parts, join_rows
from songbag_store.sealed import Rows
from songbag_store.snapshots import Snapshot


def merge_parts(base: Snapshot, parts: list[pa.Table]) -> Rows:
    """Return the index with the rows of several parts, as `songbag_store.index.apply_parts` does it, row by row.

    In memory are the rows of the parts and of the songs that they name; all other rows pass through.

    Parameters
    ----------
    base : Snapshot
        The present index.
    parts : list of pyarrow.Table
        Rows with the column `replaces`; at least one.

    Raises
    ------
    StoreError
        If a user's column has two types that have none in common.
    """
    present = _rows_of(
        base, pa.chunked_array([chunk for part in parts for chunk in part["song_id"].chunks], pa.string())
    )
    after = apply_parts(present, parts)
    before = present["fragment"].take(_positions(after["song_id"], present["song_id"]))
    fresh = after.filter(pc.invert(pc.fill_null(pc.equal(before, after["fragment"]), False)))
    empty = join_rows([base.schema.empty_table(), fresh.slice(0, 0)])
    return Rows(empty.schema, _pieces(base, fresh, empty))


def _rows_of(base: Snapshot, song_ids: pa.ChunkedArray) -> pa.Table:
    """Return the rows of some songs; songs are mostly new, which their ids tell without the other columns."""
    known = song_ids.combine_chunks()
    empty = base.schema.empty_table()
    if not any(pc.any(pc.is_in(piece["song_id"], value_set=known)).as_py() for piece in base.pieces(["song_id"])):
        return empty
    hit = (piece.filter(pc.is_in(piece["song_id"], value_set=known)) for piece in base.pieces())
    return pa.concat_tables([empty, *hit])


def _positions(song_ids: pa.ChunkedArray, among: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.index_in(song_ids, value_set=among.combine_chunks())


def _pieces(base: Snapshot, fresh: pa.Table, empty: pa.Table) -> Iterator[pa.Table]:
    """Yield the rows that stay, then the new ones."""
    replaced = fresh["song_id"].combine_chunks()
    for piece in base.pieces():
        stays = pc.invert(pc.is_in(piece["song_id"], value_set=replaced))
        yield join_rows([empty, piece if pc.all(stays).as_py() else piece.filter(stays)])
    yield join_rows([empty, fresh])
