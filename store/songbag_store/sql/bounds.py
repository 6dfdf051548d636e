"""The bounds of parts of recordings, and of segments of songs, as a table of a user gives them."""

from __future__ import annotations

import dataclasses
import re
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.format.index import END, START, are_parts
from songbag_store.sql.manifest import Manifest
from songbag_store.sql.texts import is_number

_OFFSET, _DURATION, _ONSET = "offset", "duration", "onset"
_GAPS = re.compile(r"[\s_-]+")
_DIGITS = 9
"""Decimals of a sum of offset and duration: far below the length of a sample."""
_ROWS_AT_ONCE = 1 << 13
_NUMBER = r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*$"
_AS_NUMBERS = "Write seconds as numbers, such as 12.5."
_NAME_THEM = "Name the columns `start_s` and `end_s`, in seconds."


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """Where the songs of a manifest begin and end in their files.

    Attributes
    ----------
    columns : tuple of str
        The columns of the manifest that say so.
    starts, ends : pyarrow.ChunkedArray
        In seconds, float64; null where a song begins or ends with its file.
    """

    columns: tuple[str, ...]
    starts: pa.ChunkedArray
    ends: pa.ChunkedArray

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Read `start_s` and `end_s`, or `offset` and `duration`; a `duration` without `offset` is no bound.

        Raises
        ------
        UsageError
            If bounds are given in two ways, are no seconds, or a part has no length; with the line.
        """
        found = _columns(manifest)
        n_rows = manifest.table.num_rows
        none = pa.chunked_array([pa.nulls(n_rows, pa.float64())])
        given = {name: _seconds(manifest, column) for name, column in found.items()}
        starts, ends = (given.get(one, given.get(other, none)) for one, other in ((START, _OFFSET), (END, END)))
        if _DURATION in given:
            ends = pc.round(pc.add(pc.fill_null(starts, 0.0), given[_DURATION]), _DIGITS)
        empty = pc.fill_null(pc.less_equal(ends, pc.fill_null(starts, 0.0)), False)
        if (row := pc.index(empty, True).as_py()) >= 0:
            start, end = (_text(column[row].as_py() or 0.0) for column in (starts, ends))
            what = f"the part ends at {end} s, and does not begin before that, but at {start} s"
            raise manifest.fault(what, row, remedy="Both are in seconds from the begin of the file.")
        return cls(tuple(found.values()), starts, ends)

    def ids(self, paths: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return the ids of songs that have none: the path, and for a part of a file ``path#start-end``."""
        return part_ids(pa.table({"path": paths, START: self.starts, END: self.ends}))


def part_ids(songs: pa.Table) -> pa.ChunkedArray:
    """Return for each row its `path`, and for a part of a file ``path#start-end``; rows of an index may lack bounds."""
    if not pc.any(are_parts(songs), min_count=0).as_py():
        return songs["path"]
    pieces = (piece.to_pydict() for piece in songs.select(["path", START, END]).to_batches(_ROWS_AT_ONCE))
    ids = ([_id(*song) for song in zip(*piece.values(), strict=True)] for piece in pieces)
    return pa.chunked_array([pa.array(own, pa.string()) for own in ids])


def _columns(manifest: Manifest) -> dict[str, str]:
    """Return which columns of a manifest are bounds, by what they mean."""
    found: dict[str, str] = {}
    for name in manifest.table.column_names:
        word = _GAPS.sub("_", name.strip()).casefold()
        if word in (START, END, _OFFSET, _DURATION, _ONSET):
            if word in found and word != _DURATION:
                raise manifest.fault(f"the columns {found[word]!r} and {name!r} say the same", remedy="Leave one out.")
            found.setdefault(word, name)
    onset = found.pop(_ONSET, None)
    if onset is not None and _OFFSET in found:
        what = f"beside {onset!r}, the column {found[_OFFSET]!r} may be an end or a start"
        raise manifest.fault(what, remedy=_NAME_THEM)
    ours = found.keys() & {START, END}
    if _OFFSET not in found and ours != {START}:
        found.pop(_DURATION, None)  # that of the file, for all that is known
    if ours and found.keys() & {_OFFSET, _DURATION}:
        named = " and ".join(map(repr, found.values()))
        raise manifest.fault(f"the columns {named} say in two ways what a part is", remedy=_NAME_THEM)
    return found


def _seconds(manifest: Manifest, name: str) -> pa.ChunkedArray:
    """Return a column of seconds as float64."""
    column = manifest.table[name]
    kind = column.type
    if pa.types.is_string(kind):
        # A CSV takes 05.0 and 1e0 for codes; a bound is none.
        if (row := pc.index(pc.match_substring_regex(column, _NUMBER), False).as_py()) >= 0:
            what = f"the column {name!r} holds {column[row].as_py()[:40]!r} instead of seconds"
            raise manifest.fault(what, row, remedy=_AS_NUMBERS)
        column = pc.utf8_trim_whitespace(column)
    elif not is_number(kind) and not pa.types.is_null(kind):
        raise manifest.fault(f"the column {name!r} holds {kind} instead of seconds", remedy=_AS_NUMBERS)
    seconds = column.cast(pa.float64(), safe=False)
    for bad, what in (
        (pc.invert(pc.is_finite(seconds)), "is no number of seconds"),
        (pc.less(seconds, 0.0), "is negative"),
    ):
        if (row := pc.index(pc.fill_null(bad, False), True).as_py()) >= 0:
            remedy = "Leave it empty where the part begins or ends with its file."
            raise manifest.fault(f"the column {name!r} {what} ({seconds[row].as_py()})", row, remedy=remedy)
    return seconds


def _id(path: str, start: float | None, end: float | None) -> str:
    if start is None and end is None:
        return path
    return f"{path}#{_text(start or 0.0)}-{'' if end is None else _text(end)}"


def _text(seconds: float) -> str:
    """Return seconds in the fewest digits that tell them from any other number, without an exponent."""
    return str(np.format_float_positional(seconds, trim="-"))
