"""What the index says of the sound of every song: the sums of its features, and the shape that they have."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.format.index import CONTENT, END, START, empty_index, recordings
from songbag_store.format.sealed import Sealed
from songbag_store.format.spec import IN_DB, FeatureSpec
from songbag_store.types import Ints

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float32]

_COLUMNS = ("song_id", "status", CONTENT, START, END, "duration_s", "n_windows", "feature_sum", "feature_sumsq")
_CONSTANT = 1e-9
"""The largest share of the mean square that rounding makes of the variance of equal numbers."""
N_CEPSTRA = 20
"""Coefficients of the spectrum's shape that are looked at, the level among them."""
_N_DEVIATIONS = 12
_POINTS, _LOW_POINTS = 32, 20
"""The mean spectrum is looked at in the first 20 of 32 points of the mel scale: other sample rates and codecs cut off
what is above."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class SongStatistics:
    """The songs of a snapshot that have features, in the order of the index.

    Attributes
    ----------
    song_ids : pyarrow.ChunkedArray
        Of n songs.
    contents : int64, shape (n,)
        Equal for songs that are the same part of files with the same bytes; -1 if the digest is not known.
    files : int64, shape (n,)
        Equal for all parts of files with the same bytes; -1 if the digest is not known.
    audio : int64, shape (n,)
        Equal for songs with the same windows, by their sums; -1 for a song without sums, or whose features never
        change, as those of silence.
    spectra : float32, shape (n, D)
        Shape of the mean spectrum, a vector of length 1. Where features are in dB, neither the level nor frames of
        silence change it, nor what is above the first two thirds of the mel scale.
    shapes : float32, shape (n, D + E)
        Beside it, the shape of the deviations over time: tells songs apart better, and is changed by more.
    """

    song_ids: pa.ChunkedArray
    contents: Ints
    files: Ints
    audio: Ints
    spectra: Points
    shapes: Points


def read_statistics(index: Sealed, spec: FeatureSpec) -> SongStatistics:
    """Read the statistics of the songs of a snapshot, a group of rows at a time."""
    ids, contents, files, digests, spectra, deviations = [], [], [], [], [], []
    for piece in chain([empty_index().select(_COLUMNS)], index.pieces(list(_COLUMNS))):
        songs = piece.filter(pc.field("status") == "ok")
        sums = _Sums.of(songs, *spec.window_shape)
        ids += songs["song_id"].chunks
        contents += recordings(songs).chunks
        files += songs[CONTENT].chunks
        digests += list(sums.digests())
        spectra.append(_spectra(sums, spec))
        deviations.append(_deviations(sums, songs["duration_s"], spec))
    joined = np.concatenate(spectra)
    return SongStatistics(
        pa.chunked_array(ids, pa.string()),
        _codes(pa.chunked_array(contents, pa.string())),
        _codes(pa.chunked_array(files, pa.string())),
        _codes(pa.chunked_array([pa.array(digests, pa.binary())])),
        joined,
        np.concatenate([joined, np.concatenate(deviations)], axis=1),
    )


def audio_digests(songs: pa.Table, n_values: int, n_frames: int) -> Iterator[bytes | None]:
    """Yield for each song a digest of its sums and its number of windows; None where they tell nothing.

    Parameters
    ----------
    songs : pyarrow.Table
        Rows of the index, with `n_windows`, `feature_sum` and `feature_sumsq`.
    n_values, n_frames : int
        Shape (C, T) of a window.
    """
    return _Sums.of(songs, n_values, n_frames).digests()


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Sums of some songs.

    Attributes
    ----------
    n_windows : int64, shape (n,)
    n_frames : int64, shape (n, 1)
        Frames that the sums are of.
    sums, squares : float64, shape (n, C)
    tell : bool, shape (n,)
        Whether they are there and change over time.
    """

    n_windows: Ints
    n_frames: Ints
    sums: Floats
    squares: Floats
    tell: Flags

    @classmethod
    def of(cls, songs: pa.Table, n_values: int, n_frames: int) -> _Sums:
        n_windows = songs["n_windows"].to_numpy().astype(np.int64)
        sums, are_there = lists_of(songs["feature_sum"], n_values)
        squares, are_there_too = lists_of(songs["feature_sumsq"], n_values)
        frames = np.maximum(n_windows, 1)[:, None] * n_frames
        changes = squares / frames - np.square(sums / frames) > _CONSTANT * squares / frames
        tell = are_there & are_there_too & changes.any(axis=1) & (n_windows > 0)
        return cls(n_windows, frames, sums, squares, tell)

    def digests(self) -> Iterator[bytes | None]:
        all_numbers = np.concatenate([self.n_windows[:, None], self.sums, self.squares], axis=1, dtype=np.float64)
        for row, tells in zip(all_numbers, self.tell, strict=True):
            yield hashlib.blake2b(row.tobytes(), digest_size=16).digest() if tells else None


def reduction(spec: FeatureSpec) -> Floats | None:
    """Return what turns bands into the coefficients that are looked at, shape (D, C); None if they are the first."""
    if spec.kind == "mfcc" or (spec.kind not in IN_DB and spec.n_bands <= N_CEPSTRA):
        return None
    from scipy.fft import dct  # takes longer to load than all else of a query

    coefficients: Floats = dct(np.eye(spec.n_bands), axis=0, norm="ortho")[:N_CEPSTRA]
    return coefficients


def reduced(bands: Floats, spec: FeatureSpec) -> Floats:
    """Return the coefficients of bands that are looked at, shape (n, D), of shape (n, C)."""
    axes = reduction(spec)
    return bands[:, : min(N_CEPSTRA, spec.n_bands)] if axes is None else bands[:, : spec.n_bands] @ axes.T


def _spectra(of: _Sums, spec: FeatureSpec) -> Points:
    """Return the shapes of the mean spectra of songs; see `SongStatistics`."""
    coefficients = reduced(of.sums, spec)
    if spec.kind not in IN_DB:
        return unit(coefficients)
    from scipy.fft import idct

    # The first is the level. A frame of silence, which is level in all bands, adds nothing to the others.
    shape = coefficients[:, 1:]
    low = idct(np.eye(_POINTS), axis=1, norm="ortho")[1 : 1 + shape.shape[1], :_LOW_POINTS]
    # The same distances as those of the points, in as few numbers as there are coefficients.
    axes, lengths, _ = np.linalg.svd(low - low.mean(axis=1, keepdims=True), full_matrices=False)
    return unit(shape @ (axes * lengths))


def _deviations(of: _Sums, durations: pa.ChunkedArray, spec: FeatureSpec) -> Points:
    """Return the shapes of the deviations of songs; see `SongStatistics`."""
    frames: npt.NDArray[Any] = of.n_frames
    if spec.kind == "mfcc":
        # Without the zeros that pad a short song, which add nothing to a coefficient but the first.
        seconds = pc.fill_null(durations, np.inf).to_numpy()
        heard = np.where(of.n_windows == 1, 1 + seconds * spec.sample_rate_hz / spec.hop_length, np.inf)
        frames = np.clip(heard[:, None], 1, of.n_frames)
    deviations = np.sqrt(np.maximum(of.squares / frames - np.square(of.sums / frames), 0))
    return unit(reduced(deviations, spec)[:, int(spec.kind == "mfcc") :][:, :_N_DEVIATIONS])


def unit(rows: Floats) -> Points:
    """Return rows of length 1, or of zeros."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Points = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0).astype(np.float32)
    return unit


def lists_of(column: pa.ChunkedArray, n_values: int) -> tuple[Floats, Flags]:
    """Return the lists of a column, shape (n, n_values), and which of them are whole; the others are zeros."""
    lists = column.combine_chunks()
    whole: Flags = pc.fill_null(pc.equal(pc.list_value_length(lists), n_values), False).to_numpy(zero_copy_only=False)
    # Nearly always all are; then nothing is copied.
    held = lists if whole.all() else lists.filter(pa.array(whole))
    values: Floats = pc.list_flatten(held).to_numpy(zero_copy_only=False).reshape(-1, n_values)
    if held is not lists:
        flat, values = values, np.zeros((len(lists), n_values))
        values[whole] = flat
    finite = np.isfinite(values)
    if finite.all():
        return values, whole
    return np.where(finite.all(axis=1, keepdims=True), values, 0), whole & finite.all(axis=1)


def _codes(column: pa.ChunkedArray) -> Ints:
    """Return a number for each value, equal for equal values; -1 for null."""
    codes = column.combine_chunks().dictionary_encode().indices
    numbers: Ints = pc.fill_null(codes, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers
