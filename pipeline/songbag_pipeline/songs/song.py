"""One song: opened once, hashed, decoded, resampled and windowed as a stream, whatever its length."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from songbag_pipeline.audio.decode import decode
from songbag_pipeline.audio.files import RegularFile, modification_time, open_regular
from songbag_pipeline.audio.recording import Damaged, Recording
from songbag_pipeline.errors import SongError
from songbag_pipeline.features.kernel import Windower
from songbag_pipeline.songs.facts import Sink, SongFacts
from songbag_pipeline.types import FloatArray
from songbag_store import FeatureSpec
from songbag_store.errors import StoreError
from songbag_store.format.encoding import UnencodableFeatures, encode
from songbag_store.format.encoding import decode as decode_windows
from songbag_store.types import StoredWindows

_WINDOWS_BYTES = 4 << 20
_SAMPLES_AT_ONCE = 1 << 20
"""Samples that are windowed at once: decoder and kernel drive each other's data out of the cache at every change."""


def read_song(path: str, spec: FeatureSpec, sink: Sink) -> SongFacts:
    """Compute the windows of one song and pass them on in blocks.

    Memory does not grow with the song: at any time there are a few seconds of audio and the windows of one block.

    Parameters
    ----------
    path : str
        An audio file.
    spec : FeatureSpec
        What to compute.
    sink : callable
        Called with windows as stored, shape (N, C, T). If the song fails, what it was given is to be dropped.

    Returns
    -------
    facts : SongFacts
        Of an ``ok`` song, or of a ``failed`` one with the reason; no exception leaves for the sake of a song.
    """
    facts = SongFacts()
    try:
        with open_regular(path) as file:
            before = os.fstat(file.fileno())
            facts.file_bytes = before.st_size
            facts.modified_at = modification_time(before)
            file.hash_while_read()
            passed_on = _PassedOn(sink, spec)
            try:
                _windows_of(file, spec, facts, passed_on)
            except Damaged:
                # What lies before the damage comes out the same again.
                passed_on.again()
                _windows_of(file, spec, facts, passed_on, leniently=True)
            finally:
                facts.content_sha256 = file.sha256()
            facts.n_windows = passed_on.n_windows
            facts.feature_sum, facts.feature_sumsq = passed_on.total.tolist(), passed_on.squares.tolist()
            after = os.fstat(file.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise SongError("changed-while-read", "the file was written to while it was read")
    except SongError as error:
        facts.fail(error.code, error.what)
    except StoreError:
        raise  # no room for the windows is no fault of the song
    except UnencodableFeatures as error:
        facts.fail("out-of-range", str(error))
    except MemoryError:
        facts.fail("out-of-memory", "decoding took more memory than it may")
    except OSError as error:
        facts.fail("unreadable-file", f"reading failed ({error.strerror or error})")
    except Exception as error:  # a stranger's file may hit any fault of a library; the other songs go on
        facts.fail("internal-error", f"{type(error).__name__}: {error}")
    return facts


def read_audio(path: str, *, sample_rate_hz: int = 22050, max_duration_s: float | None = None) -> FloatArray:
    """Decode a file to mono at one sample rate, as songbag does before it windows.

    Returns
    -------
    samples : float32, shape (S,)
        In [-1, 1]; ``S = ceil(frames * sample_rate_hz / source_rate)``, as ``librosa.load`` gives.

    Raises
    ------
    SongError
        If the file cannot be used.
    """
    with open_regular(path) as file:
        try:
            return _samples(file, sample_rate_hz, max_duration_s, leniently=False)
        except Damaged:
            return _samples(file, sample_rate_hz, max_duration_s, leniently=True)


def _samples(file: RegularFile, sample_rate_hz: int, max_duration_s: float | None, *, leniently: bool) -> FloatArray:
    with decode(file, max_duration_s, leniently=leniently) as (recording, blocks):
        return np.concatenate(list(_resampled(recording, blocks, sample_rate_hz)))


class _PassedOn:
    """Passes windows on, and sums them over the song per coefficient: normalisation then needs no second pass."""

    def __init__(self, sink: Sink, spec: FeatureSpec) -> None:
        self.total: npt.NDArray[np.float64] = np.zeros(spec.window_shape[0])
        self.squares: npt.NDArray[np.float64] = np.zeros(spec.window_shape[0])
        self._sink = sink
        self._skip = self._seen = 0

    @property
    def n_windows(self) -> int:
        """Windows passed on."""
        return max(self._skip, self._seen)

    def again(self) -> None:
        """Expect the song from its beginning, and pass over the windows that were passed on."""
        self._skip, self._seen = self._seen, 0

    def __call__(self, windows: StoredWindows) -> None:
        fresh = windows[max(0, self._skip - self._seen) :]
        self._seen += len(windows)
        if len(fresh):
            values: Any = decode_windows(fresh).astype(np.float64).transpose(1, 0, 2).reshape(fresh.shape[1], -1)
            self.total += values.sum(axis=1)
            self.squares += np.vecdot(values, values)
            self._sink(fresh)


def _windows_of(file: RegularFile, spec: FeatureSpec, facts: SongFacts, sink: Sink, *, leniently: bool = False) -> None:
    windower = Windower(spec)

    def keep(windows: FloatArray) -> None:
        if len(windows):
            sink(encode(windows, spec))

    with decode(file, spec.max_duration_s, leniently=leniently) as (recording, blocks):
        facts.source_format = recording.source_format
        facts.source_sample_rate_hz, facts.channels = recording.sample_rate_hz, recording.channels
        facts.declared_duration_s = recording.declared_s
        for pieces in _gathered(_resampled(recording, blocks, spec.sample_rate_hz)):
            for windows in _windows(windower, spec, pieces):
                keep(windows)
    facts.duration_s = recording.decoded_frames / recording.sample_rate_hz
    facts.declared_duration_s, facts.truncated = recording.declared_s, recording.truncated
    facts.padded = windower.n_windows == 0
    if facts.padded:
        _check_length(facts.duration_s, windower.n_samples, spec)
        keep(windower.pad())


def _gathered(pieces: Iterator[FloatArray]) -> Iterator[list[FloatArray]]:
    """Yield pieces many at a time."""
    gathered: list[FloatArray] = []
    n_samples = 0
    for piece in pieces:
        gathered.append(piece)
        n_samples += len(piece)
        if n_samples >= _SAMPLES_AT_ONCE:
            yield gathered
            gathered, n_samples = [], 0
    if gathered:
        yield gathered


def _windows(windower: Windower, spec: FeatureSpec, pieces: list[FloatArray]) -> Iterator[FloatArray]:
    """Yield the windows that pieces complete, as many at a time as may be in memory."""
    at_once = max(1, _WINDOWS_BYTES // (4 * math.prod(spec.window_shape)))
    # Windows that follow each other closely are many in a piece.
    step = spec.window_hop_samples * at_once
    done: list[FloatArray] = []
    n_done = 0
    for piece in pieces:
        for start in range(0, len(piece), step):
            windows = windower.push(piece[start : start + step])
            if len(windows):
                done.append(windows)
                n_done += len(windows)
            if n_done >= at_once:
                yield np.concatenate(done)
                done, n_done = [], 0
    if done:
        yield np.concatenate(done)


def _check_length(duration_s: float, n_samples: int, spec: FeatureSpec) -> None:
    """Refuse a song that the spec does not want padded, or that is shorter than one frame."""
    if spec.short_songs == "reject" or n_samples < spec.n_fft:
        shortest_s = spec.window_s if spec.short_songs == "reject" else spec.n_fft / spec.sample_rate_hz
        raise SongError("too-short", f"the song lasts {duration_s:.3f} s, less than {shortest_s:.3f} s")


def _resampled(recording: Recording, blocks: Iterator[FloatArray], target_hz: int) -> Iterator[FloatArray]:
    """Resample a stream of blocks; the pieces make the very samples of the whole, as soxr's HQ recipe gives them."""
    source_hz = recording.sample_rate_hz
    if source_hz == target_hz:
        yield from blocks
        return
    stream = soxr.ResampleStream(source_hz, target_hz, 1, dtype="float32", quality="HQ")
    given = 0
    for block in blocks:
        piece = stream.resample_chunk(block)
        given += len(piece)
        yield piece
    missing = math.ceil(recording.decoded_frames * target_hz / source_hz) - given
    rest = stream.resample_chunk(np.empty(0, np.float32), last=True)[:missing]
    yield rest
    yield np.zeros(missing - len(rest), np.float32)
