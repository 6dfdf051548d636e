"""Notes on how songs were decoded, such as which of several streams was read: for `info` and `failures`."""

from __future__ import annotations

import pyarrow.compute as pc

from songbag_store.format.sealed import Sealed
from songbag_store.terminal import plain_text

_NOTED = (pc.field("status") == "ok") & pc.is_valid(pc.field("audio_note"))
_MOST_NAMED = 20


def n_noted(index: Sealed) -> int:
    """Return how many songs were stored with a note."""
    count: int = index.dataset().count_rows(filter=_NOTED, use_threads=False)
    return count


def noted_songs_text(index: Sealed) -> str:
    """Return the notes on songs that were stored; empty if there are none."""
    named: list[str] = []
    count = 0
    for piece in index.pieces(["song_id", "status", "audio_note"]):
        noted = piece.filter(_NOTED)
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
