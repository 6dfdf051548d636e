"""How the songs of a run are cut into batches: one is what a worker does at a time, and becomes a fragment."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store import FeatureSpec

_FRAGMENT_BYTES = 192 << 20
_LARGEST_S = 36 * 3600.0
_SMALLEST_S = 120.0
_LARGEST_SONGS = 4096
_ROUNDS = 4
_ROWS_AT_ONCE = 1 << 13

_BYTES_PER_S = {".flac": 90_000, ".opus": 14_000, ".m4b": 8_000, ".spx": 4_000}
_BYTES_PER_S |= dict.fromkeys((".aif", ".aifc", ".aiff", ".au", ".caf", ".snd", ".wav", ".wave"), 176_400)
_USUAL_BYTES_PER_S = 24_000
_SUFFIXES = pa.array(list(_BYTES_PER_S))
Seconds = npt.NDArray[np.float64]
_RATES = np.array([*_BYTES_PER_S.values(), _USUAL_BYTES_PER_S], np.float64)


def cut(songs: pa.Table, spec: FeatureSpec, n_workers: Callable[[], int]) -> Iterator[pa.Table]:
    """Cut the songs into batches of about equal work: large ones first, small ones last, so that workers end together.

    Each batch takes a share of what is left (guided self-scheduling), at least two minutes of audio, at most what makes
    a fragment of 192 MB before compression (some 128 MB after it), 36 hours of audio or 4096 songs. How long a song
    lasts is guessed from size and suffix of its file, for nothing else is known before it is read; where the guess was
    far too low, `songbag_pipeline.run.batch.run_batch` makes several fragments of a batch.

    Parameters
    ----------
    songs : pyarrow.Table
        With ``path`` and ``file_bytes``.
    spec : FeatureSpec
        Tells how many bytes of features a second of audio becomes.
    n_workers : callable
        Called for every batch: workers may come while the run lasts.
    """
    ends = np.cumsum(expected_s(songs, spec))
    largest_s = min(_FRAGMENT_BYTES / spec.window_bytes * _hop_s(spec), _LARGEST_S)
    start, done_s = 0, 0.0
    while start < songs.num_rows:
        share_s = (float(ends[-1]) - done_s) / (_ROUNDS * max(1, n_workers()))
        wanted_s = min(max(share_s, min(_SMALLEST_S, largest_s)), largest_s)
        stop = int(np.searchsorted(ends, done_s + wanted_s * (1 - 1e-9))) + 1
        stop = min(stop, start + _LARGEST_SONGS, songs.num_rows)
        # A slice would travel with the buffers of the whole table, all of which taking from it would copy.
        yield songs.slice(start, stop - start).take(pa.array(np.arange(stop - start)))
        start, done_s = stop, float(ends[stop - 1])


def expected_s(songs: pa.Table, spec: FeatureSpec) -> Seconds:
    """Return how many seconds of each song are likely to be read, shape (songs,)."""
    pieces = [_guess_s(songs.slice(start, _ROWS_AT_ONCE)) for start in range(0, songs.num_rows, _ROWS_AT_ONCE)]
    longest_s = np.inf if spec.max_duration_s is None else spec.max_duration_s
    guessed: Seconds = np.concatenate([np.empty(0), *pieces])
    return guessed.clip(_hop_s(spec), max(longest_s, _hop_s(spec)))


def _guess_s(songs: pa.Table) -> Seconds:
    suffix = pc.struct_field(pc.extract_regex(songs["path"], r"(?P<suffix>\.[^./]*)$"), "suffix")
    known = pc.fill_null(pc.index_in(pc.utf8_lower(suffix), value_set=_SUFFIXES), len(_SUFFIXES))
    sizes = pc.fill_null(songs["file_bytes"], 0).cast(pa.float64())
    guessed: Seconds = np.asarray(sizes) / _RATES[np.asarray(known)]
    return guessed


def _hop_s(spec: FeatureSpec) -> float:
    return spec.window_hop_samples / spec.sample_rate_hz
