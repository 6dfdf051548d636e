"""Summaries: one row of numbers for each song, from one reading of its windows, or from the index alone.

Of each coefficient or band, `windows` gives mean and deviation over all frames; the mean over the windows of what is
found within each window: deviation, five quantiles, size and deviation of the change from frame to frame, deviation of
the change over four frames; and the deviation of each of these, and of the mean, between the windows. `index` gives
mean and deviation over all frames, which the sums in the index hold.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store import FeatureSpec, SongStore
from songbag_store.format.array import decode
from songbag_store.machine import n_cores
from songbag_store.types import StoredWindows
from songbag_training.config import SummariesOf
from songbag_training.errors import ModelError
from songbag_training.songs.pieces import Piece, stored_pieces
from songbag_training.types import FloatArray, Floats

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LAG_FRAMES = 4
WITHIN = ("mean", "deviation", *(f"quantile {share:g}" for share in QUANTILES), "step", "change", "slow change")
"""The statistics within a window, of each coefficient."""
_CHUNK_WINDOWS = 512
_CHUNK_VALUES = 1_000_000
_MOST_BYTES = 500_000_000

Summary = tuple[str, FloatArray]
"""A song id and the summaries of the song, shape (F,)."""


def summary_names(spec: FeatureSpec, kind: SummariesOf) -> list[str]:
    """Return what each number of a song's summaries is: a coefficient and a statistic of it."""
    blocks = ["mean", "deviation"]
    if kind == "windows":
        blocks += [f"{name} in a window" for name in WITHIN[1:]]
        blocks += [f"{name} between windows" for name in WITHIN]
    return [f"{block} of {number}" for block in blocks for number in range(spec.window_shape[0])]


def summaries(store: SongStore, songs: pa.Table, kind: SummariesOf = "windows") -> FloatArray:
    """Return the summaries of some songs of a store.

    Beside the summaries, memory holds some windows of each reading thread: a long song takes no more than a short one.

    Parameters
    ----------
    store : SongStore
    songs : pyarrow.Table
        Rows of the index, with the places of the windows.
    kind : str
        ``windows``, or ``index``, which reads no window.

    Returns
    -------
    summaries : float32, shape (S, F)
        A row for each song, in their order; F is 21 times the coefficients, or twice with ``index``.

    Raises
    ------
    ModelError
        If a summary is not a finite number, or the index lacks the sums of a song.
    songbag_store.errors.DamagedStore
        If windows are missing or damaged.
    """
    if kind == "index":
        return _of_index(store, songs["song_id"].combine_chunks())
    found = np.empty((songs.num_rows, len(summary_names(store.spec, kind))), np.float32)
    pieces = stored_pieces(store, songs, chunk_windows(store.spec))
    for row, (_, own) in enumerate(summarised(pieces, store.spec, kind)):
        found[row] = own
    return found


class SongSummaries:
    """The summaries of songs of one store; those of songs that were remembered are read once.

    Parameters
    ----------
    store : SongStore
    kind : str
        See `summaries`.
    """

    def __init__(self, store: SongStore, kind: SummariesOf) -> None:
        self.kind = kind
        # Not the store itself: summaries are kept by their store, and would keep it for ever.
        self._store = weakref.ref(store)
        self._ids = pa.array([], pa.string())
        self._rows = np.zeros((0, 0), np.float32)

    @classmethod
    def remembered(cls, store: SongStore, songs: pa.Table, kind: SummariesOf) -> Self:
        """Read the summaries of some songs, if there is room for them: 500 MB."""
        own = cls(store, kind)
        if songs.num_rows * len(summary_names(store.spec, kind)) * 4 <= _MOST_BYTES:
            own._rows = summaries(store, songs, kind)
            own._ids = _ids_of(songs)
        return own

    def has(self, songs: pa.Table) -> bool:
        """Return whether all of some songs, given as rows of the index, are remembered."""
        return bool(pc.index_in(_ids_of(songs), value_set=self._ids).null_count == 0)

    def of(self, songs: pa.Table) -> FloatArray:
        """Return the summaries of songs, given as rows of the index, shape (S, F)."""
        places = pc.index_in(_ids_of(songs), value_set=self._ids)
        if places.null_count:
            store = self._store()
            assert store is not None, "the store of these summaries is closed"
            return summaries(store, songs, self.kind)
        return np.asarray(self._rows[places.to_numpy()], np.float32)


def _ids_of(songs: pa.Table) -> pa.Array:
    return songs["song_id"].combine_chunks().cast(pa.string())


def chunk_windows(spec: FeatureSpec) -> int:
    """Return how many windows a piece should have."""
    return int(np.clip(_CHUNK_VALUES // (spec.window_shape[0] * spec.window_shape[1]), 1, _CHUNK_WINDOWS))


def summarised(pieces: Iterable[Piece], spec: FeatureSpec, kind: SummariesOf) -> Iterator[Summary]:
    """Yield the summaries of songs as their windows come.

    Parameters
    ----------
    pieces : iterable of Piece
        All pieces of a song before those of the next.

    Raises
    ------
    ModelError
        If they are not finite numbers.
    """
    sums: Floats | None = None
    n_windows = 0
    for piece, own in _in_threads(pieces, spec):
        sums = own if sums is None else sums + own
        n_windows += len(piece.windows)
        if piece.last:
            yield piece.song_id, _finite(_joined(sums, n_windows, kind)[None], [piece.song_id])[0]
            sums, n_windows = None, 0


def _in_threads(pieces: Iterable[Piece], spec: FeatureSpec) -> Iterator[tuple[Piece, Floats]]:
    """Yield each piece with its sums, in order; each core works at one."""
    n = n_cores()
    under_way: deque[tuple[Piece, Future[Floats]]] = deque()
    with ThreadPoolExecutor(n, thread_name_prefix="songbag-summary") as threads:
        for piece in pieces:
            under_way.append((piece, threads.submit(_sums, piece.windows, spec)))
            if len(under_way) > n:
                first, done = under_way.popleft()
                yield first, done.result()
        for first, done in under_way:
            yield first, done.result()


def _sums(stored: StoredWindows, spec: FeatureSpec) -> Floats:
    """Return sums over some windows: of each statistic, of its square, and of the squares of all frames.

    The shape is (2 * statistics + 1, C).
    """
    windows = decode(stored, spec)
    with np.errstate(over="ignore", invalid="ignore"):
        within = np.stack(_within(windows)).astype(np.float64)
        # Of all frames, from those of each window, which are equally many.
        power = (within[0] ** 2 + within[1] ** 2).sum(axis=0)
        return np.concatenate([within.sum(axis=1), (within**2).sum(axis=1), power[None]])


def _within(windows: FloatArray) -> list[FloatArray]:
    """Return the statistics within each window, each of shape (N, C), in the order of `WITHIN`."""
    n_frames = windows.shape[-1]
    ranked = np.sort(windows, axis=-1)
    found = [windows.mean(axis=-1), windows.std(axis=-1)]
    found += [ranked[..., round(share * (n_frames - 1))] for share in QUANTILES]
    if n_frames == 1:
        return found + [np.zeros_like(found[0])] * 3
    steps = np.diff(windows, axis=-1)
    lag = min(LAG_FRAMES, n_frames - 1)
    slow = windows[..., lag:] - windows[..., :-lag]
    return [*found, np.abs(steps).mean(axis=-1), steps.std(axis=-1), slow.std(axis=-1)]


def _joined(sums: Floats, n_windows: int, kind: SummariesOf) -> FloatArray:
    """Return the summaries of a song, shape (F,), from the sums over its windows."""
    n = len(WITHIN)
    means, squares = sums[:n] / n_windows, sums[n : 2 * n] / n_windows
    with np.errstate(invalid="ignore"):
        whole = np.sqrt(np.maximum(sums[-1] / n_windows - means[0] ** 2, 0.0))
        blocks = [means[:1], whole[None]]
        if kind == "windows":
            blocks += [means[1:], np.sqrt(np.maximum(squares - means**2, 0.0))]
        return np.concatenate(blocks).ravel().astype(np.float32)


def joined_of(means: Any, spreads: Any, n_coefficients: int, library: Any) -> Any:
    """Return the summaries of songs, shape (S, F), from what is known of the statistics within their windows.

    Parameters
    ----------
    means, spreads : arrays of shape (S, statistics * C)
        Mean and deviation over the windows of each song, in the order of `WITHIN`.
    n_coefficients : int
        C.
    library : module
        NumPy, or Keras's operations.
    """
    n = n_coefficients
    # The frames of all windows vary within each window, and between the windows with its mean.
    within = library.square(means[:, n : 2 * n]) + library.square(spreads[:, n : 2 * n])
    whole = library.sqrt(within + library.square(spreads[:, :n]))
    return library.concatenate([means[:, :n], whole, means[:, n:], spreads], axis=1)


def _of_index(store: SongStore, song_ids: pa.Array) -> FloatArray:
    """Return mean and deviation of songs from the sums in the index."""
    n_coefficients = store.spec.window_shape[0]
    found = np.full((len(song_ids), 2 * n_coefficients), np.nan, np.float32)
    # In pieces, because the sums are most of the index.
    for rows in store.inside.state.content.pieces(["song_id", "n_windows", "feature_sum", "feature_sumsq"]):
        places = pc.index_in(rows["song_id"].combine_chunks(), value_set=song_ids)
        own = rows.filter(places.is_valid())
        if not own.num_rows:
            continue
        n_frames = own["n_windows"].to_numpy().astype(np.float64)[:, None] * store.spec.n_frames
        mean, square = (
            _numbers(own[name], name, n_coefficients) / n_frames for name in ("feature_sum", "feature_sumsq")
        )
        deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
        found[places.drop_null().to_numpy()] = np.concatenate([mean, deviation], axis=1)
    return _finite(found, song_ids)


def _numbers(column: pa.ChunkedArray, name: str, n_coefficients: int) -> Floats:
    """Return a column of lists as numbers, shape (rows, C)."""
    lists = column.combine_chunks()
    values = lists.flatten().to_numpy(zero_copy_only=False)
    if lists.null_count or len(values) != len(lists) * n_coefficients:
        what = f"the column {name!r} has not {n_coefficients} numbers a song"
        remedy = "The store lacks the sums of its songs: extract them again, or leave `summaries` out."
        raise ModelError(what, place="index", remedy=remedy)
    return np.asarray(values.reshape(len(lists), n_coefficients), np.float64)


def _finite(found: FloatArray, song_ids: pa.Array | list[str]) -> FloatArray:
    """Refuse summaries that are not finite numbers."""
    wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(wrong):
        song = song_ids[int(wrong[0])]
        what = "its features are not finite numbers, or too large to be squared"
        remedy = "Leave the song out with `where`, or extract it again."
        raise ModelError(what, place=f"song {song if isinstance(song, str) else song.as_py()!r}", remedy=remedy)
    return found
