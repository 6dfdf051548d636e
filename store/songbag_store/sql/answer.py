"""The answer to a query, which comes in batches and is stopped when it takes too long or too much."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import duckdb
import pyarrow as pa

from songbag_store.errors import QueryError
from songbag_store.sql.output import bytes_text
from songbag_store.sql.texts import not_in_python

if TYPE_CHECKING:
    import pandas as pd

_LOOK_BYTES = 64_000_000
_LOOK_S = 0.05

_LONGEST_TEXT = (1 << 31) - 1
_COPIES = 8
"""How often a row is in memory while it is written: Parquet keeps its smallest and its largest value besides."""

_LONG_ROW = "Ask for less of it, for instance for left(text, 1000), or for the first values of a list: values[:1000]."
_IN_A_FILE = "Ask for less, or have it written to a file, which takes little memory: `songbag query ... -o x.parquet`."
_ASK = 'Ask only for `songs`, `failures`, `window_labels` and "index"; write results with `output`.'
_REFUSALS = {
    "INTERRUPT Error": ("took too long and was stopped", "Ask for less at once."),
    # What DuckDB's Python package raises when it is interrupted before the first row.
    "Query interrupted": ("took too long and was stopped", "Ask for less at once."),
    "Out of Memory Error": ("needs more memory than the {} that a query may take", "Ask for less."),
    "Permission Error": ("the index is read-only and cut off from files, extensions and settings", _ASK),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a query may take."""

    time_s: float = 300.0
    """Seconds of the database's own work; the time that writing a result takes does not count."""
    memory_bytes: int = 4_000_000_000
    """Bytes of the database and of a result that is not written to a file, together."""


class Answer:
    """The rows that a query gives; see `songbag_store.sql.query.asking`.

    Attributes
    ----------
    schema : pyarrow.Schema
        Names and types of its columns; columns of one name are numbered.
    """

    def __init__(
        self, reader: pa.RecordBatchReader, watch: Watch, connection: duckdb.DuckDBPyConnection, memory_bytes: int
    ) -> None:
        self._reader, self._watch, self._connection, self._memory_bytes = reader, watch, connection, memory_bytes
        names = _different(reader.schema.names)
        fields = [field.with_name(name) for name, field in zip(names, reader.schema, strict=True)]
        self.schema = pa.schema([field.with_type(_small(field.type)) for field in fields])

    def to_batches(self, max_chunksize: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows once, as they come, so many at a time; they are not kept.

        Raises
        ------
        QueryError
            If the query fails or takes too long, or a row is too large.
        """
        while (batch := self._next()) is not None:
            batch = pa.RecordBatch.from_arrays(batch.columns, schema=_named(batch.schema, self.schema.names))
            for start in range(0, batch.num_rows, max_chunksize):
                yield from self._pieces(batch.slice(start, max_chunksize))

    def _pieces(self, rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Yield rows in the types of the schema, in as many pieces as these types and the limit of memory need."""
        most = min(_LONGEST_TEXT, self._memory_bytes // _COPIES)
        if rows.nbytes <= most:
            yield self._narrowed(rows)
        elif rows.num_rows > 1:
            half = rows.num_rows // 2
            yield from self._pieces(rows.slice(0, half))
            yield from self._pieces(rows.slice(half))
        else:
            what = f"a row of the result takes {bytes_text(rows.nbytes)}, and it may take {bytes_text(most)}"
            raise QueryError(what, place="query", remedy=_LONG_ROW)

    def _narrowed(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        try:
            return rows.cast(self.schema)
        except pa.ArrowInvalid:
            # The texts fit, but they lie behind more than 2 GB of others: copied, they begin at 0.
            return rows.take(pa.array(range(rows.num_rows))).cast(self.schema)

    def _next(self) -> pa.RecordBatch | None:
        try:
            with self._watch.working():
                return self._reader.read_next_batch()
        except StopIteration:
            return None
        except (OSError, pa.ArrowException, MemoryError) as error:  # of the database: Arrow passes on its text only
            raise explained(error, self._memory_bytes) from error

    def table(self, *, n_copies: int = 1) -> pa.Table:
        """Return all rows.

        Parameters
        ----------
        n_copies : int
            How often the caller will have them in memory.

        Raises
        ------
        QueryError
            If they take more memory than the limit, together with the database.
        """
        batches, n_bytes, looked_at = [], 0, -_LOOK_BYTES
        for batch in self.to_batches(max_chunksize=1 << 30):
            batches.append(batch)
            n_bytes += n_copies * batch.nbytes
            if n_bytes - looked_at >= _LOOK_BYTES:
                looked_at = n_bytes
                if n_bytes + self._used_bytes() > self._memory_bytes:
                    what = (
                        f"the result needs more memory than the {bytes_text(self._memory_bytes)} that a query may take"
                    )
                    raise QueryError(what, place="query", remedy=_IN_A_FILE)
        return pa.Table.from_batches(batches, self.schema)

    def _used_bytes(self) -> int:
        """Return the memory that the database has now."""
        used = self._connection.cursor().execute("select sum(memory_usage_bytes) from duckdb_memory()").fetchone()
        return int(used[0]) if used else 0

    def frame(self) -> pd.DataFrame:
        """Return all rows for pandas: whole numbers as int64 where they fit, decimal ones as float64.

        Raises
        ------
        QueryError
            If they take more memory than the limit, or pandas has no such values.
        """
        table = self.table(n_copies=2)
        for position, field in enumerate(table.schema):
            if pa.types.is_decimal(field.type):
                column = _plain_numbers(table[position])
                table = table.set_column(position, field.name, column)
        try:
            frame: pd.DataFrame = table.to_pandas()
            return frame
        except (ValueError, OverflowError, NotImplementedError) as error:
            raise not_in_python(", ".join(table.column_names)) from error


def _plain_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.float64() if column.type.scale > 0 else pa.int64())
    except pa.ArrowInvalid:
        return column  # digits that int64 does not have


class Watch:
    """Interrupts a connection when it has worked for too long.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        What to interrupt.
    limit_s : float
        Seconds inside `working`.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, limit_s: float) -> None:
        self._connection, self._left_s = connection, limit_s
        self._began_s: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count the time of a block."""
        self._began_s = began_s = time.monotonic()
        try:
            yield
        finally:
            self._began_s = None
            self._left_s -= time.monotonic() - began_s

    def _look(self) -> None:
        while not self._over.wait(_LOOK_S):
            began_s, left_s = self._began_s, self._left_s
            if began_s is not None and time.monotonic() - began_s > left_s:
                self._connection.interrupt()


def explained(error: Exception, memory_bytes: int) -> QueryError:
    """Return the error for one of DuckDB's, with what the user can ask for instead."""
    text = str(error)
    # At its own limit DuckDB says how much of it is used; without that, the system gave no more.
    if isinstance(error, MemoryError) or (text.startswith("Out of Memory Error") and "used)" not in text):
        return QueryError("needs more memory than this process gets", place="query", remedy="Ask for less.")
    for begin, (what, remedy) in _REFUSALS.items():
        if text.startswith(begin):
            return QueryError(what.format(bytes_text(memory_bytes)), place="query", remedy=remedy)
    what = " ".join(text.split("\n\nLINE")[0].split()).rstrip(".")
    remedy = 'The views are `songs`, `failures`, `window_labels` and "index"; `describe songs` lists columns.'
    return QueryError(what, place="query", remedy=remedy)


def _different(names: list[str]) -> list[str]:
    """Number columns of one name, such as two `count(*)`: JSON and Parquet need different names."""
    made: list[str] = []
    for name in names:
        same = (f"{name}_{number}" for number in itertools.count(1))
        made.append(name if name not in made else next(n for n in same if n not in {*made, *names}))
    return made


def _named(schema: pa.Schema, names: list[str]) -> pa.Schema:
    return pa.schema([field.with_name(name) for name, field in zip(names, schema, strict=True)])


def _small(kind: pa.DataType) -> pa.DataType:
    """Return a type with offsets of 32 bits, which more tools read: a batch has far less than 2 GB."""
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_small(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_small(kind.key_type), _small(kind.item_type))
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_small(kind.value_type)))
    return kind
