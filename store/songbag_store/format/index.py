"""The index: its columns, and the join of the rows of several runs."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.errors import StoreError, UsageError

_UTC = pa.timestamp("us", tz="UTC")

CONTENT = "content_sha256"
"""Column of the digest of the recording: equal for byte-identical files."""

SOUND_FIELDS: tuple[pa.Field, ...] = (
    pa.field("sample_peak", pa.float32()),
    pa.field("clipped_share", pa.float32()),
    pa.field("silent_share", pa.float32()),
    pa.field("cancelled_share", pa.float32()),
    pa.field("side_share", pa.float32()),
    pa.field("highest_hz", pa.float32()),
)
"""What a song sounds like, measured before the mix to mono; null for a failed song."""

START, END = "start_s", "end_s"
"""Columns of the bounds of a part of a recording, in seconds; null where it begins or ends with the file."""

SEGMENTS = "segments"
"""Column of the user's with the labels of stretches of a song; it comes by `relabel`."""

SEGMENTS_TYPE = pa.list_(pa.struct([(START, pa.float64()), (END, pa.float64()), ("label", pa.string())]))

ADDED_FIELDS: tuple[pa.Field, ...] = (
    *SOUND_FIELDS,
    pa.field("audio_note", pa.string()),
    pa.field(START, pa.float64()),
    pa.field(END, pa.float64()),
)
"""Columns that files of earlier versions lack; they are read as null. New ones go to the end."""

OWN_FIELDS: tuple[pa.Field, ...] = (
    pa.field("song_id", pa.string(), nullable=False),
    pa.field("path", pa.string()),
    pa.field("status", pa.string(), nullable=False),
    pa.field("error_code", pa.string()),
    pa.field("error", pa.string()),
    pa.field("duration_s", pa.float64()),
    pa.field("declared_duration_s", pa.float64()),
    pa.field("source_sample_rate_hz", pa.int32()),
    pa.field("channels", pa.int32()),
    pa.field("source_format", pa.string()),
    pa.field("truncated", pa.bool_()),
    pa.field("padded", pa.bool_()),
    *ADDED_FIELDS,
    pa.field(CONTENT, pa.string()),
    pa.field("file_bytes", pa.int64()),
    pa.field("modified_at", _UTC),
    pa.field("fragment", pa.string(), nullable=False),
    pa.field("row_start", pa.int64()),
    pa.field("n_windows", pa.int32(), nullable=False),
    pa.field("feature_sum", pa.list_(pa.float64())),
    pa.field("feature_sumsq", pa.list_(pa.float64())),
    pa.field("run_id", pa.string(), nullable=False),
    pa.field("extracted_at", _UTC),
)
"""The columns that songbag fills; the user's own are between `path` and `status`."""

OWN_COLUMNS = frozenset(field.name for field in OWN_FIELDS)

PLACE_COLUMNS = ("song_id", "fragment", "row_start", "n_windows")
"""The columns with the place of a song's windows."""

REPLACES = "replaces"
"""Column of parts only: the fragment whose row of this song the new row replaces; null for a new song."""


def index_schema(user_fields: Iterable[pa.Field]) -> pa.Schema:
    """Return the schema of an index with these columns of the user.

    Raises
    ------
    UsageError
        If a column has the name of one of songbag's columns.
    """
    fields = list(user_fields)
    # SQL ignores case: it would confuse `Status` with `status`.
    own = {name.casefold() for name in OWN_COLUMNS | {REPLACES}}
    seen: set[str] = set()
    for name in (field.name for field in fields):
        if name.casefold() in own:
            what = f"the column {name!r} has the name of a column that songbag fills itself"
            raise UsageError(what, place="index", remedy="Rename it in the manifest.")
        if name.casefold() in seen:
            what = f"there are two columns {name!r}, or two that differ only in capitals"
            raise UsageError(what, place="index", remedy="Rename one of them in the manifest.")
        seen.add(name.casefold())
    return pa.schema([*OWN_FIELDS[:2], *fields, *OWN_FIELDS[2:]])


def completed(schema: pa.Schema) -> pa.Schema:
    """Return the schema of an index or a part with the columns that its version did not have yet."""
    absent = [field for field in ADDED_FIELDS if field.name not in schema.names]
    if not absent or CONTENT not in schema.names:
        return schema
    fields, place = list(schema), schema.names.index(CONTENT)
    return pa.schema([*fields[:place], *absent, *fields[place:]])


def user_fields(schema: pa.Schema) -> list[pa.Field]:
    """Return the columns of a schema that are the user's own."""
    return [field for field in schema if field.name not in OWN_COLUMNS and field.name != REPLACES]


def are_parts(songs: pa.Table) -> pa.ChunkedArray:
    """Return which rows of an index are parts of files; without bounds, all songs are whole files."""
    if START not in songs.column_names:
        return pa.chunked_array([pa.repeat(False, songs.num_rows)])
    return pc.or_(pc.is_valid(songs[START]), pc.is_valid(songs[END]))


def recordings(songs: pa.Table) -> pa.ChunkedArray:
    """Return a text for each song that is equal for the same bytes: its digest, with its bounds if it is a part.

    Parameters
    ----------
    songs : pyarrow.Table
        Rows of the index with `content_sha256`; without bounds, all songs are whole files.
    """
    is_part = are_parts(songs)
    if not pc.any(is_part, min_count=0).as_py():
        return songs[CONTENT]
    bounds = [pc.fill_null(songs[name], default).cast(pa.string()) for name, default in ((START, 0.0), (END, -1.0))]
    contents = songs[CONTENT].cast(pa.string())
    return pc.if_else(is_part, pc.binary_join_element_wise(contents, *bounds, "#"), contents)


def empty_index() -> pa.Table:
    """Return an index without songs."""
    return index_schema([]).empty_table()


def apply_parts(index: pa.Table, parts: list[pa.Table]) -> pa.Table:
    """Return the index with the rows of several parts, see `apply_part`."""
    if not parts:
        return index
    if all(part.column_names == parts[0].column_names for part in parts):
        joined = pa.concat_tables(parts, promote_options="permissive")
        if pc.count_distinct(joined["song_id"]).as_py() == joined.num_rows:
            return apply_part(index, joined)
    for part in parts:
        index = apply_part(index, part)
    return index


def apply_part(index: pa.Table, part: pa.Table) -> pa.Table:
    """Return the index with the rows of one part, each by compare-and-swap.

    A row is taken only if the song's present row is the one that its job was to replace: no row for a new song, or the
    row of the fragment in `replaces`. So a job that finishes late, or twice, changes nothing. A user's column that the
    part lacks, because it came with `relabel`, keeps its value.

    Parameters
    ----------
    index : pyarrow.Table
        The present index.
    part : pyarrow.Table
        Rows with the column `replaces`.

    Raises
    ------
    StoreError
        If a user's column has two types without a common one.
    """
    fresh = fresh_rows(index, part)
    replaced = pc.is_in(index["song_id"], value_set=fresh["song_id"].combine_chunks())
    return join_rows([keep_rows(index, pc.invert(replaced)), fresh])


def fresh_rows(index: pa.Table, part: pa.Table) -> pa.Table:
    """Return the rows of a part that `apply_part` takes, with all user's columns of the index."""
    position = pc.index_in(part["song_id"], value_set=index["song_id"].combine_chunks())
    present = index["fragment"].take(position)
    new = pc.and_(pc.is_null(present), pc.is_null(part[REPLACES]))
    swap = pc.fill_null(pc.equal(present, part[REPLACES]), False)
    for field in user_fields(index.schema):
        if field.name not in part.column_names:
            part = part.append_column(field, index[field.name].take(position))
    return keep_rows(part, pc.or_(new, swap)).drop_columns([REPLACES])


def keep_rows(table: pa.Table, keep: pa.ChunkedArray) -> pa.Table:
    """Return some rows of a table."""
    # No copy of all rows: that of a large index would double its memory.
    return table if pc.all(keep, min_count=0).as_py() else table.filter(keep)


def other_columns(songs: pa.Table, index: pa.Table, position: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return which songs have other values in their user columns than in an index.

    Parameters
    ----------
    songs : pyarrow.Table
        Songs with columns of the user's.
    index : pyarrow.Table
        The index; a column that it lacks is empty.
    position : pyarrow.ChunkedArray
        The row of each song in the index; null for a song that it does not have, which differs in nothing.
    """
    differs = pa.repeat(False, songs.num_rows)
    for field in user_fields(songs.schema):
        # Values are compared as text, because types may differ; lists have no text.
        if pa.types.is_nested(field.type):
            continue
        held = index[field.name].take(position) if field.name in index.column_names else pa.nulls(songs.num_rows)
        given, held = (pc.fill_null(column.cast(pa.string()), "") for column in (songs[field.name], held))
        differs = pc.or_(differs, pc.and_(pc.is_valid(position), pc.not_equal(given, held)))
    return differs


def is_ascending(song_ids: pa.Array) -> bool:
    """Return whether song ids are sorted, without a repeat."""
    return bool(pc.all(pc.less(song_ids[:-1], song_ids[1:]), min_count=0).as_py())


def join_rows(tables: list[pa.Table]) -> pa.Table:
    """Concatenate tables of rows, with the user's columns of all of them."""
    try:
        joined = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        what = f"a column of the new songs has another type than in the store ({str(error).splitlines()[0]})"
        remedy = "Give the column one type: correct the manifest, or rename the column."
        raise StoreError(what, place="index", remedy=remedy) from error
    schema = index_schema(user_fields(joined.schema))
    return joined.select(schema.names).cast(schema)
