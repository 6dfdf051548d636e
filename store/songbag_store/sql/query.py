"""SQL over the index: DuckDB on an Arrow table, cut off from files, from settings and from Python's variables."""

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
    # Nothing is spilled: a query that needs more than memory is stopped, and leaves no files where it was asked.
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


def select(
    index: Rows, sql: str, *, time_limit_s: float = _TIME_LIMIT_S, memory_limit_bytes: int = _MEMORY_LIMIT_BYTES
) -> pa.Table:
    """Run one SELECT over the views `songs`, `failures` and `"index"`.

    Parameters
    ----------
    index : pyarrow.Table or pyarrow.dataset.Dataset
        The index of a snapshot; of a dataset, the columns that the text names are decoded.
    sql : str
        One statement in DuckDB's dialect.
    time_limit_s : float
        The query is stopped after this long.
    memory_limit_bytes : int
        And when it needs more than this.

    Raises
    ------
    QueryError
        If the text is not one SELECT, or the database refuses it.
    """
    limits = {"memory_limit": f"{memory_limit_bytes}B"}
    with _connection(index, limits) as connection, _explained(sql), _time_limit(connection, time_limit_s):
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise QueryError(
                "only one SELECT statement is allowed: the index is read-only",
                place="query",
                remedy="New or corrected columns come in with `songbag relabel`, not through SQL.",
            )
        return _with_single_names(connection.sql(sql).to_arrow_table())


def _with_single_names(table: pa.Table) -> pa.Table:
    """Number the columns that share a name, as `count(*)` asked for twice: JSON and Parquet know one of each."""
    names: list[str] = []
    for name in table.column_names:
        same = (f"{name}_{number}" for number in itertools.count(1))
        names.append(name if name not in names else next(n for n in same if n not in {*names, *table.column_names}))
    return table.rename_columns(names)


def filter_songs(
    index: Rows, where: str, *, view: Literal["songs", "index"] = "songs", columns: Sequence[str] | None = None
) -> pa.Table:
    """Return the rows for which a SQL expression holds, in the order of the index.

    Parameters
    ----------
    view : str
        ``"songs"`` have features; ``"index"`` holds the failed ones too.
    columns : sequence of str, optional
        Only these columns.

    Raises
    ------
    QueryError
        If the text is not one expression over the columns of the view.
    """
    limits = {"memory_limit": f"{_MEMORY_LIMIT_BYTES}B"}
    with _connection(index, limits) as connection, _explained(where), _time_limit(connection, _TIME_LIMIT_S):
        # A relation's filter is parsed as an expression: it cannot end the statement and begin another.
        rows = connection.view(view).filter(where)
        if columns is not None:
            rows = rows.select(*map(duckdb.ColumnExpression, columns))
        return rows.to_arrow_table()


@contextmanager
def _connection(index: Rows, limits: dict[str, str]) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:", config={**_LOCKED, **limits}) as connection:
        connection.register("index", index)
        for statement in _VIEWS:
            connection.execute(statement)
        yield connection


@contextmanager
def _explained(sql: str) -> Iterator[None]:
    """Turn DuckDB's errors into one that says what can be asked."""
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in sql):
        raise QueryError("the text is not valid Unicode, or holds a NUL character", place="query")
    try:
        yield
    except duckdb.InterruptException as error:
        raise QueryError("took too long and was stopped", place="query", remedy="Ask for less at once.") from error
    except duckdb.OutOfMemoryException as error:
        raise QueryError("needs more memory than a query may take", place="query", remedy="Ask for less.") from error
    except duckdb.PermissionException as error:
        raise QueryError(
            "the index is read-only and cut off from files, extensions and settings",
            place="query",
            remedy='Ask only for `songs`, `failures` and "index"; write results with `output`.',
        ) from error
    except duckdb.Error as error:
        reason = " ".join(str(error).split("\n\nLINE")[0].split())
        raise QueryError(
            reason.rstrip("."),
            place="query",
            remedy='The views are `songs`, `failures` and "index"; `describe songs` lists their columns.',
        ) from error


@contextmanager
def _time_limit(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
