"""Tables that users write, as CSV or Parquet; every fault is reported with its line or column."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from songbag_store.errors import UsageError
from songbag_store.format.check import repeated


def load_table(path: Path) -> pa.Table:
    """Read a CSV or Parquet file.

    In a CSV only an empty field is null: an artist may be called "NA". The columns `song_id` and `path` are text, and
    so is a column of numbers if one has a leading zero.

    Raises
    ------
    UsageError
        If it is missing or cannot be read.
    """
    try:
        if path.suffix.lower() == ".parquet":
            return _plain(path, pyarrow.parquet.read_table(path, partitioning=None))
        return _keep_leading_zeros(path, _plain(path, _read_csv(path, ["song_id", "path"])))
    except (pa.ArrowException, OSError) as error:
        raise fault(path, f"it cannot be read ({str(error).splitlines()[0]})") from error


def _read_csv(path: Path, as_text: list[str], *, only_these: bool = False) -> pa.Table:
    options = pyarrow.csv.ConvertOptions(
        null_values=[""],
        strings_can_be_null=True,
        column_types=dict.fromkeys(as_text, pa.string()),
        include_columns=as_text if only_these else [],
    )
    parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
    # Every thread of Arrow keeps its own memory until the process ends.
    reading = pyarrow.csv.ReadOptions(use_threads=False)
    return pyarrow.csv.read_csv(path, read_options=reading, convert_options=options, parse_options=parsing)


def _keep_leading_zeros(path: Path, table: pa.Table) -> pa.Table:
    """Read columns of numbers as text again if they hold codes: 007 is not 7."""
    numbers = [f.name for f in table.schema if pa.types.is_integer(f.type) or pa.types.is_floating(f.type)]
    if not numbers:
        return table
    texts = _read_csv(path, numbers, only_these=True)
    for name in numbers:
        if pc.any(pc.match_substring_regex(texts[name], r"^[+-]?0[0-9]")).as_py():
            table = table.set_column(table.schema.get_field_index(name), name, texts[name])
    return table


def _plain(path: Path, table: pa.Table) -> pa.Table:
    """Cast every column to the plain types of an index; refuse bytes."""
    if twice := [name for name, n in Counter(table.column_names).items() if n > 1]:
        raise fault(path, f"there are two columns {twice[0]!r}")
    return table.cast(pa.schema([pa.field(f.name, _plain_type(path, f.name, f.type)) for f in table.schema]))


def _plain_type(path: Path, name: str, kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain_type(path, name, kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_plain_type(path, name, kind.value_type))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        raise fault(path, f"the column {name!r} holds bytes that are not UTF-8 text")
    return kind


def text_column(path: Path, table: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column of text; every row must have one.

    Raises
    ------
    UsageError
        If it holds another type, or a row is empty or holds a NUL.
    """
    column = table[name]
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        raise fault(path, f"the column {name!r} holds {column.type} instead of text")
    column = column.cast(pa.string())
    for bad, what in ((pc.is_null(column), "is empty"), (pc.match_substring(column, "\0"), "holds a NUL character")):
        hit = pc.index(pc.fill_null(bad, False), True).as_py()
        if hit >= 0:
            raise fault(path, f"line {line_of(path, hit)}: the column {name!r} {what}")
    return column


def refuse_duplicates(path: Path, song_ids: pa.ChunkedArray) -> None:
    """Refuse a list that has a song twice.

    Raises
    ------
    UsageError
        With the song and both lines.
    """
    for song_id in repeated(song_ids.iterchunks):
        first, second, *_ = pc.indices_nonzero(pc.equal(song_ids, song_id)).to_pylist()
        lines = f"lines {line_of(path, first)} and {line_of(path, second)}"
        raise fault(path, f"the song_id {song_id!r} stands twice, in {lines}")


def line_of(path: Path, row: int) -> int:
    """Return the line of a row, counted from 1; in a CSV, line 1 is the header, and a row may take several lines."""
    if path.suffix.lower() != ".csv":
        return row + 1
    begins = 1
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.reader(file)
        left = row + 1
        for record in reader:
            # pyarrow skips empty lines, so they do not count as rows.
            if record and left == 0:
                break
            left -= bool(record)
            begins = reader.line_num + 1
    return begins


def fault(path: Path, what: str) -> UsageError:
    """Return the error for a table that cannot be used."""
    return UsageError(what, place=str(path), remedy="Correct the file; nothing was done yet.")
