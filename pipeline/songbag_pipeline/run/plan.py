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
from songbag_store.format.index import CONTENT, END, REPLACES, START, keep_rows, other_columns, recordings, user_fields
from songbag_store.format.sealed import Sealed


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
    def of(cls, source: Source, index: Sealed, *, retry_failed: bool = False) -> Plan:
        """Compare a source with an index: by song id and bounds, then size and time of the file, then content.

        Memory holds the songs of the source, one column of the index at a time, and 30 bytes a song beside them.

        Parameters
        ----------
        source : Source
            The songs.
        index : Sealed
            The newest index of the store.
        retry_failed : bool
            Try songs again that failed before, even if their files have not changed.
        """
        songs = source.songs
        held = _Held(index, _positions(songs["song_id"], index.read(["song_id"])["song_id"]))
        position = held.position
        status = held["status"]
        ok, failed = _equal(status, "ok"), _equal(status, "failed")
        same_file, moved = _same_file(songs, held), pc.and_(pc.is_valid(position), _other_bounds(songs, held))
        same_file = pc.and_not(same_file, moved)
        retried = failed if retry_failed else pc.and_not(failed, same_file)
        suspects = pc.and_not(ok, pc.or_(same_file, moved))
        changed = pc.or_(pc.and_(ok, moved), _changed_content(source, held, suspects))
        todo = pc.or_(pc.or_(pc.is_null(position), retried), changed)
        return cls(
            todo=_todo(songs, held, todo),
            again=pc.and_(failed, same_file).filter(todo),
            n_known=_count(pc.and_not(ok, changed)),
            n_failed_before=_count(pc.and_not(failed, retried)),
            changed=tuple(songs["song_id"].filter(changed).to_pylist()),
            n_other_columns=_count(pc.and_not(_other_columns(songs, held), todo)),
        )


def _equal(left: pa.ChunkedArray, right: pa.ChunkedArray | str) -> pa.ChunkedArray:
    """Compare values; null equals nothing."""
    return pc.fill_null(pc.equal(left, right), False)


class _Held:
    """What the index has of each song of a source; null of one that is new. A column is decoded when it is asked for.

    Parameters
    ----------
    index : Sealed
    position : pyarrow.Array
        The row of each song in the index, or null.
    """

    def __init__(self, index: Sealed, position: pa.Array) -> None:
        self.index, self.position = index, position

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        return self.index.read([name])[name].take(self.position)


def _positions(song_ids: pa.ChunkedArray, known: pa.ChunkedArray) -> pa.Array:
    """Return the row of each song among those that are known, or null."""
    found = pc.index_in(song_ids, value_set=known.combine_chunks())
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _same_file(songs: pa.Table, held: _Held) -> pa.ChunkedArray:
    """Return whose file has the size and the time that it had."""
    sizes = held["file_bytes"]
    same = pc.and_(_equal(songs["file_bytes"], sizes), _equal(songs["modified_at"], held["modified_at"]))
    # A file that was missing and still is has not changed.
    return pc.or_(same, pc.and_(pc.is_null(songs["file_bytes"]), pc.is_null(sizes)))


def _todo(songs: pa.Table, held: _Held, todo: pa.ChunkedArray) -> pa.Table:
    """Return the songs to compute, with the fragments that they replace."""
    if not pc.any(todo, min_count=0).as_py():
        return songs.slice(0, 0).append_column(REPLACES, pa.nulls(0, pa.string()))
    chosen = keep_rows(songs, todo)
    return chosen.append_column(REPLACES, _Held(held.index, held.position.filter(todo.combine_chunks()))["fragment"])


def _other_bounds(songs: pa.Table, held: _Held) -> pa.ChunkedArray:
    """Return which songs of the store are another part of their file there."""
    differs = pa.repeat(False, songs.num_rows)
    for name, default in ((START, 0.0), (END, -1.0)):
        given, before = (pc.fill_null(column, default) for column in (songs[name], held[name]))
        differs = pc.or_(differs, pc.not_equal(given, before))
    return differs


def _other_columns(songs: pa.Table, held: _Held) -> pa.ChunkedArray:
    """Return which songs have other values in their user columns than in the store."""
    differs = pa.repeat(False, songs.num_rows)
    for name in (field.name for field in user_fields(songs.schema)):
        of_index = held.index.read([name]) if name in held.index.schema.names else pa.table({})
        differs = pc.or_(differs, other_columns(songs.select([name]), of_index, held.position))
    return differs


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _changed_content(source: Source, held: _Held, suspects: pa.ChunkedArray) -> pa.Array:
    """Return which suspects have other content than the stored features."""
    changed = np.zeros(source.songs.num_rows, bool)
    rows = pc.indices_nonzero(suspects)
    if not len(rows):
        return pa.array(changed)
    contents = _Held(held.index, held.position.take(rows))[CONTENT].to_pylist()
    hashed, digest = "", None
    for row, content in zip(rows.to_pylist(), contents, strict=True):
        # Parts of a recording mostly follow each other.
        if (path := source.songs["path"][row].as_py()) != hashed:
            hashed, digest = path, _digest(path, source)
        # A file that cannot be read now keeps its features.
        changed[row] = digest is not None and digest != content
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
