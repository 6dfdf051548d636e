"""The next index, made of the present one and finished parts, a few thousand rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.commits.snapshots import Snapshot
from songbag_store.format.check import repeated
from songbag_store.format.index import REPLACES, apply_parts, fresh_rows, join_rows, keep_rows
from songbag_store.format.sealed import Rows

Tables = Callable[[], Iterable[pa.Table]]
"""Returns an iterator over tables; it is called more than once."""


def merge_parts(base: Snapshot, parts: Tables) -> Rows:
    """Return the index with the rows of several parts, as `songbag_store.format.index.apply_parts` makes it.

    Only the rows of one part, all their ids, and the rows that they replace are in memory at a time. If two parts have
    a song in common, the rows of all parts are.

    Parameters
    ----------
    base : Snapshot
        The present index.
    parts : callable
        Returns the rows of at least one part, part by part, with the column `replaces`.

    Raises
    ------
    StoreError
        If a user's column has two types without a common one.
    """
    columns: set[pa.Schema] = set()
    ids: list[pa.Array] = []
    for part in parts():
        columns.add(part.schema.remove_metadata())
        ids += part["song_id"].chunks
    song_ids = pa.chunked_array(ids, pa.string())
    empty = join_rows([base.content.schema.empty_table(), *(c.empty_table().drop_columns([REPLACES]) for c in columns)])
    present = _rows_of(base, song_ids)
    together = [_fresh_in_turn(present, parts)] if repeated(song_ids.iterchunks) else None

    def fresh() -> Iterable[pa.Table]:
        return together or (fresh_rows(present, part) for part in parts())

    return Rows(empty.schema, _pieces(base, fresh, present, empty))


def _rows_of(base: Snapshot, song_ids: pa.ChunkedArray) -> pa.Table:
    """Return the rows of some songs."""
    known = song_ids.combine_chunks()
    empty = base.content.schema.empty_table()
    # Mostly all songs are new; then only the column of ids is decoded.
    if not any(
        pc.any(pc.is_in(piece["song_id"], value_set=known)).as_py() for piece in base.content.pieces(["song_id"])
    ):
        return empty
    hit = (piece.filter(pc.is_in(piece["song_id"], value_set=known)) for piece in base.content.pieces())
    return pa.concat_tables([empty, *hit])


def _fresh_in_turn(present: pa.Table, parts: Tables) -> pa.Table:
    """Return the new rows after every part was applied on top of the one before it."""
    after = apply_parts(present, list(parts()))
    position = pc.index_in(after["song_id"], value_set=present["song_id"].combine_chunks())
    before = present["fragment"].take(position)
    return keep_rows(after, pc.invert(pc.fill_null(pc.equal(before, after["fragment"]), False)))


def _pieces(base: Snapshot, fresh: Tables, present: pa.Table, empty: pa.Table) -> Iterator[pa.Table]:
    """Yield the rows that stay, then the new ones."""
    ids = [rows["song_id"] for rows in fresh()] if present.num_rows else []
    replaced = pa.chunked_array([chunk for one in ids for chunk in one.chunks], pa.string()).combine_chunks()
    for piece in base.content.pieces():
        stays = pc.invert(pc.is_in(piece["song_id"], value_set=replaced))
        yield join_rows([empty, keep_rows(piece, stays)])
    for rows in fresh():
        yield join_rows([empty, rows])
