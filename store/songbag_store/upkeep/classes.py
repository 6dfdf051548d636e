"""Counts of the values of a column that could be the classes of a model."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_MOST_CLASSES = 50
_LONGEST_CLASS = 60


def class_counts(column: pa.ChunkedArray) -> dict[str, int]:
    """Count the songs of each value of a column that has few different ones.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        Text, whole numbers (also as floats or decimals), booleans, or lists of these; a song counts for each of the
        values in its list.

    Returns
    -------
    counts : dict of str to int
        Ordered by value; empty if the column holds something else, more than 50 values, or long texts.
    """
    values = column.combine_chunks()
    owners = None
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type):
        owners = pc.list_parent_indices(values).to_numpy(zero_copy_only=False)
        values = pc.list_flatten(values)
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if not _holds_classes(kind):
        return {}
    codes = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    # A column of a million different values is no set of classes, and its values are not looked at.
    if not 0 < len(codes.dictionary) <= 2 * _MOST_CLASSES:
        return {}
    known = codes.indices.is_valid().to_numpy(zero_copy_only=False)
    numbers = codes.indices.filter(codes.indices.is_valid()).to_numpy(zero_copy_only=False).astype(np.int64)
    if owners is not None:
        numbers = np.unique(owners[known] * len(codes.dictionary) + numbers, return_counts=True)[0]
        numbers %= len(codes.dictionary)
    held = np.bincount(numbers, minlength=len(codes.dictionary)).tolist()
    found: dict[Any, int] = {}
    for value, n in zip(map(class_of, codes.dictionary.to_pylist()), held, strict=True):
        if n and value is not None:
            found[value] = found.get(value, 0) + n
    if not all(map(_is_class, found)) or len(found) > _MOST_CLASSES:
        return {}
    return {str(value): found[value] for value in sorted(found)}


def _holds_classes(kind: pa.DataType) -> bool:
    """Return whether values of a type can be classes."""
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return bool(is_text or is_number or pa.types.is_boolean(kind))


def class_of(value: Any) -> Any:
    """Return the class that a value names: a whole number as int; None for blank text and for NaN."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, (float, Decimal)):
        return None if value != value else int(value) if value % 1 == 0 else value
    return value


def _is_class(value: Any) -> bool:
    return isinstance(value, (bool, int)) or (isinstance(value, str) and len(value) <= _LONGEST_CLASS)
