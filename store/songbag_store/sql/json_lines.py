"""JSON objects: one on each line, as speech toolkits write their manifests, or a list of them, as `-o` writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from songbag_store.errors import UsageError
from songbag_store.sql.encoding import check_text, encoding_of, fault, shown

_ROWS_AT_ONCE = 1 << 13
_SEEN = 100
_NO_SPACE = re.compile(r"\S")
_ONE_TYPE = "Give the values of a column one type."

Row = tuple[int, dict[str, Any]]
"""A line, counted from 1, and its object."""


def read_lines(path: Path) -> pa.Table:
    """Read a table; a column that an object lacks is null there. A song_id that is a whole number becomes text.

    Raises
    ------
    UsageError
        If there is something else than an object, or a column holds values of several types; with the line.
    """
    with path.open("rb") as file:
        encoding = encoding_of(file.read(4))
    check_text(path, encoding)
    rows = _rows(path, encoding)
    schema, pieces = pa.schema([]), list[pa.Table]()
    while block := list(islice(rows, _ROWS_AT_ONCE)):
        pieces.append(_table(path, block))
        try:
            # Joined as it grows, so that the first block of another type is known by its lines.
            schema = pa.unify_schemas([schema, pieces[-1].schema], promote_options="permissive")
        except pa.ArrowException as error:
            what = f"lines {block[0][0]} to {block[-1][0]}: {str(error).splitlines()[0]}"
            raise fault(path, what, _ONE_TYPE) from error
    return pa.concat_tables([schema.empty_table(), *pieces], promote_options="permissive")


def line_of_object(path: Path, row: int) -> int:
    """Return the line of a row."""
    with path.open("rb") as file:
        encoding = encoding_of(file.read(4))
    return next(line for number, (line, _) in enumerate(_rows(path, encoding)) if number == row)


def _rows(path: Path, encoding: str) -> Iterator[Row]:
    decoder = json.JSONDecoder(parse_int=_whole, object_pairs_hook=_once)
    with path.open(encoding=encoding) as file:
        first = next((character for character in iter(lambda: file.read(1), "") if not character.isspace()), "")
        file.seek(0)
        values = _listed(path, file.read(), decoder) if first == "[" else _on_lines(path, file, decoder)
        for number, text, value in values:
            if not isinstance(value, dict) or not value:
                raise fault(path, f"line {number} is no JSON object with columns: {shown(text.strip())}")
            if type(value.get("song_id")) is int:
                value["song_id"] = str(value["song_id"])
            yield number, value


def _on_lines(path: Path, file: TextIO, decoder: json.JSONDecoder) -> Iterator[tuple[int, str, Any]]:
    """Yield line, text and value of each line that has something."""
    for number, text in enumerate(file, 1):
        if text.strip():
            try:
                yield number, text, decoder.decode(text)
            except (ValueError, RecursionError) as error:
                raise _unreadable(path, number, error, text) from error


def _listed(path: Path, text: str, decoder: json.JSONDecoder) -> Iterator[tuple[int, str, Any]]:
    """Yield line, text and value of each element of a list."""
    at, seen, line = _beyond_space(text, text.index("[") + 1), 0, 1
    more = text[at : at + 1] != "]"
    while more:
        line, seen = line + text.count("\n", seen, at), at
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise _unreadable(path, line, error, text[at : at + _SEEN].partition("\n")[0]) from error
        yield line, text[at : at + _SEEN], value
        at = _beyond_space(text, end)
        more = text[at : at + 1] == ","
        at = _beyond_space(text, at + 1) if more else at
    if text[at : at + 1] != "]":
        raise fault(path, f"the list does not go on, nor end, behind line {line}: {shown(text[at : at + _SEEN])}")
    if behind := text[at + 1 :].strip():
        raise fault(path, f"there is something behind the end of the list: {shown(behind)}")


def _beyond_space(text: str, at: int) -> int:
    """Return the place of the next character that is no space."""
    found = _NO_SPACE.search(text, at)
    return found.start() if found else len(text)


def _unreadable(path: Path, line: int, error: Exception, text: str) -> UsageError:
    reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    return fault(path, f"line {line} is no JSON object that can be read ({reason}): {shown(text)}")


def _whole(text: str) -> int:
    number = int(text)
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError(f"{shown(text)} is a number above 64 bits; put it between quotation marks")
    return number


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it names a column twice")
    return found


def _table(path: Path, block: list[Row]) -> pa.Table:
    """Make a table of some rows, each column by itself so that a fault names its column and line."""
    names = dict.fromkeys(name for _, row in block for name in row)
    return pa.table({name: _column(path, name, [(line, row.get(name)) for line, row in block]) for name in names})


def _column(path: Path, name: str, values: list[tuple[int, Any]]) -> pa.Array:
    if (column := _array(values)) is not None:
        return column
    # The first value with which the column cannot be made is the one to name: found by halving.
    fits, breaks = 0, len(values)
    while breaks - fits > 1:
        middle = (fits + breaks) // 2
        fits, breaks = (fits, middle) if _array(values[:middle]) is None else (middle, breaks)
    line, value = values[breaks - 1]
    what = f"line {line}: the column {name!r} holds {shown(json.dumps(value))}, which does not go with the lines before"
    raise fault(path, what, _ONE_TYPE)


def _array(values: list[tuple[int, Any]]) -> pa.Array | None:
    """Return values as a column, None if they are of several types."""
    try:
        return pa.array([value for _, value in values])
    except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError):
        return None
