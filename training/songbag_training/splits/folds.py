"""Folds that a column gives."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from songbag_store.errors import UsageError
from songbag_store.words import counted
from songbag_training.errors import some
from songbag_training.songs.columns import is_nameable, is_text, known_values, whole_values
from songbag_training.types import Ints

MOST_FOLDS = 100
_SURELY_FEW = 10

_LOOKS_LIKE = "A fold column has few values: whole numbers such as 1 to 10, names such as fold1, or train and test."
_DATE = re.compile(r"\s*\d{4}[-/.]\d\d?[-/.]\d\d?\b.*", re.DOTALL)
_FRACTION = re.compile(r"\s*[-+]?\d*[.,]\d*[1-9]\d*\s*|\s*[-+]?\d+(\.\d*)?[eE][-+]\d+\s*")


def folds_of(songs: pa.Table, column: str) -> tuple[str, ...]:
    """Return the fold of each song, as a column says.

    Parameters
    ----------
    songs : pyarrow.Table
        Rows of the index.
    column : str
        Its values are text, whole numbers (also as floats or decimals) or booleans, and few.

    Raises
    ------
    UsageError
        If the column holds something else, or a song has no fold.
    """
    values = songs[column].combine_chunks()
    if not is_nameable(values.type):
        raise _unlike_folds(column, f"is of type {values.type}")
    codes, known = known_values(values)
    numbers: Ints = codes.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    used = np.unique(numbers[known], return_counts=True)[0]
    # Without a list of all values: there may be a million.
    what = f"has {counted(len(used), 'different value')} in {counted(int(known.sum()), 'song')}"
    if len(used) > MOST_FOLDS or (len(used) > _SURELY_FEW and len(used) > known.sum() // 2):
        raise _unlike_folds(column, what)
    try:
        of_codes = whole_values(codes.dictionary)
    except ValueError as error:
        raise _unlike_folds(column, f"holds {error}") from error
    names = [str(of_codes[number]) for number in used.tolist()]
    if is_text(codes.dictionary.type) and names:
        if len(names) == len(numbers) > len({"train", "validation", "test"}):
            raise _unlike_folds(column, what)
        for kind, pattern in (("dates", _DATE), ("fractional numbers", _FRACTION)):
            if all(map(pattern.fullmatch, names)):
                raise _unlike_folds(column, f"holds {kind}, such as {names[0]!r}")
    if not known.all():
        without = songs["song_id"].filter(pa.array(~known)).to_pylist()
        have = counted(len(without), "labelled song has", "labelled songs have")
        what = f"{have} no fold in {column!r}: {some(without)}"
        raise UsageError(what, place="fold_column", remedy="Give them one, or leave them out with `where`.")
    return tuple(np.array([*map(str, of_codes)], object)[numbers].tolist())


def _unlike_folds(column: str, what: str) -> UsageError:
    return UsageError(f"the column {column!r} {what}, which are no folds", place="fold_column", remedy=_LOOKS_LIKE)
