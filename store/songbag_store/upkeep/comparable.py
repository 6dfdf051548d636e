"""Values of labels as texts that are equal where the values are, though the types of their columns differ."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.sql.texts import values_of

_BELOW = 2.0**63
"""Whole floats below this are written as whole numbers are, without an exponent."""
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_LAST_ZEROS = r"(\.[0-9]*?)0+(Z?)$", r"\1\2"
_LAST_POINT = r"\.(Z?)$", r"\1"
_MIDNIGHT = r" 00:00:00$", ""


def comparable_texts(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the values of a column as texts.

    Whole numbers read alike as integers, floats and decimals; times in any unit, and in UTC if they have a zone; a time
    at midnight is a date. Lists and structures are JSON: the order of a structure's fields says nothing, and neither
    does a field that is null.
    """
    kind = column.type
    if pa.types.is_string(kind):
        return column
    if pa.types.is_nested(kind):
        return _nested(name, column)
    if pa.types.is_floating(kind):
        return _floats(column)
    if pa.types.is_duration(kind):
        return _floats(pc.divide(column.cast(pa.int64()).cast(pa.float64(), safe=False), _PER_SECOND[kind.unit]))
    texts = column.cast(in_utc(kind)).cast(pa.string())
    if pa.types.is_decimal(kind) or pa.types.is_time(kind) or pa.types.is_timestamp(kind):
        for pattern, rest in (_LAST_ZEROS, _LAST_POINT):
            texts = pc.replace_substring_regex(texts, pattern, rest)
    return pc.replace_substring_regex(texts, *_MIDNIGHT) if pa.types.is_timestamp(kind) else texts


def in_utc(kind: pa.DataType) -> pa.DataType:
    """Return the type of the same times in UTC, for one with a zone, which a system may not know."""
    return pa.timestamp(kind.unit, "UTC") if pa.types.is_timestamp(kind) and kind.tz else kind


def times_as_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column with texts instead of dates and times: Python lacks some, such as those after the year 9999."""
    for leaf in (in_utc, lambda kind: pa.string() if pa.types.is_temporal(kind) else kind):
        column = column.cast(_with_leaves(column.type, leaf))
    return column


def _floats(column: pa.ChunkedArray) -> pa.ChunkedArray:
    is_whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), _BELOW))
    whole = pc.if_else(is_whole, column, 0).cast(pa.int64()).cast(pa.string())
    return pc.if_else(is_whole, whole, column.cast(pa.string()))


def _nested(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    column = times_as_texts(column)
    pieces = ([None if value is None else _json(value) for value in values_of(name, one)] for one in column.chunks)
    return pa.chunked_array([pa.array(own, pa.string()) for own in pieces], pa.string())


def _with_leaves(kind: pa.DataType, leaf: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_with_leaves(field.type, leaf)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(kind.key_type, _with_leaves(kind.item_type, leaf))
    if pa.types.is_nested(kind):
        return pa.list_(kind.value_field.with_type(_with_leaves(kind.value_type, leaf)))
    return leaf(kind)


def _json(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False, sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return {str(key): _plain(item) for key, item in value}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() and abs(value) < _BELOW else value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else format(value.normalize(), "f")
    return value
