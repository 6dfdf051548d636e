"""Tables as output: drawn in a terminal, or as CSV, JSON or Parquet."""

from __future__ import annotations

import datetime
import io
import json
import math
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, Self

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from songbag_store.errors import UsageError
from songbag_store.storage.files import replacing

Format = Literal["table", "csv", "json", "parquet"]

_MOST_ROWS = 200
_NARROWEST = 12
_GAP = 2
_PIPE_WIDTH = 10_000
_ROWS_AT_ONCE = 100_000


def write_table(table: pa.Table, form: Format, output: Path | None) -> None:
    """Write a query's result to a file, or to standard output.

    Raises
    ------
    UsageError
        If Parquet would go to a terminal.
    FileError
        If the file cannot be written; what was there before is untouched.
    """
    if form == "table" and output is None:
        print_table(table)
    elif form == "parquet" and output is None and sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal", place="format", remedy="Give a file with `output`.")
    elif output is not None:
        with replacing(output) as temporary, temporary.open("wb") as file:
            _write(table, form, file)
    else:
        _write(table, form, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _write(table: pa.Table, form: Format, file: BinaryIO) -> None:
    if form == "csv" or form == "parquet":
        with TableWriter(file, form, table.schema) as writer:
            writer.add(table)
    else:
        file.write(_json(table) if form == "json" else _drawn(table, _PIPE_WIDTH)[0].encode())


class TableWriter:
    """Writes tables to one CSV or Parquet file and holds about 100,000 rows at a time; see `writing_table`."""

    def __init__(self, file: Path | BinaryIO, form: Literal["csv", "parquet"], schema: pa.Schema) -> None:
        self._flat = form == "csv"
        if self._flat:
            self._writer = pyarrow.csv.CSVWriter(file, _flat_table(schema.empty_table()).schema)
        else:
            self._writer = pyarrow.parquet.ParquetWriter(file, schema, compression="zstd")
        self._held: list[pa.Table] = []
        self._n_held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def add(self, table: pa.Table) -> None:
        """Add some rows."""
        self._held.append(_flat_table(table) if self._flat else table)
        self._n_held += table.num_rows
        if self._n_held >= _ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        """Write what is held, to Parquet as one row group."""
        if self._held:
            self._writer.write_table(pa.concat_tables(self._held).combine_chunks())
        self._held, self._n_held = [], 0


@contextmanager
def writing_table(path: Path, schema: pa.Schema) -> Iterator[TableWriter]:
    """Yield a writer of a new table, which is written as a whole or not at all; the suffix decides the format."""
    form: Literal["csv", "parquet"] = "csv" if path.suffix.lower() == ".csv" else "parquet"
    with replacing(path) as temporary, TableWriter(temporary, form, schema) as writer:
        yield writer


def _flat_table(table: pa.Table) -> pa.Table:
    """Return a table for CSV, with lists as JSON."""
    for position, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [None if v is None else json.dumps(v, default=str) for v in table[position].to_pylist()]
            table = table.set_column(position, field.name, pa.array(texts, pa.string()))
    return table


def print_table(table: pa.Table) -> None:
    """Print a table; in a terminal, long cells are cut and columns without room are listed below it."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH
    drawn, hidden = _drawn(table, width)
    print(drawn, end="")
    if table.num_rows > _MOST_ROWS:
        print(f"... {table.num_rows - _MOST_ROWS:,} more rows; --format csv gives all of them")
    if hidden:
        print(f"... {len(hidden)} more columns: {', '.join(map(_text, hidden))}")


def _drawn(table: pa.Table, width: int) -> tuple[str, list[str]]:
    """Return the table as text, and the names of the columns without room."""
    head = table.slice(0, _MOST_ROWS)
    texts = [[_text(name), *map(_text, head[position].to_pylist())] for position, name in enumerate(head.column_names)]
    numeric = [pa.types.is_integer(t) or pa.types.is_floating(t) for t in table.schema.types]
    widths = _column_widths([max(map(cell_len, cells)) for cells in texts], numeric, width)
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for cells, right, n_cells in zip(texts, numeric, widths, strict=False):
        justify: Literal["right", "left"] = "right" if right else "left"
        grid.add_column(Text(cells[0]), no_wrap=True, overflow="ellipsis", justify=justify, width=n_cells)
    for row in zip(*(cells[1:] for cells in texts[: len(widths)]), strict=True):
        grid.add_row(*map(Text, row))
    target = io.StringIO()
    Console(file=target, width=width, force_terminal=sys.stdout.isatty()).print(grid)
    text = "\n".join(line.rstrip() for line in target.getvalue().splitlines()) + "\n"
    return text, table.column_names[len(widths) :]


def _column_widths(natural: list[int], numeric: list[bool], width: int) -> list[int]:
    """Return the widths of the first columns, as many as there is room for.

    A number is never cut. Text is cut, if it must be, to one largest width for all columns, so that a long title does
    not push out other columns.
    """
    least = [n if exact else min(n, _NARROWEST) for n, exact in zip(natural, numeric, strict=True)]
    n_shown = 1
    while n_shown < len(least) and sum(least[: n_shown + 1]) + _GAP * n_shown <= width:
        n_shown += 1
    room = width - _GAP * (n_shown - 1)
    shown = list(zip(natural[:n_shown], least, strict=False))
    widest = _NARROWEST
    while widest < max(natural) and sum(max(low, min(n, widest + 1)) for n, low in shown) <= room:
        widest += 1
    return [min(max(low, min(n, widest)), width) for n, low in shown]


def _text(value: object) -> str:
    """Return a value on one line."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, list) and len(value) > 4:
        return f"[{len(value)} values]"
    return plain_text(str(value))


def plain_text(text: str) -> str:
    """Return text on one line and without control characters: a file name must not control the terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _json(table: pa.Table) -> bytes:
    # JSON has neither NaN nor infinity.
    rows = [{name: _number_or_null(value) for name, value in row.items()} for row in table.to_pylist()]
    return (json.dumps(rows, ensure_ascii=False, indent=1, default=str) + "\n").encode(errors="backslashreplace")


def _number_or_null(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
