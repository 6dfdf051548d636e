"""What is left to do: the songs of a source that the store does not have, or has otherwise."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_pipeline.audio.files import file_sha256
from songbag_pipeline.errors import SongError
from songbag_pipeline.sources.bucket import local_copy
from songbag_store import SongStore
from songbag_store.format.index import REPLACES, keep_rows, user_fields
from songbag_store.format.repeats import repeated

COLUMNS = ("song_id", "status", "file_bytes", "modified_at", "fragment", "content_sha256")
"""What a plan takes from the index."""


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The work of one run.

    Attributes
    ----------
    todo : pyarrow.Table
        Songs to compute: the source's columns and ``replaces``, the fragment whose row of the song is to go.
    n_known : int
        Songs whose features the store has.
    n_failed_before : int
        Songs that failed before, unchanged since, and are not tried again.
    changed : tuple of str
        Songs whose content is another than that of the stored features.
    n_other_columns : int
        Songs of the store whose own columns differ from what the source gives; they are left as they are.
    """

    todo: pa.Table
    n_known: int
    n_failed_before: int
    changed: tuple[str, ...]
    n_other_columns: int = 0


def plan(
    songs: pa.Table, index: pa.Table, *, retry_failed: bool = False, storage_options: Mapping[str, str] | None = None
) -> Plan:
    """Compare a source with an index: by song id, then size and time of the file, then content where those differ.

    A song that failed is tried again when its file changed, or with `retry_failed`. Changed songs are part of `todo`:
    whether they may be computed anew is for the caller to decide.

    Parameters
    ----------
    songs : pyarrow.Table
        As in `songbag_pipeline.sources.listing.Source`.
    index : pyarrow.Table
        The newest index of the store, at least `COLUMNS` and those of the user's that the source gives.
    storage_options : mapping of str to str, optional
        How to reach songs that lie in an object store.
    """
    position = pc.index_in(songs["song_id"], value_set=index["song_id"].combine_chunks())
    present = {name: index[name].take(position) for name in ("status", "file_bytes", "modified_at", "fragment")}
    new = pc.is_null(position)
    ok = pc.fill_null(pc.equal(present["status"], "ok"), False)
    failed = pc.fill_null(pc.equal(present["status"], "failed"), False)
    same_file = pc.and_(
        pc.fill_null(pc.equal(songs["file_bytes"], present["file_bytes"]), False),
        pc.fill_null(pc.equal(songs["modified_at"], present["modified_at"]), False),
    )
    # A file that is missing now and was missing then is no news either.
    same_file = pc.or_(same_file, pc.and_(pc.is_null(songs["file_bytes"]), pc.is_null(present["file_bytes"])))
    again = failed if retry_failed else pc.and_not(failed, same_file)
    changed = _changed_content(songs, index, position, pc.and_not(ok, same_file), storage_options or {})
    todo = pc.or_(pc.or_(new, again), changed)
    return Plan(
        todo=keep_rows(songs.append_column(REPLACES, present["fragment"]), todo),
        n_known=_count(pc.and_not(ok, changed)),
        n_failed_before=_count(pc.and_not(failed, again)),
        changed=tuple(songs["song_id"].filter(changed).to_pylist()),
        n_other_columns=_count(pc.and_not(_other_columns(songs, index, position), todo)),
    )


def _other_columns(songs: pa.Table, index: pa.Table, position: pa.ChunkedArray) -> pa.ChunkedArray:
    """Tell which songs of the store have other values in the user's columns than the source.

    Columns are compared as text, so that any two types can be; lists have none and are passed over.
    """
    differs = pa.repeat(False, songs.num_rows)
    for field in user_fields(songs.schema):
        if pa.types.is_nested(field.type):
            continue
        held = index[field.name].take(position) if field.name in index.column_names else pa.nulls(songs.num_rows)
        given, held = (pc.fill_null(column.cast(pa.string()), "") for column in (songs[field.name], held))
        differs = pc.or_(differs, pc.and_(pc.is_valid(position), pc.not_equal(given, held)))
    return differs


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _changed_content(
    songs: pa.Table,
    index: pa.Table,
    position: pa.ChunkedArray,
    suspects: pa.ChunkedArray,
    options: Mapping[str, str],
) -> pa.Array:
    """Tell which suspects have another content; a file that cannot be read now keeps the features it has."""
    changed = np.zeros(songs.num_rows, bool)
    for row in pc.indices_nonzero(suspects).to_pylist():
        try:
            with local_copy(songs["path"][row].as_py(), options) as copy:
                changed[row] = file_sha256(copy) != index["content_sha256"][position[row].as_py()].as_py()
        except SongError:
            continue
    return pa.array(changed)


def count_duplicates(store: SongStore) -> int:
    """Return how many songs with features are another one byte for byte, each group but its first counted."""
    ok = pc.field("status") == "ok"
    columns = ["status", "content_sha256"]
    twice = repeated(lambda: (rows.filter(ok)["content_sha256"] for rows in store.inside.state.pieces(columns)))
    return twice.total() - len(twice)
