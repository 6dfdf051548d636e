"""SQL over the index, in a DuckDB that is cut off from files, settings and Python's variables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from songbag_store.errors import QueryError
from songbag_store.format.index import ADDED_FIELDS, END, START
from songbag_store.format.spec import FeatureSpec
from songbag_store.sql.answer import Answer, Limits, Watch, explained
from songbag_store.sql.plain_types import plain_relation
from songbag_store.sql.window_labels import window_labels_view

Rows: TypeAlias = pa.Table | ds.Dataset

_LOCKED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    # No spilling: a query that needs more than memory is stopped, and leaves no files in the user's folder.
    "temp_directory": "",
    # Texts of more than 2 GB in one batch.
    "arrow_large_buffer_size": "true",
}
_OF_SONGS = (
    *("row_start", "n_windows", "padded", "truncated", "feature_sum", "feature_sumsq"),
    *(field.name for field in ADDED_FIELDS if field.name not in (START, END)),
)
"""Columns that say nothing of a song that failed."""
_BAR = "enable_progress_bar"
_SETTINGS = (
    # Not the machine's: its name may be unknown to Arrow, and answers would differ from one machine to another.
    "set timezone = 'UTC'",
    "create view songs as select * from \"index\" where status = 'ok'",
    f"create view failures as select * exclude ({', '.join(_OF_SONGS)}) from \"index\" where status = 'failed'",
)
_LAST_SETTING = "set lock_configuration = true"
_ANSWERED = ("SELECT", "FROM", "WITH", "VALUES", "TABLE", "DESCRIBE", "SUMMARIZE", "SHOW", "PIVOT", "UNPIVOT")


@contextmanager
def asking(
    index: Rows,
    sql: str,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    *,
    spec: FeatureSpec | None = None,
) -> Iterator[Answer]:
    """Yield the answer to one SELECT over the views `songs`, `failures`, `window_labels` and `"index"`.

    Parameters
    ----------
    index : pyarrow.Table or pyarrow.dataset.Dataset
        The index of a snapshot; of a dataset only the columns that the text names are decoded.
    sql : str
        One statement in DuckDB's dialect that reads.
    limits : Limits
        The time and the memory that it may take.
    spec : FeatureSpec, optional
        Says where windows are; without it `window_labels` is empty.

    Raises
    ------
    QueryError
        If the text is not one statement that reads, or the database refuses it.
    """
    with _connection(index, sql, limits, spec) as (connection, watch):
        _require_reading(connection, sql)
        relation = plain_relation(connection.sql(sql))
        with watch.working():
            # As few as DuckDB's own vectors hold: a row may be long.
            reader = relation.to_arrow_reader(batch_size=2048)
        yield Answer(reader, watch, connection, limits.memory_bytes)


def select(index: Rows, sql: str, limits: Limits = Limits()) -> pa.Table:  # noqa: B008 (frozen)
    """Return the answer to one SELECT as a table; see `asking`.

    Raises
    ------
    QueryError
        If the text is not one statement that reads, the database refuses it, or the result is too large for memory.
    """
    with asking(index, sql, limits) as answer:
        return answer.table()


def _require_reading(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse a text that is not one statement that reads; say what it is."""
    kinds = [statement.type.name for statement in connection.extract_statements(sql)]
    word = _first_word(sql)
    # A PIVOT that finds its columns by itself is of the type MULTI, and so is a CREATE TABLE of it.
    if kinds == ["SELECT"] or (kinds == ["MULTI"] and word in _ANSWERED):
        return
    what = "only one SELECT is answered, as the index is read-only"
    if len(kinds) > 1:
        what = f"there are {len(kinds)} statements: {what}"
    elif kinds:
        what = f"{word} is not answered: {what}"
    remedy = f"Begin with {', '.join(_ANSWERED)}. New or corrected columns come in with `songbag relabel`."
    raise QueryError(what, place="query", remedy=remedy)


def is_statement(text: str) -> bool:
    """Return whether a text begins like a statement that is answered, with a second word behind the first."""
    first, _, rest = text.strip().partition(" ")
    return first.upper() in _ANSWERED and bool(rest.strip())


def _first_word(sql: str) -> str:
    """Return the first word of a statement, behind comments and brackets."""
    text = sql.encode()
    for offset, kind in duckdb.tokenize(sql):
        if kind not in (duckdb.token_type.comment, duckdb.token_type.operator):
            return text[offset:].decode(errors="replace").split(None, 1)[0].partition("(")[0].upper()
    return ""


def filter_songs(
    index: Rows, where: str, *, view: Literal["songs", "index"] = "songs", columns: Sequence[str] | None = None
) -> pa.Table:
    """Return the rows for which a SQL expression is true, in the order of the index.

    Parameters
    ----------
    view : str
        ``"songs"`` holds songs with features; ``"index"`` also holds songs that failed.
    columns : sequence of str, optional
        Only these columns.

    Raises
    ------
    QueryError
        If the text is not one expression over the columns of the view.
    """
    with _connection(index, where, Limits()) as (connection, watch), watch.working():
        # A relation's filter is parsed as an expression: it cannot end the statement and begin another.
        rows = connection.view(view).filter(where)
        if columns is not None:
            rows = rows.select(*map(duckdb.ColumnExpression, columns))
        return rows.to_arrow_table()


@contextmanager
def _connection(
    index: Rows, text: str, limits: Limits, spec: FeatureSpec | None = None
) -> Iterator[tuple[duckdb.DuckDBPyConnection, Watch]]:
    """Yield a locked connection for one text, and what stops it; DuckDB's errors become a `QueryError`."""
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text):
        raise QueryError("the text is not valid Unicode, or holds a NUL character", place="query")
    config: dict[str, str | bool | int | float | list[str]] = {**_LOCKED, "memory_limit": f"{limits.memory_bytes}B"}
    try:
        with duckdb.connect(":memory:", config=config) as connection:
            connection.register("index", index)
            # The bar would be drawn into the CSV on standard output. In a notebook without ipywidgets there is none,
            # and setting it is an error.
            if connection.execute(f"select current_setting('{_BAR}')").fetchall() != [(False,)]:
                connection.execute(f"set {_BAR} = false")
            for statement in (*_SETTINGS, window_labels_view(index.schema, spec), _LAST_SETTING):
                connection.execute(statement)
            with Watch(connection, limits.time_s) as watch:
                yield connection, watch
    except (duckdb.Error, MemoryError) as error:
        raise explained(error, limits.memory_bytes) from error
    except RuntimeError as error:
        if str(error) != "Query interrupted":
            raise
        raise explained(error, limits.memory_bytes) from error
