"""`relabel` and `remove`: changes of the index, which leave all features as they are."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.commits.snapshots import Snapshot
from songbag_store.errors import UsageError
from songbag_store.format.index import OWN_COLUMNS, REPLACES, SEGMENTS, are_parts, index_schema, user_fields
from songbag_store.progress import Progress, shown_on
from songbag_store.sql.bounds import Bounds, part_ids
from songbag_store.sql.likely_bounds import refuse_likely
from songbag_store.sql.manifest import Manifest
from songbag_store.storage.location import absolute_path, place_text, plain_address
from songbag_store.store import SongStore, StoreLike
from songbag_store.upkeep.segments import beyond_text, read_segments
from songbag_store.words import counted
from songbag_store.writer import commit_change

REASONS = tuple(f"review_{name}" for name in ("given", "likely", "p_given", "p_likely", "margin", "fold"))
"""Columns in which `songbag review` says why it names a song: they are for a person, and join no store."""


def read_labels(path: Path, texts: Collection[str] = ()) -> Manifest:
    """Read a table of labels: `song_id`, or `path` in its place, and at least one column of the user's.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    texts : collection of str
        Columns that are read as text from a CSV of `songbag review`, even if all values look like numbers or dates.

    Raises
    ------
    UsageError
        If it cannot be used; the message names the line or the column.
    """
    labels = Manifest.load(path)
    if not {*REASONS}.isdisjoint(labels.table.column_names):
        labels = Manifest.load(path, texts)
    names = labels.table.column_names
    key = next((name for name in ("song_id", "path") if name in names), None)
    if key is None:
        raise labels.fault(f"there is no column 'song_id' or 'path' (there are: {', '.join(names) or 'none'})")
    bounds = Bounds.of(labels)
    told = {"song_id", "path", *bounds.columns, *REASONS}
    if own := sorted(set(names) & (OWN_COLUMNS | {REPLACES}) - told):
        raise labels.fault(f"the column {own[0]!r} is one that songbag fills itself")
    if not set(names) - told:
        raise labels.fault(f"there is no column beside {key!r}")
    if key == "path":
        refuse_likely(labels, bounds.columns)
    keys = labels.texts(key) if key == "song_id" else bounds.ids(labels.texts(key))
    labels.refuse_duplicates(keys, key)
    # Beside a song_id, path and bounds say nothing new: those of the store stay.
    table = labels.table.drop_columns([name for name in names if name in told])
    return dataclasses.replace(labels, table=table.append_column(key, keys))


def relabel(
    store: StoreLike,
    labels: str | Path | None = None,
    *,
    segments: str | Path | None = None,
    progress: Progress | None = None,
) -> tuple[SongStore, int]:
    """Join the columns of a file to the index by song id, or by path where it has no song ids, and commit.

    A song in the file gets the file's values, empty ones too; every other song keeps its own. A song that is computed
    again keeps its labels. The columns in which `songbag review` gives its reasons, such as ``review_p_given``, do not
    join, and what stands in a CSV with them is text where the store has text.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store.
    labels : str or pathlib.Path, optional
        A CSV, TSV, JSON Lines or Parquet file: `song_id` or `path`, and at least one further column. A manifest that
        was extracted will do. A relative path starts in the folder of the file. A path that the
        store does not have is looked up among the song ids. With bounds, a row is of the part that they name, and one
        without them of the whole file.
    segments : str or pathlib.Path, optional
        In place of labels: such a file with `song_id`, `start_s`, `end_s` and `label`, a row for each stretch of a
        song, in seconds from the begin of the song. It gives the songs in it the column `segments`, which
        `window_labels` of a query is made of. A row with a `song_id` alone says that the song has none.
    progress : Progress, optional
        Where to note segments that begin behind the end of their song, and label nothing; by default standard error.

    Returns
    -------
    store : SongStore
        At the new snapshot, or at the newest if the file changes nothing.
    n_matched : int
        Songs of the file; all of them are in the store.

    Raises
    ------
    UsageError
        If there are both or neither, or the file cannot be used, names a song that the store does not have, or gives a
        column a type that does not fit the values that other songs keep. The store is unchanged then.
    """
    if (labels is None) is (segments is None):
        remedy = "Give one of them."
        raise UsageError("takes `labels`, or `segments` in their place", place="relabel", remedy=remedy)
    opened = SongStore.open(store)
    if segments is None:
        fields = user_fields(opened.inside.state.content.schema)
        texts = [field.name for field in fields if pa.types.is_string(field.type)]
        given = read_labels(Path(plain_address(place_text(labels, "labels"))), texts)
    else:
        given = read_segments(Path(plain_address(place_text(segments, "segments"))))

    def change(base: Snapshot) -> tuple[pa.Table, frozenset[str]] | None:
        relabelled = _joined(base.index, given)
        return None if relabelled.equals(base.index) else (relabelled, base.parts)

    names = ", ".join(name for name in given.table.column_names if name not in ("song_id", "path"))
    note = f"relabel {counted(given.table.num_rows, 'song')}: {names}"
    after = commit_change(opened, change, note=note)
    if segments is not None and (told := beyond_text(after.inside.state.columns(["song_id", "duration_s", SEGMENTS]))):
        (progress or shown_on(sys.stderr)).note(told)
    return after, given.table.num_rows


def _joined(index: pa.Table, labels: Manifest) -> pa.Table:
    position = _rows_of_labels(index, labels)
    named = pc.is_valid(position)
    columns = {field.name: index[field.name] for field in user_fields(index.schema)}
    for name in labels.table.column_names:
        if name not in ("song_id", "path"):
            given, place = labels.table[name].take(position), f"{labels.path}: the column {name!r}"
            columns[name] = _merged(columns.get(name), given, named, place)
    schema = index_schema(pa.field(name, column.type) for name, column in columns.items())
    return pa.table([columns[n] if n in columns else index[n] for n in schema.names], schema=schema)


def _rows_of_labels(index: pa.Table, labels: Manifest) -> pa.ChunkedArray:
    """Return for each song of the index its row of the labels, or null.

    Raises
    ------
    UsageError
        If a row is of no song, or two are of one song.
    """
    if "song_id" in labels.table.column_names:
        keys = labels.table["song_id"]
        position = pc.index_in(index["song_id"], value_set=keys.combine_chunks())
        what = "the store has no song {!r}"
    else:
        keys = labels.table["path"]
        base = os.path.dirname(os.path.abspath(labels.path))
        files = pa.chunked_array([[absolute_path(path, base) for path in keys.to_pylist()]], pa.string())
        labels.refuse_duplicates(files, "path")
        by_path, by_part = (
            pc.index_in(own, value_set=files.combine_chunks()) for own in (index["path"], part_ids(index))
        )
        by_id = pc.index_in(index["song_id"], value_set=keys.combine_chunks())
        # A part has the labels of its own row, if there is one, and else those of its file.
        of_part = pc.coalesce(by_part, by_id, by_path)
        position = pc.if_else(are_parts(index), of_part, pc.coalesce(by_path, by_id))
        what = "the store has no song with the path {!r}"
    known = np.zeros(len(keys), bool)
    known[position.drop_null().to_numpy()] = True
    unknown = np.flatnonzero(~known)
    if len(unknown):
        song = what.format(keys[int(unknown[0])].as_py())
        raise labels.fault(f"{song} ({len(unknown):,} unknown in all)", int(unknown[0]))
    return position


def _merged(old: pa.ChunkedArray | None, new: pa.ChunkedArray, named: pa.ChunkedArray, place: str) -> pa.ChunkedArray:
    """Return the given values for the songs that are named, and the old values for the others."""
    if old is None or pc.all(pc.or_(named, pc.is_null(old)), min_count=0).as_py():
        return new
    try:
        schemas = [pa.schema([("column", column.type)]) for column in (old, new)]
        common = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
        return pc.if_else(named, new.cast(common), old.cast(common))
    except pa.ArrowException as error:
        what = f"it holds {new.type}, and other songs keep values of {old.type}"
        remedy = "Give values of that type, or give a value for every song that has one in this column."
        raise UsageError(what, place=place, remedy=remedy) from error


def remove(store: StoreLike, where: str) -> tuple[SongStore, int]:
    """Commit a snapshot without the songs for which a SQL expression holds, failed ones included.

    The snapshot still lists the part that brought a song, so no later run adopts it again. An extract that lists the
    song takes it as new.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store.
    where : str
        A SQL expression over the columns of the index.

    Returns
    -------
    store : SongStore
        At the new snapshot, or at the newest if no song matches.
    n_removed : int
        Songs that left the index.

    Raises
    ------
    QueryError
        If the text is not one expression.
    """
    if not where.strip():
        raise UsageError("the condition is empty", place="where", remedy="To remove every song, say `where='true'`.")

    def is_gone(index: pa.Table) -> pa.ChunkedArray:
        from songbag_store.sql.query import filter_songs  # DuckDB, which few commands of a store need

        song_ids = filter_songs(index, where, view="index")["song_id"].combine_chunks()
        return pc.is_in(index["song_id"], value_set=song_ids)

    return drop_songs(SongStore.open(store), is_gone, note=f"remove where {where}")


def drop_songs(store: SongStore, is_gone: Callable[[pa.Table], pa.ChunkedArray], note: str) -> tuple[SongStore, int]:
    """Commit a snapshot without some songs; return the store at it and how many songs left.

    Parameters
    ----------
    is_gone : callable
        Takes the newest index; returns for each row whether its song leaves.
    note : str
        What the history says of this change.
    """
    n_removed = 0

    def change(base: Snapshot) -> tuple[pa.Table, frozenset[str]] | None:
        nonlocal n_removed
        gone = is_gone(base.index)
        n_removed = pc.sum(gone).as_py() or 0
        return (base.index.filter(pc.invert(gone)), base.parts) if n_removed else None

    return commit_change(store, change, note=note), n_removed
