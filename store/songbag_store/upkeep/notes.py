"""Notes on how songs were decoded, such as which of several streams was read: for `info` and `failures`."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.format.sealed import Sealed
from songbag_store.terminal import plain_text

_MOST_NAMED = 20


def n_noted(index: Sealed) -> int:
    """Return how many songs were stored with a note."""
    return sum(index.each(lambda rows: len(_noted(rows)), ["status", "audio_note"]))


def _noted(rows: pa.Table) -> pa.Table:
    return rows.filter(pc.and_(pc.equal(rows["status"], "ok"), pc.is_valid(rows["audio_note"])))


def noted_songs_text(index: Sealed) -> str:
    """Return the notes on songs that were stored; empty if there are none."""
    named: list[str] = []
    count = 0
    for piece in index.pieces(["song_id", "status", "audio_note"]):
        noted = _noted(piece)
        count += len(noted)
        rows = noted.slice(0, _MOST_NAMED - len(named)).to_pylist()
        named += [f"  {plain_text(row['song_id'])}: {plain_text(row['audio_note'])}" for row in rows]
    if not count:
        return ""
    lines = [f"Stored, with a note on what was decoded ({count:,}):", *named]
    if count > len(named):
        query = "select song_id, audio_note from songs where audio_note is not null"
        lines.append(f'  ... and {count - len(named):,} more: songbag query STORE "{query}"')
    return "\n".join(lines)
