"""A table drawn for a terminal."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TextIO

import pyarrow as pa

from songbag_store.sql.texts import cell_text, is_number, values_of
from songbag_store.terminal import cells as n_cells_of, encodable, fitted, plain_text
from songbag_store.words import counted

_MOST_ROWS = 200
_NARROWEST = 12
_GAP = 2
_PIPE_WIDTH = 10_000


def print_table(table: pa.Table) -> None:
    """Print a table; in a terminal, long cells are cut and columns without room are listed below it."""
    stream = sys.stdout
    width = shutil.get_terminal_size().columns if stream.isatty() else _PIPE_WIDTH
    drawn, hidden = _drawn(table, width, stream)
    if stream.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        head, _, rows = drawn.partition("\n")
        drawn = f"\x1b[1m{head}\x1b[0m\n{rows}"
    stream.write(drawn)
    if table.num_rows > _MOST_ROWS:
        print(f"... {counted(table.num_rows - _MOST_ROWS, 'more row')}; --format csv gives all of them")
    if hidden:
        print(encodable(f"... {counted(len(hidden), 'more column')}: {', '.join(map(plain_text, hidden))}", stream))


def table_text(table: pa.Table) -> str:
    """Return a table as text of any width."""
    return _drawn(table, _PIPE_WIDTH, None)[0]


def _drawn(table: pa.Table, width: int, stream: TextIO | None) -> tuple[str, list[str]]:
    """Return the table as text that a stream can show, and the names of the columns without room."""
    head = table.slice(0, _MOST_ROWS)
    columns = [_cells(name, head[position], stream) for position, name in enumerate(head.column_names)]
    numeric = [is_number(kind) for kind in table.schema.types]
    # Half a time is as useless as half a number.
    whole = [exact or pa.types.is_timestamp(kind) for exact, kind in zip(numeric, table.schema.types, strict=True)]
    widths = _column_widths([max(map(n_cells_of, cells)) for cells in columns], whole, width)
    mark = "…" if stream is None or encodable("…", stream) == "…" else "..."
    shown = [
        [fitted(cell, n_cells, mark=mark, right=right) for cell in cells]
        for cells, right, n_cells in zip(columns, numeric, widths, strict=False)
    ]
    lines = [(" " * _GAP).join(row).rstrip() for row in zip(*shown, strict=True)]
    return "\n".join(lines) + "\n", table.column_names[len(widths) :]


def _cells(name: str, column: pa.ChunkedArray, stream: TextIO | None) -> list[str]:
    """Return the name of a column and the texts of its values."""
    text = cell_text(column.type)
    cells = [plain_text(name), *("-" if value is None else text(value) for value in values_of(name, column))]
    return cells if stream is None else [encodable(cell, stream) for cell in cells]


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
