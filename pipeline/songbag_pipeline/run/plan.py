"""The plan of a run: which songs of a source the store lacks or holds with other content."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_pipeline.audio.files import file_sha256
from songbag_pipeline.errors import SongError
from songbag_pipeline.sources.bucket import local_copy
from songbag_pipeline.sources.listing import Source
from songbag_store import SongStore
from songbag_store.format.check import repeated
from songbag_store.format.index import REPLACES, keep_rows, user_fields

COLUMNS = ("song_id", "status", "file_bytes", "modified_at", "fragment", "content_sha256")
"""Columns of the index that a plan needs."""


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The work of one run.

    Attributes
    ----------
    todo : pyarrow.Table
        Songs to compute: the source's columns and ``replaces``, the fragment whose row of the song is to go.
    again : pyarrow.ChunkedArray
        For each row of `todo`, whether it is a song that failed before and has not changed since.
    n_known : int
        Songs whose features the store has.
    n_failed_before : int
        Songs that failed before, have not changed since, and are not tried again.
    changed : tuple of str
        Songs whose content differs from that of the stored features; they are part of `todo`.
    n_other_columns : int
        Songs of the store whose user columns differ from those of the source; they are left as they are.
    """

    todo: pa.Table
    again: pa.ChunkedArray
    n_known: int
    n_failed_before: int
    changed: tuple[str, ...]
    n_other_columns: int = 0

    @classmethod
    def of(cls, source: Source, index: pa.Table, *, retry_failed: bool = False) -> Plan:
        """Compare a source with an index: by song id, then size and time of the file, then content where those differ.

        Parameters
        ----------
        source : Source
            The songs.
        index : pyarrow.Table
            The newest index of the store: `COLUMNS` and the user columns that the source has too.
        retry_failed : bool
            Try songs again that failed before, even if their files have not changed.
        """
        songs = source.songs
        position = pc.index_in(songs["song_id"], value_set=index["song_id"].combine_chunks())
        present = {name: index[name].take(position) for name in ("status", "file_bytes", "modified_at", "fragment")}
        ok, failed = _equal(present["status"], "ok"), _equal(present["status"], "failed")
        same_file = pc.and_(*(_equal(songs[name], present[name]) for name in ("file_bytes", "modified_at")))
        # A file that was missing and still is has not changed.
        same_file = pc.or_(same_file, pc.and_(pc.is_null(songs["file_bytes"]), pc.is_null(present["file_bytes"])))
        retried = failed if retry_failed else pc.and_not(failed, same_file)
        changed = _changed_content(source, index, position, pc.and_not(ok, same_file))
        todo = pc.or_(pc.or_(pc.is_null(position), retried), changed)
        return cls(
            todo=keep_rows(songs.append_column(REPLACES, present["fragment"]), todo),
            again=pc.and_(failed, same_file).filter(todo),
            n_known=_count(pc.and_not(ok, changed)),
            n_failed_before=_count(pc.and_not(failed, retried)),
            changed=tuple(songs["song_id"].filter(changed).to_pylist()),
            n_other_columns=_count(pc.and_not(_other_columns(songs, index, position), todo)),
        )


def _equal(left: pa.ChunkedArray, right: pa.ChunkedArray | str) -> pa.ChunkedArray:
    """Compare values; null equals nothing."""
    return pc.fill_null(pc.equal(left, right), False)


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _other_columns(songs: pa.Table, index: pa.Table, position: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return which songs of the store have other values in the user columns than the source."""
    differs = pa.repeat(False, songs.num_rows)
    for field in user_fields(songs.schema):
        # Values are compared as text, because types may differ; lists have no text.
        if pa.types.is_nested(field.type):
            continue
        held = index[field.name].take(position) if field.name in index.column_names else pa.nulls(songs.num_rows)
        given, held = (pc.fill_null(column.cast(pa.string()), "") for column in (songs[field.name], held))
        differs = pc.or_(differs, pc.and_(pc.is_valid(position), pc.not_equal(given, held)))
    return differs


def _changed_content(source: Source, index: pa.Table, position: pa.ChunkedArray, suspects: pa.ChunkedArray) -> pa.Array:
    """Return which suspects have other content than the stored features."""
    changed = np.zeros(source.songs.num_rows, bool)
    for row in pc.indices_nonzero(suspects).to_pylist():
        try:
            with local_copy(source.songs["path"][row].as_py(), source.location.storage_options) as copy:
                changed[row] = file_sha256(copy) != index["content_sha256"][position[row].as_py()].as_py()
        except SongError:
            continue  # a file that cannot be read now keeps its features
    return pa.array(changed)


def count_duplicates(store: SongStore) -> int:
    """Count the songs with features that are another one byte for byte, without the first of each group."""
    ok = pc.field("status") == "ok"
    columns = ["status", "content_sha256"]
    twice = repeated(lambda: (rows.filter(ok)["content_sha256"] for rows in store.inside.state.content.pieces(columns)))
    return twice.total() - len(twice)
