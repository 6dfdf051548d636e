"""How tables look: for people in a terminal, for other programs as CSV, JSON or Parquet."""

from __future__ import annotations

import datetime
import io
import json
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from rich.console import Console
from rich.table import Table
from rich.text import Text

from songbag_store.errors import StoreError, UsageError

Format = Literal["table", "csv", "json", "parquet"]

_MOST_ROWS = 200
_NARROWEST = 8


def write_table(table: pa.Table, form: Format, output: Path | None) -> None:
    """Write a query's result to a file, or to standard output.

    Raises
    ------
    UsageError
        If Parquet is to go to a terminal.
    StoreError
        If the file cannot be written.
    """
    if form == "table" and output is None:
        print_table(table)
        return
    data = _TEXTS[form](table) if form != "parquet" else _parquet(table)
    if output is not None:
        try:
            output.write_bytes(data)
        except OSError as error:
            raise StoreError(f"cannot be written ({error.strerror})", where=str(output)) from error
    elif form == "parquet" and sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal", where="--format", remedy="Give a file with --output.")
    else:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def print_table(table: pa.Table) -> None:
    """Print a table; in a terminal, long cells are cut and columns that find no room are named below it."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    shown = table.column_names[: max(1, width // (_NARROWEST + 3))]
    print(_drawn(table.select(shown), width), end="")
    hidden = table.column_names[len(shown) :]
    if table.num_rows > _MOST_ROWS:
        print(f"... {table.num_rows - _MOST_ROWS:,} more rows; --format csv gives all of them")
    if hidden:
        print(f"... {len(hidden)} more columns: {', '.join(map(_text, hidden))}")


def _drawn(table: pa.Table, width: int) -> str:
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for field in table.schema:
        numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        justify: Literal["right", "left"] = "right" if numeric else "left"
        grid.add_column(Text(_text(field.name)), no_wrap=True, overflow="ellipsis", justify=justify)
    for row in table.slice(0, _MOST_ROWS).to_pylist():
        grid.add_row(*(Text(_text(value)) for value in row.values()))
    target = io.StringIO()
    Console(file=target, width=width, force_terminal=sys.stdout.isatty()).print(grid)
    return "\n".join(line.rstrip() for line in target.getvalue().splitlines()) + "\n"


def _text(value: object) -> str:
    """Show a value on one line; a control character of a stranger's file name must not reach the terminal."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, list) and len(value) > 4:
        return f"[{len(value)} values]"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(value))


def _csv(table: pa.Table) -> bytes:
    """CSV has no lists: they go in as JSON."""
    for position, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [None if v is None else json.dumps(v, default=str) for v in table[field.name].to_pylist()]
            table = table.set_column(position, field.name, pa.array(texts, pa.string()))
    target = io.BytesIO()
    pyarrow.csv.write_csv(table, target)
    return target.getvalue()


def _json(table: pa.Table) -> bytes:
    rows = [{name: _plain(value) for name, value in row.items()} for row in table.to_pylist()]
    return (json.dumps(rows, ensure_ascii=False, indent=1, default=str) + "\n").encode(errors="backslashreplace")


def _plain(value: Any) -> Any:
    """JSON knows neither NaN nor infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain_table(table: pa.Table) -> bytes:
    return _drawn(table, 10_000).encode()


def _parquet(table: pa.Table) -> bytes:
    target = io.BytesIO()
    pyarrow.parquet.write_table(table, target, compression="zstd")
    return target.getvalue()


_TEXTS = {"csv": _csv, "json": _json, "table": _plain_table}


def bytes_text(n_bytes: float) -> str:
    """Return a size in words, in powers of 1000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def lines_of(rows: Iterator[tuple[str, str]]) -> str:
    """Return names and values in two columns."""
    pairs = list(rows)
    width = max(len(name) for name, _ in pairs)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in pairs)
