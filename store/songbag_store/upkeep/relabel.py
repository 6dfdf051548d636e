"""New or corrected columns for songs that the store has: a new snapshot, no feature touched."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.commits.snapshots import Snapshot
from songbag_store.errors import UsageError
from songbag_store.format.index import OWN_COLUMNS, REPLACES, index_schema, user_fields
from songbag_store.sql.manifest import fault, line_of, load_table, refuse_duplicates, text_column
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
        raise fault(path, f"the column {next(n for n in names if names.count(n) > 1)!r} stands there twice")
    own = sorted(set(names) & (OWN_COLUMNS | {REPLACES}) - {"song_id"})
    if own:
        raise fault(path, f"the column {own[0]!r} is one that songbag fills itself")
    if len(names) == 1:
        raise fault(path, "there is no column beside 'song_id'")
    song_ids = text_column(path, table, "song_id")
    refuse_duplicates(path, song_ids)
    return table.set_column(names.index("song_id"), "song_id", song_ids)


def relabel(store: StoreLike, labels: str | Path) -> tuple[SongStore, int]:
    """Join the columns of a file to the index by song id and commit.

    A song in the file gets the file's values, an empty field included; a song that is not keeps what it had. Labels
    stay where a song is computed again.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store.
    labels : str or pathlib.Path
        A CSV or Parquet file: `song_id` and at least one further column.

    Returns
    -------
    store : SongStore
        At the new snapshot, or at the newest where the file changes nothing.
    n_matched : int
        Songs of the file; all of them are in the store.

    Raises
    ------
    UsageError
        If the file cannot be used, names a song that the store does not have, or gives a column a type that does not
        go with the values other songs keep. Nothing was done.
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
    unknown = pc.index(known, False).as_py()
    if unknown >= 0:
        n_unknown = pc.sum(pc.invert(known)).as_py()
        song_id = labels["song_id"][unknown].as_py()
        what = f"line {line_of(path, unknown)}: the store has no song {song_id!r} ({n_unknown:,} unknown in all)"
        raise fault(path, what)
    position = pc.index_in(index["song_id"], value_set=labels["song_id"].combine_chunks())
    named = pc.is_valid(position)
    columns = {field.name: index[field.name] for field in user_fields(index.schema)}
    for name in labels.column_names:
        if name != "song_id":
            columns[name] = _merged(columns.get(name), labels[name], position, named, f"{path}: the column {name!r}")
    schema = index_schema(pa.field(name, column.type) for name, column in columns.items())
    return pa.table([columns[n] if n in columns else index[n] for n in schema.names], schema=schema)


def _merged(
    old: pa.ChunkedArray | None, given: pa.ChunkedArray, position: pa.ChunkedArray, named: pa.ChunkedArray, place: str
) -> pa.ChunkedArray:
    """Return the given value for the songs that are named, the old one for the others; the types must go together."""
    new = given.take(position)
    if old is None:
        return new
    kept = old.filter(pc.invert(named))
    if kept.null_count == len(kept):
        return new
    try:
        schemas = [pa.schema([("column", column.type)]) for column in (old, new)]
        common = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
        return pc.if_else(named, new.cast(common), old.cast(common))
    except pa.ArrowException as error:
        raise UsageError(
            f"it holds {given.type}, and other songs keep values of {old.type}",
            place=place,
            remedy="Give the values in that type, or give the column for every song that has a value in it.",
        ) from error
