"""`relabel` and `remove`: changes of the index, which leave all features as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.commits.snapshots import Snapshot
from songbag_store.errors import UsageError
from songbag_store.format.index import OWN_COLUMNS, REPLACES, index_schema, user_fields
from songbag_store.sql.manifest import fault, line_of, load_table, refuse_duplicates, text_column
from songbag_store.sql.query import filter_songs
from songbag_store.store import SongStore, StoreLike
from songbag_store.writer import commit_change


def read_labels(path: Path) -> pa.Table:
    """Read a CSV or Parquet file of labels: `song_id` and at least one column of the user's.

    Raises
    ------
    UsageError
        If it cannot be used; the message names the line or the column.
    """
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise fault(path, "labels are a .csv or .parquet file")
    table = load_table(path)
    names = table.column_names
    if "song_id" not in names:
        raise fault(path, f"there is no column 'song_id' (there are: {', '.join(names) or 'none'})")
    if len(set(names)) < len(names):
        raise fault(path, f"the column {next(n for n in names if names.count(n) > 1)!r} is there twice")
    if own := sorted(set(names) & (OWN_COLUMNS | {REPLACES}) - {"song_id"}):
        raise fault(path, f"the column {own[0]!r} is one that songbag fills itself")
    if len(names) == 1:
        raise fault(path, "there is no column beside 'song_id'")
    song_ids = text_column(path, table, "song_id")
    refuse_duplicates(path, song_ids)
    return table.set_column(names.index("song_id"), "song_id", song_ids)


def relabel(store: StoreLike, labels: str | Path) -> tuple[SongStore, int]:
    """Join the columns of a file to the index by song id and commit.

    A song in the file gets the file's values, empty ones too; every other song keeps its own. A song that is computed
    again keeps its labels.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store.
    labels : str or pathlib.Path
        A CSV or Parquet file: `song_id` and at least one further column.

    Returns
    -------
    store : SongStore
        At the new snapshot, or at the newest if the file changes nothing.
    n_matched : int
        Songs of the file; all of them are in the store.

    Raises
    ------
    UsageError
        If the file cannot be used, names a song that the store does not have, or gives a column a type that does not
        fit the values that other songs keep. The store is unchanged then.
    """
    path = Path(labels)
    table = read_labels(path)

    def change(base: Snapshot) -> tuple[pa.Table, frozenset[str]] | None:
        relabelled = _joined(base.index, table, path)
        return None if relabelled.equals(base.index) else (relabelled, base.parts)

    names = ", ".join(name for name in table.column_names if name != "song_id")
    after = commit_change(SongStore.open(store), change, note=f"relabel {table.num_rows:,} songs: {names}")
    return after, table.num_rows


def _joined(index: pa.Table, labels: pa.Table, path: Path) -> pa.Table:
    known = pc.is_in(labels["song_id"], value_set=index["song_id"].combine_chunks())
    unknown = pc.indices_nonzero(pc.invert(known)).to_pylist()
    if unknown:
        line, song_id = line_of(path, unknown[0]), labels["song_id"][unknown[0]].as_py()
        raise fault(path, f"line {line}: the store has no song {song_id!r} ({len(unknown):,} unknown in all)")
    position = pc.index_in(index["song_id"], value_set=labels["song_id"].combine_chunks())
    named = pc.is_valid(position)
    columns = {field.name: index[field.name] for field in user_fields(index.schema)}
    for name in labels.drop_columns(["song_id"]).column_names:
        given, place = labels[name].take(position), f"{path}: the column {name!r}"
        columns[name] = _merged(columns.get(name), given, named, place)
    schema = index_schema(pa.field(name, column.type) for name, column in columns.items())
    return pa.table([columns[n] if n in columns else index[n] for n in schema.names], schema=schema)


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
