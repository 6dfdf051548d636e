"""SQL over the index, in a DuckDB that is cut off from files, settings and Python's variables."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from songbag_store.errors import QueryError

Rows: TypeAlias = pa.Table | ds.Dataset

_LOCKED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    # No spilling: a query that needs more than memory is stopped, and leaves no files in the user's folder.
    "temp_directory": "",
}
_VIEWS = (
    "create view songs as select * from \"index\" where status = 'ok'",
    "create view failures as select * exclude (row_start, n_windows, padded, truncated, feature_sum, feature_sumsq) "
    "from \"index\" where status = 'failed'",
    "set lock_configuration = true",
)
_TIME_LIMIT_S = 300.0
_MEMORY_LIMIT_BYTES = 4_000_000_000


_ASK = 'Ask only for `songs`, `failures` and "index"; write results with `output`.'
_REFUSALS = (
    (duckdb.InterruptException, "took too long and was stopped", "Ask for less at once."),
    (duckdb.OutOfMemoryException, "needs more memory than a query may take", "Ask for less."),
    (duckdb.PermissionException, "the index is read-only and cut off from files, extensions and settings", _ASK),
)


def select(
    index: Rows, sql: str, *, time_limit_s: float = _TIME_LIMIT_S, memory_limit_bytes: int = _MEMORY_LIMIT_BYTES
) -> pa.Table:
    """Run one SELECT over the views `songs`, `failures` and `"index"`.

    Parameters
    ----------
    index : pyarrow.Table or pyarrow.dataset.Dataset
        The index of a snapshot; of a dataset only the columns that the text names are decoded.
    sql : str
        One statement in DuckDB's dialect.
    time_limit_s : float
        The query is stopped after this time.
    memory_limit_bytes : int
        The query is stopped if it needs more memory.

    Raises
    ------
    QueryError
        If the text is not one SELECT, or the database refuses it.
    """
    with _connection(index, sql, time_limit_s, memory_limit_bytes) as connection:
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            what = "only one SELECT statement is allowed: the index is read-only"
            remedy = "New or corrected columns come in with `songbag relabel`, not through SQL."
            raise QueryError(what, place="query", remedy=remedy)
        return _with_single_names(connection.sql(sql).to_arrow_table())


def _with_single_names(table: pa.Table) -> pa.Table:
    """Number columns of one name, such as two `count(*)`: JSON and Parquet need different names."""
    names: list[str] = []
    for name in table.column_names:
        same = (f"{name}_{number}" for number in itertools.count(1))
        names.append(name if name not in names else next(n for n in same if n not in {*names, *table.column_names}))
    return table.rename_columns(names)


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
    with _connection(index, where) as connection:
        # A relation's filter is parsed as an expression: it cannot end the statement and begin another.
        rows = connection.view(view).filter(where)
        if columns is not None:
            rows = rows.select(*map(duckdb.ColumnExpression, columns))
        return rows.to_arrow_table()


@contextmanager
def _connection(
    index: Rows, text: str, time_limit_s: float = _TIME_LIMIT_S, memory_limit_bytes: int = _MEMORY_LIMIT_BYTES
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a locked connection for one text; DuckDB's errors become a `QueryError`."""
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text):
        raise QueryError("the text is not valid Unicode, or holds a NUL character", place="query")
    with duckdb.connect(":memory:", config={**_LOCKED, "memory_limit": f"{memory_limit_bytes}B"}) as connection:
        connection.register("index", index)
        for statement in _VIEWS:
            connection.execute(statement)
        timer = threading.Timer(time_limit_s, connection.interrupt)
        timer.daemon = True
        timer.start()
        try:
            yield connection
        except duckdb.Error as error:
            raise _explained(error) from error
        finally:
            timer.cancel()


def _explained(error: duckdb.Error) -> QueryError:
    """Return the error for one of DuckDB's, with what the user can ask for instead."""
    for kind, what, remedy in _REFUSALS:
        if isinstance(error, kind):
            return QueryError(what, place="query", remedy=remedy)
    what = " ".join(str(error).split("\n\nLINE")[0].split()).rstrip(".")
    remedy = 'The views are `songs`, `failures` and "index"; `describe songs` lists their columns.'
    return QueryError(what, place="query", remedy=remedy)
