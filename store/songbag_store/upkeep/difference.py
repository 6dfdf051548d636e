"""What changed in a store between two of its snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.format.index import CONTENT, user_fields
from songbag_store.store import SongStore, StoreLike
from songbag_store.upkeep.comparable import comparable_texts
from songbag_store.words import counted

if TYPE_CHECKING:
    import pandas as pd

CHANGES = ("added", "recovered", "failed", "removed", "computed anew", "relabelled")
"""What may have become of a song: it is new; it had failed and has features now; it fails, or fails in another way; it
is gone; its features were computed again; a value in a column of the user's is another one."""

_SCHEMA = pa.schema([(name, pa.string()) for name in ("change", "song_id", "column", "before", "after")])
_READ = ["song_id", "status", "error_code", CONTENT, "run_id", "extracted_at"]


@overload
def diff(store: StoreLike, before: int, after: int | None = ..., *, arrow: Literal[False] = ...) -> pd.DataFrame: ...
@overload
def diff(store: StoreLike, before: int, after: int | None = ..., *, arrow: Literal[True]) -> pa.Table: ...
def diff(store: StoreLike, before: int, after: int | None = None, *, arrow: bool = False) -> Any:
    """Return what changed between two snapshots of a store.

    Values are compared as text, so a column whose type became another one is no change where its values read alike: 1,
    1.0 and "1", or a time in another unit or zone.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store.
    before, after : int
        Numbers of two snapshots, in any order; `after` is by default the one that is open, which is the newest.
    arrow : bool
        Return an Arrow table, not a pandas one.

    Returns
    -------
    changes : pandas.DataFrame or pyarrow.Table
        A row for each change: `change` (one of ``added``, ``recovered``, ``failed``, ``removed``, ``computed anew``,
        ``relabelled``), `song_id`, `column`, and its values `before` and `after` as texts. For a song that failed,
        these are its error codes; for one that was computed again from another file, the digests of the two files.
        Ordered by change, column and song id.

    Raises
    ------
    StoreNotFound
        If there is no such snapshot any more.

    Examples
    --------
    >>> changes = songbag.diff("my-store", 3, 5)
    >>> changes.query("change == 'relabelled' and column == 'genre'")
    """
    opened = SongStore.open(store)
    earlier = opened.at(before).inside.state
    later = (opened if after is None else opened.at(after)).inside.state
    names = list(dict.fromkeys(f.name for one in (later, earlier) for f in user_fields(one.content.schema)))
    first, second = earlier.columns(_READ), later.columns(_READ)
    rows_before = pc.index_in(second["song_id"], value_set=first["song_id"].combine_chunks())
    tables = [*_whole_songs(first, second, rows_before)]
    rows_after = pc.indices_nonzero(pc.is_valid(rows_before))
    rows_before = rows_before.take(rows_after)
    song_ids = second["song_id"].take(rows_after)
    for name in names:
        # One column at a time: labels of a million songs as texts are large.
        old, new = _texts(name, (earlier, rows_before), (later, rows_after))
        tables.append(_changes("relabelled", song_ids, name, old, new))
    table = pa.concat_tables(tables)
    return table if arrow else table.to_pandas()


def diff_text(changes: pa.Table, before: int, after: int) -> str:
    """Return how many songs `diff` found changed and how, on one line."""
    if not changes.num_rows:
        return f"Snapshots {before} and {after} have the same songs, features and labels."
    counts = []
    for change in CHANGES:
        of_change = changes.filter(pc.equal(changes["change"], change))
        if n_songs := len(of_change["song_id"].unique()):
            columns = pc.value_counts(of_change["column"]).to_pylist() if change == "relabelled" else []
            named = ", ".join(f"{one['values']} {one['counts']:,}" for one in columns[:_NAMED])
            more = f" and {counted(len(columns) - _NAMED, 'more column')}" if len(columns) > _NAMED else ""
            counts.append(f"{n_songs:,} {change}" + (f" ({named}{more})" if named else ""))
    return f"From snapshot {before} to {after}: {', '.join(counts)}."


_NAMED = 6


def _whole_songs(first: pa.Table, second: pa.Table, rows: pa.ChunkedArray) -> list[pa.Table]:
    """Return the changes of whole songs; `rows` is where each song of the second index was in the first, or null."""
    old = first.take(rows)  # null for a song that is new
    is_new, was_ok = pc.is_null(rows), pc.fill_null(pc.equal(old["status"], "ok"), False)
    is_ok = pc.equal(second["status"], "ok")
    code, code_before = second["error_code"], old["error_code"]
    fails = pc.and_(pc.invert(is_ok), pc.or_(is_new, pc.or_(was_ok, _differ(code_before, code))))
    recovered = pc.and_(is_ok, pc.invert(pc.or_(is_new, was_ok)))
    again = pc.and_(is_ok, was_ok)
    again = pc.and_(again, pc.or_(*(_differ(old[name], second[name]) for name in ("run_id", "extracted_at"))))
    gone = pc.invert(pc.is_in(first["song_id"], value_set=second["song_id"].combine_chunks()))
    song_ids, same = second["song_id"], pc.invert(_differ(old[CONTENT], second[CONTENT]))
    digest_before, digest = (pc.if_else(same, None, one[CONTENT]) for one in (old, second))
    return [
        _rows("added", song_ids, pc.and_(is_ok, is_new)),
        _rows("recovered", song_ids, recovered, "error_code", code_before, code),
        _rows("failed", song_ids, fails, "error_code", code_before, code),
        _rows("removed", first["song_id"], gone),
        _rows("computed anew", song_ids, again, CONTENT, digest_before, digest),
    ]


def _changes(change: str, song_ids: pa.ChunkedArray, name: str, old: Any, new: Any) -> pa.Table:
    """Return the rows of a column in which two states differ; None for a state without the column."""
    absent = pa.chunked_array([pa.nulls(len(song_ids), pa.string())])
    old, new = (absent if one is None else one for one in (old, new))
    return _rows(change, song_ids, _differ(old, new), name, old, new)


def _rows(
    change: str,
    song_ids: pa.ChunkedArray,
    chosen: pa.ChunkedArray,
    name: str | None = None,
    old: Any = None,
    new: Any = None,
) -> pa.Table:
    """Return the rows of a change for the songs that are chosen, by song id."""
    found = song_ids.filter(chosen)
    order = pc.sort_indices(found)
    n_rows = len(found)
    values = [pa.nulls(n_rows, pa.string()) if one is None else one.filter(chosen).take(order) for one in (old, new)]
    columns = [pa.repeat(change, n_rows), found.take(order), pa.repeat(pa.scalar(name, pa.string()), n_rows), *values]
    return pa.table(columns, schema=_SCHEMA)


def _differ(one: pa.ChunkedArray, other: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return whether values differ; null is a value of its own."""
    unequal = pc.fill_null(pc.not_equal(one, other), False)
    return pc.or_(unequal, pc.not_equal(pc.is_null(one), pc.is_null(other)))


def _texts(name: str, *given: tuple[Any, pa.Array]) -> list[pa.ChunkedArray | None]:
    """Return some rows of a column of several states as texts that can be compared; None for a state without it."""
    found = [
        state.columns([name])[name].take(rows) if name in state.content.schema.names else None for state, rows in given
    ]
    if {one.type for one in found if one is not None} == {pa.float32(), pa.float64()}:
        # The numbers that are nearest to 0.1 in the two types read differently.
        found = [one.cast(pa.float32()) for one in found if one is not None]
    return [None if one is None else comparable_texts(name, one) for one in found]
