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
from songbag_store.format.index import CONTENT, END, REPLACES, START, keep_rows, other_columns, recordings

COLUMNS = ("song_id", "status", "file_bytes", "modified_at", "fragment", CONTENT, START, END)
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
        Songs whose content differs from that of the stored features, or that are another part of their file now; they
        are in `todo`.
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
        """Compare a source with an index: by song id and bounds, then size and time of the file, then content.

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
        moved = pc.and_(pc.is_valid(position), _other_bounds(songs, index, position))
        same_file = pc.and_not(same_file, moved)
        retried = failed if retry_failed else pc.and_not(failed, same_file)
        suspects = pc.and_not(ok, pc.or_(same_file, moved))
        changed = pc.or_(pc.and_(ok, moved), _changed_content(source, index, position, suspects))
        todo = pc.or_(pc.or_(pc.is_null(position), retried), changed)
        return cls(
            todo=keep_rows(songs.append_column(REPLACES, present["fragment"]), todo),
            again=pc.and_(failed, same_file).filter(todo),
            n_known=_count(pc.and_not(ok, changed)),
            n_failed_before=_count(pc.and_not(failed, retried)),
            changed=tuple(songs["song_id"].filter(changed).to_pylist()),
            n_other_columns=_count(pc.and_not(other_columns(songs, index, position), todo)),
        )


def _equal(left: pa.ChunkedArray, right: pa.ChunkedArray | str) -> pa.ChunkedArray:
    """Compare values; null equals nothing."""
    return pc.fill_null(pc.equal(left, right), False)


def _other_bounds(songs: pa.Table, index: pa.Table, position: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return which songs of the store are another part of their file there."""
    differs = pa.repeat(False, songs.num_rows)
    for name, default in ((START, 0.0), (END, -1.0)):
        given, held = (pc.fill_null(column, default) for column in (songs[name], index[name].take(position)))
        differs = pc.or_(differs, pc.not_equal(given, held))
    return differs


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _changed_content(source: Source, index: pa.Table, position: pa.ChunkedArray, suspects: pa.ChunkedArray) -> pa.Array:
    """Return which suspects have other content than the stored features."""
    changed = np.zeros(source.songs.num_rows, bool)
    hashed, digest = "", None
    for row in pc.indices_nonzero(suspects).to_pylist():
        # Parts of a recording mostly follow each other.
        if (path := source.songs["path"][row].as_py()) != hashed:
            hashed, digest = path, _digest(path, source)
        # A file that cannot be read now keeps its features.
        changed[row] = digest is not None and digest != index[CONTENT][position[row].as_py()].as_py()
    return pa.array(changed)


def _digest(path: str, source: Source) -> str | None:
    """Return the digest of a file; None if it cannot be read."""
    try:
        with local_copy(path, source.location.storage_options) as copy:
            return file_sha256(copy)
    except SongError:
        return None


def count_duplicates(store: SongStore) -> int:
    """Count the songs with features that are another one byte for byte, without the first of each group."""
    ok = pc.field("status") == "ok"
    columns = ["status", CONTENT, START, END]
    twice = repeated(lambda: (recordings(rows.filter(ok)) for rows in store.inside.state.content.pieces(columns)))
    return twice.total() - len(twice)
