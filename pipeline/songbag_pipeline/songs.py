"""One song: opened once, hashed, decoded, resampled and windowed as a stream, whatever its length."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import BufferedReader
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from songbag_pipeline.decoding import Recording, decode, open_regular
from songbag_pipeline.errors import SongError
from songbag_pipeline.features import FloatArray, Windower
from songbag_store import FeatureSpec
from songbag_store.errors import StoreError
from songbag_store.fragments import StoredWindows, UnencodableFeatures, encode
from songbag_store.fragments import decode as decode_windows

Sink = Callable[[StoredWindows], None]


@dataclasses.dataclass(slots=True)
class SongFacts:
    """What the index says of a song beside its name: filled in as far as extraction came."""

    status: str = "ok"
    error_code: str | None = None
    error: str | None = None
    duration_s: float | None = None
    declared_duration_s: float | None = None
    source_sample_rate_hz: int | None = None
    channels: int | None = None
    source_format: str | None = None
    truncated: bool | None = None
    padded: bool | None = None
    content_sha256: str | None = None
    file_bytes: int | None = None
    modified_at: datetime | None = None
    n_windows: int = 0
    feature_sum: list[float] | None = None
    feature_sumsq: list[float] | None = None


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
            facts.content_sha256 = _sha256(file)
            _windows_of(file, spec, facts, sink)
            after = os.fstat(file.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise SongError("changed-while-read", "the file was written to while it was read")
    except SongError as error:
        _fail(facts, error.code, error.what)
    except StoreError:
        raise  # no room for the windows is no fault of the song
    except UnencodableFeatures as error:
        _fail(facts, "out-of-range", str(error))
    except MemoryError:
        _fail(facts, "out-of-memory", "decoding took more memory than there is")
    except OSError as error:
        _fail(facts, "unreadable-file", f"reading failed ({error.strerror or error})")
    except Exception as error:  # a stranger's file may hit any fault of a library; the other songs go on
        _fail(facts, "internal-error", f"{type(error).__name__}: {error}")
    return facts


def modification_time(status: os.stat_result) -> datetime:
    """Return a file's modification time to the microsecond, in UTC; the index keeps no more."""
    seconds, nanoseconds = divmod(status.st_mtime_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)


def file_sha256(path: str) -> str:
    """Return the SHA-256 of a file's content.

    Raises
    ------
    SongError
        If it cannot be read.
    """
    with open_regular(path) as file:
        return _sha256(file)


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
    with open_regular(path) as file, decode(file, max_duration_s) as (recording, blocks):
        return np.concatenate(list(_resampled(recording, blocks, sample_rate_hz)))


def _fail(facts: SongFacts, code: str, what: str) -> None:
    facts.status, facts.error_code, facts.error = "failed", code, what
    facts.n_windows, facts.feature_sum, facts.feature_sumsq = 0, None, None


def _sha256(file: BufferedReader) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def _windows_of(
    file: BufferedReader, spec: FeatureSpec, facts: SongFacts, sink: Callable[[StoredWindows], None]
) -> None:
    windower = Windower(spec)
    sums = _FeatureSums(spec)

    def keep(windows: FloatArray) -> None:
        if len(windows):
            stored = encode(windows, spec)
            sums.add(stored)
            sink(stored)

    with decode(file, spec.max_duration_s) as (recording, blocks):
        facts.source_format = recording.source_format
        facts.source_sample_rate_hz, facts.channels = recording.sample_rate_hz, recording.channels
        if recording.declared_frames is not None:
            facts.declared_duration_s = recording.declared_frames / recording.sample_rate_hz
        for samples in _resampled(recording, blocks, spec.sample_rate_hz):
            keep(windower.push(samples))
    facts.duration_s = recording.decoded_frames / recording.sample_rate_hz
    facts.truncated = recording.truncated
    facts.padded = windower.n_windows == 0
    if facts.padded:
        _check_length(facts.duration_s, windower.n_samples, spec)
        keep(windower.pad())
    facts.n_windows = windower.n_windows
    facts.feature_sum, facts.feature_sumsq = sums.total.tolist(), sums.squares.tolist()


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


class _FeatureSums:
    """Sums over a song's stored values, per coefficient: what normalisation needs, without a second pass."""

    def __init__(self, spec: FeatureSpec) -> None:
        self.total: npt.NDArray[np.float64] = np.zeros(spec.window_shape[0])
        self.squares: npt.NDArray[np.float64] = np.zeros(spec.window_shape[0])

    def add(self, stored: StoredWindows) -> None:
        values: Any = decode_windows(stored).astype(np.float64)
        self.total += values.sum(axis=(0, 2))
        self.squares += np.einsum("nct,nct->c", values, values)
