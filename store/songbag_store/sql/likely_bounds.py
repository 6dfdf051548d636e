"""Columns that other tools write for the begin and the end of a part, under names that songbag does not read."""

from __future__ import annotations

import re
from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.format.index import END, START
from songbag_store.sql.manifest import Manifest
from songbag_store.sql.texts import is_number

_BEGINS = ("start", "starts", "begin", "begins", "beginning", "onset", "from", "t0", "tmin")
_ENDS = ("end", "ends", "ending", "stop", "stops", "to", "until", "t1", "tmax")
_LENGTHS = ("duration", "dur", "length")
_EITHER = "offset"
"""The begin in some tools; the end in those that write an onset."""

_OF = "segment|seg|clip|part|excerpt|chunk|event|time|t"
_WHAT = "time|times|point|position|pos|offset"
_UNITS = (
    "s|sec|secs|second|seconds|ms|msec|msecs|millis|millisecond|milliseconds|us|ns|min|mins|minute|minutes"
    "|sample|samples|frame|frames"
)
_NAMES = re.compile(f"(?:{_OF})?(?P<word>{'|'.join((*_BEGINS, *_ENDS, *_LENGTHS, _EITHER))})(?:{_WHAT})?(?:{_UNITS})?")
_NO_LETTERS = re.compile(r"[\W_]+")
_TIMES = r"^\s*[+-]?[0-9]+(:[0-9]{2}){0,2}([.,][0-9]*)?([eE][+-]?[0-9]+)?\s*$"
"""Texts that are numbers, or times such as 1:30."""

_REMEDY = (
    f"If they are, name them `{START}` and `{END}`, in seconds (a begin and a length: `offset` and `duration`). "
    "If not, give them other names."
)


def refuse_likely(manifest: Manifest, taken: Collection[str]) -> None:
    """Refuse a table with numbers for a begin and for an end, or a length, of which one would be a column like others.

    Parameters
    ----------
    manifest : Manifest
        The table.
    taken : collection of str
        The columns that are read as bounds.

    Raises
    ------
    UsageError
        If there are such columns; with their names.
    """
    columns = {name: kind for name in manifest.table.column_names if (kind := _kind(name, taken, manifest.table))}
    begins, ends, lengths = ([name for name in columns if columns[name] == one] for one in (_BEGINS, _ENDS, _LENGTHS))
    for name in (one for one in columns if columns[one] == (_EITHER,)):
        # Beside an onset an offset is an end, unless it is read as a begin.
        (ends if begins and name not in taken else begins).append(name)
    if not begins or not (ends or lengths):
        return
    # Of each, the one that is read, else the first.
    pair = [max(names, key=lambda name: name in taken) for names in (begins, ends + lengths)]
    read = [name for name in pair if name in taken]
    if len(read) < 2:
        which = f"only {read[0]!r} is" if read else "neither is"
        what = f"the columns {' and '.join(map(repr, pair))} look like the bounds of parts, of which {which} read"
        raise manifest.fault(what, remedy=_REMEDY)


def _kind(name: str, taken: Collection[str], table: pa.Table) -> tuple[str, ...]:
    """Return what a column of times is by its name: `_BEGINS`, `_ENDS`, `_LENGTHS`, an offset; empty for any other."""
    found = _NAMES.fullmatch(_NO_LETTERS.sub("", name).casefold())
    if found is None or not (name in taken or _are_times(table[name])):
        return ()
    word = found["word"]
    return next((words for words in (_BEGINS, _ENDS, _LENGTHS) if word in words), (word,))


def _are_times(column: pa.ChunkedArray) -> bool:
    """Return whether there are values, all of them numbers or times of day or lengths of time."""
    kind = column.type
    if column.null_count == len(column):
        return False
    if pa.types.is_string(kind):
        filled = column.filter(pc.not_equal(pc.utf8_trim_whitespace(column), ""))
        return len(filled) > 0 and bool(pc.all(pc.match_substring_regex(filled, _TIMES)).as_py())
    return is_number(kind) or pa.types.is_time(kind) or pa.types.is_duration(kind)
