"""Tables as output: drawn in a terminal, or as CSV, JSON or Parquet, written as they come."""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, Self, TextIO, cast

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from songbag_store.errors import FileError, SongbagError, UsageError
from songbag_store.sql.drawing import print_table, table_text
from songbag_store.sql.texts import flat_table, json_lines
from songbag_store.storage.files import replacing, require_output
from songbag_store.terminal import encodable, plain_lines, plain_text

Format = Literal["table", "csv", "json", "parquet"]

_SUFFIXES: dict[str, Format] = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".txt": "table"}
_ROWS_AT_ONCE = 100_000
_BYTES_AT_ONCE = 32_000_000
_ROWS_IN_PYTHON = 8192


class Batches(Protocol):
    """Rows that come in batches: an Arrow table, or the answer to a query."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""

    def to_batches(self, max_chunksize: int) -> Iterable[pa.RecordBatch]:
        """Return the rows, at most so many at once."""

    def table(self) -> pa.Table:
        """Return all rows."""


def chosen_format(form: Format | None, output: Path | None) -> Format:
    """Return the format of a result: the one that was named, or that of the file's suffix, or a table.

    Raises
    ------
    UsageError
        If the file's suffix is of no format or of another one, the file cannot be written, or Parquet would go to a
        terminal; before any work is done.
    """
    if output is None:
        if form == "parquet" and sys.stdout.isatty():
            raise UsageError("Parquet is not for a terminal", place="format", remedy="Give a file with `output`.")
        return form or "table"
    by_suffix = _SUFFIXES.get(output.suffix.lower())
    require_output(output, *(() if form else _SUFFIXES))
    if form and by_suffix not in (None, form):
        what = f"the format is {form}, but {output.name!r} ends as a file of the format {by_suffix}"
        raise UsageError(what, place="format", remedy="Leave `format` out, or give the file another suffix.")
    return form or by_suffix or "table"


def write_table(rows: pa.Table | Batches, form: Format, output: Path | None) -> None:
    """Write rows to a file, or to standard output: CSV, JSON and Parquet as they come, in little memory.

    Raises
    ------
    QueryError
        If they are the answer to a query, and it fails; a table must fit in memory.
    FileError
        If the file cannot be written; what was there before is untouched.
    """
    if output is not None:
        with replacing(output) as temporary, temporary.open("wb") as file:
            _write(rows, form, file)
        return
    table = _whole(rows) if form == "table" else rows
    try:
        if form == "table":
            print_table(table)
        else:
            shown = form == "csv" and sys.stdout.isatty()
            _write(table, form, cast(BinaryIO, _Terminal(sys.stdout)) if shown else sys.stdout.buffer)
        sys.stdout.flush()
    except (BrokenPipeError, SongbagError):
        raise
    except OSError as error:
        raise FileError(f"cannot be written ({error.strerror or error})", place="standard output") from error


def _write(rows: pa.Table | Batches, form: Format, file: BinaryIO) -> None:
    if form == "table":
        file.write(table_text(_whole(rows)).encode(errors="backslashreplace"))
    elif form == "json":
        _write_json(rows, file)
    else:
        with TableWriter(file, form, rows.schema) as writer:
            for batch in rows.to_batches(max_chunksize=_ROWS_IN_PYTHON):
                writer.add(pa.Table.from_batches([batch]))


def _write_json(rows: pa.Table | Batches, file: BinaryIO) -> None:
    """Write an array of objects, one on each line."""
    shows_all = file is not sys.stdout.buffer or encodable("猫", sys.stdout) == "猫"
    before = "[\n "
    for batch in rows.to_batches(max_chunksize=_ROWS_IN_PYTHON):
        for line in json_lines(batch, ascii_only=not shows_all):
            file.write(f"{before}{line}".encode())
            before = ",\n "
    file.write(b"[]\n" if before.startswith("[") else b"\n]\n")


def _whole(rows: pa.Table | Batches) -> pa.Table:
    return rows if isinstance(rows, pa.Table) else rows.table()


class _Terminal(io.RawIOBase):
    """Shows bytes of UTF-8 on a terminal, without control characters."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._stream.write(encodable(plain_lines(self._decoder.decode(piece)), self._stream))
        return len(piece)


class TableWriter:
    """Writes tables to one CSV or Parquet file; see `writing_table`.

    It holds about 100,000 rows at a time, or 32 MB if these are less.
    """

    def __init__(self, file: Path | BinaryIO, form: Literal["csv", "parquet"], schema: pa.Schema) -> None:
        self._flat = form == "csv"
        if self._flat:
            self._writer = pyarrow.csv.CSVWriter(file, flat_table(schema.empty_table()).schema)
        else:
            self._writer = pyarrow.parquet.ParquetWriter(file, schema, compression="zstd")
        self._held: list[pa.Table] = []
        self._n_held = self._held_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def add(self, table: pa.Table) -> None:
        """Add some rows."""
        table = flat_table(table) if self._flat else table
        self._held.append(table)
        self._n_held += table.num_rows
        self._held_bytes += table.nbytes
        if self._n_held >= _ROWS_AT_ONCE or self._held_bytes >= _BYTES_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        """Write what is held, to Parquet as one row group."""
        if self._held:
            self._writer.write_table(pa.concat_tables(self._held).combine_chunks())
        self._held = []
        self._n_held = self._held_bytes = 0


@contextmanager
def writing_table(path: Path, schema: pa.Schema) -> Iterator[TableWriter]:
    """Yield a writer of a new table, which is written as a whole or not at all; the suffix decides the format."""
    form: Literal["csv", "parquet"] = "csv" if path.suffix.lower() == ".csv" else "parquet"
    with replacing(path) as temporary, TableWriter(temporary, form, schema) as writer:
        yield writer


def bytes_text(n_bytes: float) -> str:
    """Return a size in words, in powers of 1000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def lines_of(rows: Iterator[tuple[str, str]]) -> str:
    """Return names and values in two columns."""
    pairs = [(plain_text(name), plain_text(value)) for name, value in rows]
    width = max(len(name) for name, _ in pairs)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in pairs)
