"""Values as text: in the cells of a table, in CSV and in JSON."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, TypeAlias

import pyarrow as pa

from songbag_store.errors import QueryError
from songbag_store.terminal import plain_text

ToText: TypeAlias = Callable[[Any], str]
"""Takes a value that is not null."""


def values_of(name: str, column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return the values of a column as Python objects.

    Raises
    ------
    QueryError
        If Python has no such values: a date after the year 9999, for instance.
    """
    try:
        values: list[Any] = column.to_pylist()
        return values
    except (ValueError, OverflowError, pa.ArrowException) as error:
        raise not_in_python(name) from error


def not_in_python(name: str) -> QueryError:
    """Return the error for a column with values that Python does not have."""
    remedy = f"Ask for it as text, {quoted(name)}::varchar, or write the result to a .parquet file."
    return QueryError(
        f"the column {name!r} holds dates or times that Python does not have", place="query", remedy=remedy
    )


def quoted(name: str) -> str:
    """Return the name of a column as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def is_number(kind: pa.DataType) -> bool:
    """Return whether the values of a type are numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def cell_text(kind: pa.DataType) -> ToText:
    """Return the function that gives values of a type on one line, as a table shows them."""
    if pa.types.is_floating(kind):
        return lambda value: f"{value:.6g}"
    if pa.types.is_timestamp(kind):
        return lambda value: str(value.isoformat(sep=" ", timespec="seconds"))
    if pa.types.is_nested(kind):
        text = json_text(kind)
        is_long = not pa.types.is_struct(kind)
        return lambda value: f"[{len(value)} values]" if is_long and len(value) > 4 else plain_text(text(value))
    return lambda value: plain_text(_scalar_text(value))


def _scalar_text(value: object) -> str:
    """Return what is no JSON type as text: exact numbers, times in ISO 8601, bytes as SQL shows them."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return "".join(chr(byte) if 32 <= byte < 127 and byte != 92 else f"\\x{byte:02X}" for byte in value)
    return str(value)


def json_lines(batch: pa.RecordBatch, *, ascii_only: bool = False) -> list[str]:
    """Return each row as a JSON object, with all digits of its numbers.

    JSON has neither NaN nor infinity: they become null.
    """
    columns = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        text = json_text(field.type, ascii_only=ascii_only)
        begin = _string(field.name, ascii_only) + ": "
        columns.append([begin + ("null" if value is None else text(value)) for value in values_of(field.name, column)])
    return ["{" + ", ".join(row) + "}" for row in zip(*columns, strict=True)]


def json_text(kind: pa.DataType, *, ascii_only: bool = False) -> ToText:
    """Return the function that gives values of a type as JSON."""
    if pa.types.is_boolean(kind):
        return lambda value: "true" if value else "false"
    if pa.types.is_floating(kind):
        return lambda value: repr(value) if math.isfinite(value) else "null"
    if is_number(kind):
        return _scalar_text
    if pa.types.is_map(kind):
        of_item = _or_null(json_text(kind.item_type, ascii_only=ascii_only))
        return lambda pairs: _object(((_scalar_text(key), of_item(item)) for key, item in pairs), ascii_only)
    if pa.types.is_struct(kind):
        texts = {field.name: _or_null(json_text(field.type, ascii_only=ascii_only)) for field in kind}
        return lambda row: _object(((name, text(row[name])) for name, text in texts.items()), ascii_only)
    if pa.types.is_nested(kind):
        of_value = _or_null(json_text(kind.value_type, ascii_only=ascii_only))
        return lambda values: "[" + ", ".join(map(of_value, values)) + "]"
    return lambda value: _string(_scalar_text(value), ascii_only)


def _or_null(text: ToText) -> ToText:
    return lambda value: "null" if value is None else text(value)


def _object(pairs: Iterable[tuple[str, str]], ascii_only: bool) -> str:
    return "{" + ", ".join(f"{_string(name, ascii_only)}: {text}" for name, text in pairs) + "}"


def _string(text: str, ascii_only: bool) -> str:
    written = json.dumps(text, ensure_ascii=ascii_only)
    # Control characters that JSON allows could steer a terminal, and half a surrogate pair is no UTF-8.
    return written if written.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in written)


def flat_table(table: pa.Table) -> pa.Table:
    """Return a table for CSV: what is nested as JSON, bytes as SQL shows them."""
    for position, field in enumerate(table.schema):
        kind = field.type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            text = json_text(kind) if pa.types.is_nested(kind) else _scalar_text
            values = values_of(field.name, table[position])
            texts = pa.array([None if value is None else text(value) for value in values], pa.string())
            table = table.set_column(position, field.name, texts)
    return table
