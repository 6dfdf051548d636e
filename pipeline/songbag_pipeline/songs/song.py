"""One song: hashed, decoded, resampled and windowed as a stream."""

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
from songbag_store.format.array import UnencodableFeatures, decode as decode_windows, encode
from songbag_store.types import StoredWindows

_WINDOWS_BYTES = 4 << 20
_SAMPLES_AT_ONCE = 1 << 20


def read_song(path: str, spec: FeatureSpec, sink: Sink) -> SongFacts:
    """Compute the windows of one song and pass them on in blocks.

    Memory does not grow with the song: it holds a minute of audio and the windows of one block.

    Parameters
    ----------
    path : str
        An audio file.
    spec : FeatureSpec
        What to compute.
    sink : callable
        Called with windows as stored, shape (N, C, T). If the song fails, the caller drops them.

    Returns
    -------
    facts : SongFacts
        Of an ``ok`` song, or of a ``failed`` one with the reason: a bad song raises no exception.
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
                # The part before the damage gives the same windows again.
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
        raise  # there is no room for the windows: the song is not to blame
    except UnencodableFeatures as error:
        facts.fail("out-of-range", str(error))
    except MemoryError:
        facts.fail("out-of-memory", "decoding took more memory than it may")
    except OSError as error:
        facts.fail("unreadable-file", f"reading failed ({error.strerror or error})")
    except Exception as error:  # a file may hit any bug of a library; the other songs go on
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
    """Passes windows on, and sums them per coefficient, so that normalisation needs no second pass."""

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
        """Expect the song from its beginning, and skip the windows that were passed on before."""
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
    at_once = max(1, _WINDOWS_BYTES // (4 * math.prod(spec.window_shape)))
    step = spec.window_hop_samples * at_once
    with decode(file, spec.max_duration_s, leniently=leniently) as (recording, blocks):
        facts.source_format = recording.source_format
        facts.source_sample_rate_hz, facts.channels = recording.sample_rate_hz, recording.channels
        facts.declared_duration_s = recording.declared_s
        for pieces in _gathered(_resampled(recording, blocks, spec.sample_rate_hz)):
            done: list[FloatArray] = []
            for piece in pieces:
                # With a short hop there are too many windows in a piece for one block.
                for start in range(0, len(piece), step):
                    done.append(windower.push(piece[start : start + step]))
                    if sum(map(len, done)) >= at_once:
                        sink(encode(np.concatenate(done), spec))
                        done = []
            if done:
                sink(encode(np.concatenate(done), spec))
    facts.duration_s = recording.decoded_frames / recording.sample_rate_hz
    facts.declared_duration_s, facts.truncated = recording.declared_s, recording.truncated
    facts.padded = windower.n_windows == 0
    if facts.padded:
        if spec.short_songs == "reject" or windower.n_samples < spec.n_fft:
            shortest_s = spec.window_s if spec.short_songs == "reject" else spec.n_fft / spec.sample_rate_hz
            raise SongError("too-short", f"the song lasts {facts.duration_s:.3f} s, less than {shortest_s:.3f} s")
        sink(encode(windower.pad(), spec))


def _gathered(pieces: Iterator[FloatArray]) -> Iterator[list[FloatArray]]:
    """Yield many pieces at a time: decoder and kernel push each other's data out of the cache at every change."""
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


def _resampled(recording: Recording, blocks: Iterator[FloatArray], target_hz: int) -> Iterator[FloatArray]:
    """Resample a stream of blocks; joined, the pieces are what soxr's HQ recipe gives for the whole song."""
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
