"""How the songs of a run are shared out in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store import FeatureSpec
from songbag_store.format.index import END, START

_FRAGMENT_BYTES = 192 << 20  # before compression; about 128 MB after it
_LARGEST_S = 36 * 3600.0
_SMALLEST_S = 120.0
_LARGEST_SONGS = 4096
_ROUNDS = 4
_ROWS_AT_ONCE = 1 << 13

_BYTES_PER_S = {".flac": 90_000, ".opus": 14_000, ".m4b": 8_000, ".spx": 4_000}
_BYTES_PER_S |= dict.fromkeys(
    (".aif", ".aifc", ".aiff", ".au", ".caf", ".rf64", ".snd", ".w64", ".wav", ".wave"), 176_400
)
_SUFFIXES = pa.array(list(_BYTES_PER_S))
_RATES = np.array([*_BYTES_PER_S.values(), 24_000], np.float64)  # the last for all other suffixes


def shares(songs: pa.Table, spec: FeatureSpec, n_workers: Callable[[], int]) -> Iterator[pa.Table]:
    """Share songs out in batches, large ones first and small ones last, so that all workers end together.

    Each batch takes a share of the songs that are left (guided self-scheduling): at least two minutes of audio, and at
    most 192 MB of features, 36 hours of audio or 4096 songs.

    Parameters
    ----------
    songs : pyarrow.Table
        With ``path``, ``file_bytes``, ``start_s`` and ``end_s``.
    spec : FeatureSpec
        Says how many bytes of features a second of audio becomes.
    n_workers : callable
        Called for every batch: workers may join during the run.
    """
    ends = np.cumsum(expected_s(songs, spec))
    largest_s = min(_FRAGMENT_BYTES / spec.window_bytes * _hop_s(spec), _LARGEST_S)
    start, done_s = 0, 0.0
    while start < songs.num_rows:
        share_s = (float(ends[-1]) - done_s) / (_ROUNDS * max(1, n_workers()))
        wanted_s = min(max(share_s, _SMALLEST_S), largest_s)
        stop = int(np.searchsorted(ends, done_s + wanted_s * (1 - 1e-9))) + 1
        stop = min(stop, start + _LARGEST_SONGS, songs.num_rows)
        # A slice is sent with the buffers of the whole table; taking its rows copies only them.
        yield songs.slice(start, stop - start).take(pa.array(np.arange(stop - start)))
        start, done_s = stop, float(ends[stop - 1])


def expected_s(songs: pa.Table, spec: FeatureSpec) -> npt.NDArray[np.float64]:
    """Return how many seconds of each song are likely to be read, shape (songs,).

    The length of a file is guessed from its size and suffix; that of a part of it is known, or is the rest. Where the
    guess is far too low, `songbag_pipeline.run.batch.run_batch` makes several fragments of a batch.
    """
    guessed = [np.empty(0)]
    # In pieces, so that a list of millions takes little memory.
    for piece in songs.select(["path", "file_bytes", START, END]).to_batches(_ROWS_AT_ONCE):
        suffix = pc.struct_field(pc.extract_regex(piece["path"], r"(?P<suffix>\.[^./]*)$"), "suffix")
        known = pc.fill_null(pc.index_in(pc.utf8_lower(suffix), value_set=_SUFFIXES), len(_SUFFIXES))
        sizes = pc.fill_null(piece["file_bytes"], 0).cast(pa.float64())
        whole = np.asarray(sizes) / _RATES[np.asarray(known)]
        starts = np.asarray(pc.fill_null(piece[START], 0.0))
        # The end is believed, because the guess may be far too low.
        guessed.append(np.asarray(pc.coalesce(piece[END], pa.array(whole))) - starts)
    longest_s = np.inf if spec.max_duration_s is None else spec.max_duration_s
    return np.concatenate(guessed).clip(_hop_s(spec), max(longest_s, _hop_s(spec)))


def _hop_s(spec: FeatureSpec) -> float:
    return spec.window_hop_samples / spec.sample_rate_hz
