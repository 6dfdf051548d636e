"""Labels of stretches of songs, as a table of a user gives them."""

from __future__ import annotations

import dataclasses
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.format.index import END, SEGMENTS, SEGMENTS_TYPE, START
from songbag_store.sql.bounds import Bounds
from songbag_store.sql.likely_bounds import refuse_likely
from songbag_store.sql.manifest import Manifest
from songbag_store.terminal import plain_text
from songbag_store.words import counted

_NEEDED = "It takes song_id, start_s, end_s and label: a row for each stretch of a song, in seconds of the song."


def read_segments(path: Path) -> Manifest:
    """Read a table of segments; return one with a row for each song: `song_id` and `segments`.

    The segments of a song are in order, and those of one label that overlap or touch are joined. A row with nothing but
    a `song_id` says that the song has none.

    Raises
    ------
    UsageError
        If it cannot be used; the message names the line or the column.
    """
    given = Manifest.load(path, texts=["label"])
    names = given.table.column_names
    bounds = Bounds.of(given)
    refuse_likely(given, bounds.columns)
    if missing := [name for name in ("song_id", "label") if name not in names]:
        told = ", ".join(names) or "none"
        raise given.fault(f"there is no column {missing[0]!r} (there are: {told})", remedy=_NEEDED)
    song_ids, labels = given.texts("song_id"), _labels(given)
    starts, ends = bounds.starts, bounds.ends
    parts = [pc.is_valid(column) for column in (starts, ends, labels)]
    n_given = [pc.fill_null(part, False).to_numpy().astype(int) for part in parts]
    for row, n in enumerate(sum(n_given).tolist()):
        if n not in (0, 3):
            lack = next(name for name, own in zip((START, END, "label"), n_given, strict=True) if not own[row])
            raise given.fault(f"the segment has no {lack!r}", row, remedy=_NEEDED)
    first: dict[str, int] = {}
    found: dict[str, list[tuple[str, float, float]]] = {}
    columns = (column.to_pylist() for column in (song_ids, labels, starts, ends))
    for row, (song_id, *segment) in enumerate(zip(*columns, strict=True)):
        first.setdefault(song_id, row)
        own = found.setdefault(song_id, [])
        if segment[0] is not None:
            own.append(tuple(segment))
    rows = list(first.values())
    made = pa.array([_joined(own) for own in found.values()], SEGMENTS_TYPE)
    table = pa.table({"song_id": pa.chunked_array([pa.array(list(found), pa.string())]), SEGMENTS: made})
    return dataclasses.replace(given, table=table, place_of=lambda row: given.place_of(rows[row]))


def beyond_text(index: pa.Table) -> str:
    """Return a note on segments that begin behind the end of their song, and label nothing; empty if there are none.

    Parameters
    ----------
    index : pyarrow.Table
        With `song_id`, `duration_s` and `segments`.
    """
    segments = index[SEGMENTS].combine_chunks()
    songs, starts = pc.list_parent_indices(segments), pc.struct_field(pc.list_flatten(segments), START)
    durations = index["duration_s"].take(songs).combine_chunks()
    beyond = pc.indices_nonzero(pc.fill_null(pc.greater_equal(starts, durations), False))
    if not len(beyond):
        return ""
    first = beyond[0].as_py()
    name = plain_text(index["song_id"][songs[first].as_py()].as_py())
    one = len(beyond) == 1
    begin = f"{len(beyond):,} of {counted(len(starts), 'segment')} of the store "
    begin += "begins behind the end of its song, and labels" if one else "begin behind the end of their song, and label"
    where = f"{name}, at {starts[first].as_py():g} s of {durations[first].as_py():g} s"
    return f"{begin} nothing (the first: {where}); bounds are in seconds"


def _labels(given: Manifest) -> pa.ChunkedArray:
    """Return the labels as text; blank ones are null."""
    column = given.table["label"]
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return column.cast(pa.string())
    if not pa.types.is_string(kind):
        raise given.fault(f"the column 'label' holds {kind} instead of text", remedy="Write labels as text.")
    return pc.if_else(pc.equal(pc.utf8_trim_whitespace(column), ""), None, column)


def _joined(segments: list[tuple[str, float, float]]) -> list[dict[str, Any]]:
    """Return the segments of a song in order, those of one label joined where they overlap or touch."""
    found: list[dict[str, Any]] = []
    for label, own in groupby(sorted(segments), key=lambda segment: segment[0]):
        end_before = -1.0
        for _, start, end in own:
            if start <= end_before:
                found[-1][END] = end_before = max(end_before, end)
            else:
                found.append({START: start, END: end, "label": label})
                end_before = end
    return sorted(found, key=lambda segment: (segment[START], segment[END], segment["label"]))
