"""Values of a column of the index: text, whole numbers, booleans, or lists of these."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_training.types import Bools


def encoded(values: pa.Array) -> pa.DictionaryArray:
    """Return values as an Arrow dictionary array."""
    return values if pa.types.is_dictionary(values.type) else values.dictionary_encode()


def known_values(values: pa.Array) -> tuple[pa.DictionaryArray, Bools]:
    """Return values as a dictionary array, and which of them are neither null nor NaN nor blank text."""
    codes = encoded(values)
    known = codes.dictionary.is_valid()
    if is_text(codes.dictionary.type):
        # Cast, because Arrow has no such function for views of text. It strips what Python's `str.strip` strips.
        texts = pc.utf8_trim_whitespace(codes.dictionary.cast(pa.large_string()))
        known = pc.fill_null(pc.not_equal(texts, ""), False)
    elif pa.types.is_floating(codes.dictionary.type):
        known = pc.fill_null(pc.invert(pc.is_nan(codes.dictionary.cast(pa.float64()))), False)
    # Position -1, which stands for null, is that of the appended False.
    of_codes = np.append(known.to_numpy(zero_copy_only=False), False)
    return codes, of_codes[codes.indices.fill_null(-1).to_numpy(zero_copy_only=False)]


def whole_values(values: pa.Array) -> list[Any]:
    """Return values as Python objects; whole numbers that are stored as floats or decimals become int, NaN None.

    pandas makes floats of whole numbers as soon as one of them is missing.

    Raises
    ------
    ValueError
        If a number has a fraction, is infinite, or is too large to be told apart from its neighbours; the message says
        which.
    """
    kind = values.type
    if pa.types.is_decimal(kind):
        numbers = values.to_pylist()
        odd = next((one for one in numbers if one is not None and one != one.to_integral_value()), None)
        if odd is not None:
            raise ValueError(f"fractional numbers ({kind}), such as {odd}")
        return [None if one is None else int(one) for one in numbers]
    if not pa.types.is_floating(kind):
        return list(values.to_pylist())
    most = float(2 ** (np.finfo(kind.to_pandas_dtype()).nmant + 1))
    floats = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    there = floats[~np.isnan(floats)]
    odd = there[np.trunc(there) != there]
    if len(odd):
        raise ValueError(f"fractional numbers ({kind}), such as {odd[0]:g}")
    large = there[np.abs(there) >= most]
    if len(large):
        what = f"numbers from {most:.0f} on, such as {large[0]:.0f}, which a column of type {kind} cannot tell apart"
        raise ValueError(what if np.isfinite(large[0]) else f"infinite numbers ({kind})")
    return [None if np.isnan(one) else int(one) for one in floats.tolist()]


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_list(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_nameable(kind: pa.DataType) -> bool:
    """Return whether values of this type can be names of classes or folds: text, numbers or booleans."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return bool(is_text(kind) or number or pa.types.is_boolean(kind) or pa.types.is_null(kind))
