"""The windows of songs in pieces, from a store or from memory: a long song is never held whole."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from songbag_store import SongStore
from songbag_store.types import StoredWindows
from songbag_store.windows.reader import Pending
from songbag_store.windows.spans import Span, Spans

_READ_AHEAD_CHUNKS = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive windows of a song; `last` if no more windows of this song follow."""

    song_id: str
    windows: StoredWindows
    last: bool


def stored_pieces(store: SongStore, songs: pa.Table, chunk_windows: int) -> Iterator[Piece]:
    """Read songs of a store in pieces of at most `chunk_windows`, and read some pieces ahead.

    Raises
    ------
    songbag_store.errors.DamagedStore
        If windows are missing or damaged.
    """
    under_way: deque[tuple[Span, bool, Pending]] = deque()
    ahead = 0
    for span, last in _cut(Spans.of(songs), chunk_windows):
        under_way.append((span, last, store.inside.reader.read(span)))
        ahead += span.n_windows
        while ahead > _READ_AHEAD_CHUNKS * chunk_windows:
            first, ends, pending = under_way.popleft()
            ahead -= first.n_windows
            yield Piece(first.song_id, pending.result(), ends)
    for first, ends, pending in under_way:
        yield Piece(first.song_id, pending.result(), ends)


def _cut(spans: Iterable[Span], longest: int) -> Iterator[tuple[Span, bool]]:
    """Cut spans into spans of at most `longest` windows; yield with each whether it ends a song."""
    for span in spans:
        for first in range(0, span.n_windows, longest):
            length = min(longest, span.n_windows - first)
            cut = span._replace(row_start=span.row_start + first, n_windows=length)
            yield cut, first + length == span.n_windows


def array_pieces(song_id: str, windows: StoredWindows, chunk_windows: int) -> Iterator[Piece]:
    """Copy the windows of one song, shape (N, C, T), in memory or mapped, in pieces."""
    for first in range(0, len(windows), chunk_windows):
        piece = np.array(windows[first : first + chunk_windows])
        yield Piece(song_id, piece, first + len(piece) == len(windows))
