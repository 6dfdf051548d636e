"""What may leak although nobody said so: columns whose values look as if their songs belonged together."""

from __future__ import annotations

import shlex

import numpy as np
import pyarrow as pa

from songbag_training.splits.groups import keys_of, likely_groups
from songbag_training.splits.split import Split
from songbag_training.types import Ints


def group_notes(split: Split, songs: pa.Table) -> list[str]:
    """Return a note for each artist or album column whose values a split tears apart, with what keeps them together.

    Parameters
    ----------
    split : Split
        Any split.
    songs : pyarrow.Table
        Rows of the index of its songs, in the same order.
    """
    number_of = {part: number for number, part in enumerate(split.names)}
    parts = np.array([number_of[part] for part in split.parts], np.int64)
    notes = []
    for column in likely_groups(songs.schema):
        if column not in split.group and (n_torn := _n_torn(songs[column], parts)):
            what = f"{n_torn} value{'s' if n_torn > 1 else ''} of {column!r} have songs in more than one part"
            notes.append(f"note: {what}, which flatters the metrics: --group {shlex.quote(column)} keeps them together")
    return notes


def _n_torn(column: pa.ChunkedArray, parts: Ints) -> int:
    """Count the values whose songs are in more than one part."""
    rows, values = keys_of(column)
    if not len(rows):
        return 0
    lowest = np.full(int(values.max()) + 1, len(parts))
    highest = np.full(len(lowest), -1)
    np.minimum.at(lowest, values, parts[rows])
    np.maximum.at(highest, values, parts[rows])
    return int((lowest < highest).sum())
