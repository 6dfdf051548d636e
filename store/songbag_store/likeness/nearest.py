"""The nearest songs of a song, and of all songs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from songbag_store.likeness.points import SongPoints
from songbag_store.likeness.search import COMPARED, HELD, Search
from songbag_store.likeness.statistics import Floats, Points
from songbag_store.progress import Progress, stretch
from songbag_store.types import Ints
from songbag_store.words import counted

NEAREST = pa.schema([("rank", pa.int64()), ("song_id", pa.string()), ("distance", pa.float64())])
"""Columns of the nearest songs of one song."""
NEIGHBOURS = pa.schema(
    [("song_id", pa.string()), *(NEAREST.field(0), pa.field("neighbour", pa.string())), NEAREST.field(2)]
)
"""Columns of the nearest songs of all songs."""

_SCANNED_AT_ONCE = 1 << 16
_ROWS_AT_ONCE = 8192
_LINE_EVERY = 100_000


def nearest_songs(songs: SongPoints, song_id: str, others: SongPoints, k: int) -> pa.Table:
    """Return the nearest of other songs, the nearest first; equally near ones by song id.

    Parameters
    ----------
    songs : SongPoints
        Those that the song is one of.
    song_id : str
        The song; it is not its own neighbour.
    others : SongPoints
        The songs that are looked through.
    k : int
        So many are returned, or all there are.
    """
    row = songs.row(song_id)
    if row is None:
        raise ValueError(f"there is no point of song {song_id!r}")
    squares = _squares(others.points, songs.points[row])
    own = others.row(song_id)
    if own is not None:
        squares[own] = np.inf
    k = min(k, len(squares) - (own is not None))
    if k == 0:
        return NEAREST.empty_table()
    # All that are as near as the last of them, so that song ids decide between equally near ones.
    (near,) = np.nonzero(squares <= np.partition(squares, k - 1)[k - 1])
    found = pa.table({"square": squares[near], "song_id": others.song_ids.take(pa.array(near))})
    found = found.sort_by([("square", "ascending"), ("song_id", "ascending")]).slice(0, k)
    distances = _distances(found["square"].to_numpy(), songs)
    return pa.table([np.arange(1, k + 1), found["song_id"], distances], schema=NEAREST)


class Neighbours:
    """The nearest songs of every song: a table of `NEIGHBOURS` that is never whole in memory.

    Memory holds the points as `Search` does, and `held` numbers for the rows that are being made, however many there
    are.

    Parameters
    ----------
    songs : SongPoints
        The songs.
    k : int
        So many neighbours each, or all there are.
    progress : Progress
        Where to show how far it is.
    compared, held : int
        See `Search`: up to `compared` songs the neighbours are exact.

    Attributes
    ----------
    schema : pyarrow.Schema
        That of the table.
    num_rows : int
        Rows of the table.
    """

    schema = NEIGHBOURS

    def __init__(
        self, songs: SongPoints, k: int, progress: Progress, *, compared: int = COMPARED, held: int = HELD
    ) -> None:
        self._songs, self._progress = songs, progress
        self._compared, self._held = compared, held
        self._k = min(k, max(0, len(songs.points) - 1))
        self.num_rows = self._k * len(songs.points)

    def to_batches(self, max_chunksize: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows, at most so many at once."""
        if not self.num_rows:
            return
        n_songs, n_done = len(self._songs.points), 0
        with stretch(self._progress, n_songs, "songs"):
            search = Search(self._songs.points, self._k, compared=self._compared, held=self._held)
            for start in range(0, n_songs, search.at_once):
                near, squares = search.nearest(start)
                yield from self._rows(start, near, squares).to_batches(max_chunksize)
                due, n_done = n_done // _LINE_EVERY, n_done + len(near)
                state = f"neighbours of {n_done:,} of {counted(n_songs, 'song')}"
                self._progress.advance(n_done, state, state if n_done // _LINE_EVERY > due else None)

    def table(self) -> pa.Table:
        """Return all rows."""
        return pa.Table.from_batches(self.to_batches(_ROWS_AT_ONCE), schema=NEIGHBOURS)

    def _rows(self, start: int, near: Ints, squares: Points) -> pa.Table:
        """Return the rows of some songs from one on."""
        ids, (n_songs, k) = self._songs.song_ids, near.shape
        columns = [
            ids.take(pa.array(np.repeat(np.arange(start, start + n_songs), k))),
            np.tile(np.arange(1, k + 1), n_songs),
            ids.take(pa.array(near.ravel())),
            _distances(squares.ravel(), self._songs),
        ]
        return pa.table(columns, schema=NEIGHBOURS)


def _squares(points: Points, one: Points) -> Points:
    """Return the squared distance of each point, shape (n,), to one."""
    squares = np.empty(len(points), np.float32)
    for start in range(0, len(points), _SCANNED_AT_ONCE):
        differences = points[start : start + _SCANNED_AT_ONCE] - one
        squares[start : start + len(differences)] = np.einsum("nd,nd->n", differences, differences)
    return squares


def _distances(squares: npt.NDArray[np.floating], songs: SongPoints) -> Floats:
    """Return squared distances of points as distances of songs."""
    if songs.are_vectors:
        return np.asarray(squares, np.float64) / 2
    distances: Floats = np.sqrt(np.asarray(squares, np.float64) / max(1, songs.points.shape[1]))
    return distances
