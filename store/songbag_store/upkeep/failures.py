"""The codes that a failed song can bear in the index, and what a user can do about each."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

from songbag_store.format.failure_codes import REMEDIES
from songbag_store.sql.output import plain_text


def report(index: pa.Table) -> str:
    """Return the failed songs of an index as text: by code with its remedy, each song with its reason."""
    import pyarrow.compute as pc

    failed = index.filter(pc.field("status") == "failed").sort_by(
        [("error_code", "ascending"), ("song_id", "ascending")]
    )
    if failed.num_rows == 0:
        return "No song failed."
    lines = []
    for code, rows in groupby(failed.select(["error_code", "song_id", "error"]).to_pylist(), itemgetter("error_code")):
        songs = list(rows)
        lines.append(f"{code} ({len(songs)}): {REMEDIES.get(code, 'No remedy is known for this code.')}")
        lines += [f"  {plain_text(song['song_id'])}: {plain_text(song['error'])}" for song in songs]
    return "\n".join(lines)
