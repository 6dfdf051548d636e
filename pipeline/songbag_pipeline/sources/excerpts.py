"""What the songs of a source are of their files."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pyarrow as pa

from songbag_pipeline.audio.recording import WHOLE, Excerpt
from songbag_store.errors import UsageError
from songbag_store.format.index import END, START


def excerpts_of(songs: pa.Table) -> Iterator[Excerpt]:
    """Yield what each song of a table is of its file."""
    for start, end in zip(songs[START].to_pylist(), songs[END].to_pylist(), strict=True):
        yield WHOLE if start is None and end is None else Excerpt(start_s=start or 0.0, end_s=end)


def excerpt_of(start_s: float, end_s: float | None, longest_s: float | None) -> Excerpt:
    """Return the excerpt with these bounds.

    Raises
    ------
    UsageError
        If it has no length, or begins before the file.
    """
    for place, value in (("start_s", start_s), ("end_s", end_s), ("max_duration_s", longest_s)):
        if not (isinstance(value, (int, float)) or (value is None and place != "start_s")) or isinstance(value, bool):
            raise UsageError(f"is {value!r:.80}", place=place, remedy="Give seconds as a number.")
    if not (math.isfinite(start_s) and start_s >= 0):
        raise UsageError(f"is {start_s}", place="start_s", remedy="Give seconds from the begin of the file.")
    if end_s is not None and not (math.isfinite(end_s) and end_s > start_s):
        raise UsageError(f"is {end_s}", place="end_s", remedy=f"Give more than the start, {start_s} s, or nothing.")
    if longest_s is not None and not (math.isfinite(longest_s) and longest_s > 0):
        raise UsageError(f"is {longest_s}", place="max_duration_s", remedy="Give more than 0 seconds, or nothing.")
    return Excerpt(start_s=float(start_s), end_s=end_s, longest_s=longest_s)
