"""One song: hashed, decoded, resampled and windowed as a stream."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from songbag_pipeline.audio.decode import decode, with_any_decoder
from songbag_pipeline.audio.files import RegularFile, file_identity, modification_time, open_regular
from songbag_pipeline.audio.formats import AudioFormat, Decoder
from songbag_pipeline.audio.meter import Meter
from songbag_pipeline.audio.recording import WHOLE, Excerpt, Recording
from songbag_pipeline.audio.resampler import resampled
from songbag_pipeline.errors import SongError
from songbag_pipeline.features.windower import windower
from songbag_pipeline.songs.facts import Fresh, Sink, SongFacts, failures_of
from songbag_pipeline.types import FloatArray
from songbag_store import FeatureSpec
from songbag_store.format.array import decode as decode_windows, encode
from songbag_store.types import StoredWindows

_WINDOWS_BYTES = 4 << 20
_SAMPLES_AT_ONCE = 1 << 20


def read_song(path: str, spec: FeatureSpec, sink: Sink, excerpt: Excerpt = WHOLE) -> SongFacts:
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
    excerpt : Excerpt
        What the song is of the file; the spec may have only its begin read.

    Returns
    -------
    facts : SongFacts
        Of an ``ok`` song, or of a ``failed`` one with the reason: a bad song raises no exception.
    """
    facts = SongFacts()
    with failures_of(facts), open_regular(path) as file:
        before = os.fstat(file.fileno())
        facts.file_bytes = before.st_size
        facts.modified_at = modification_time(before)
        known = _Digest.of(before)
        if known is None:
            file.hash_while_read()
        wanted = dataclasses.replace(excerpt, longest_s=spec.max_duration_s)
        passed_on = _PassedOn(sink, spec)

        def use(form: AudioFormat, decoder: Decoder) -> Recording:
            # The part before a damage gives the same windows again.
            passed_on.again()
            return _windows_of(file, form, decoder, wanted, spec, facts, passed_on.pass_on)

        try:
            with_any_decoder(file, use)
        finally:
            facts.content_sha256 = known or file.sha256()
        facts.n_windows = passed_on.n_items
        facts.feature_sum, facts.feature_sumsq = passed_on.total.tolist(), passed_on.squares.tolist()
        after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise SongError("changed-while-read", "the file was written to while it was read")
        _Digest.keep(before, str(facts.content_sha256))
    return facts


class _Digest:
    """The digest of the file that was read last: that of a long recording is not computed again for each part of it."""

    _last: ClassVar[tuple[tuple[int, ...], str]] = ((), "")

    @classmethod
    def of(cls, status: os.stat_result) -> str | None:
        """Return the digest of a file that has not changed since."""
        return cls._last[1] if cls._last[0] == file_identity(status) else None

    @classmethod
    def keep(cls, status: os.stat_result, digest: str) -> None:
        """Remember a digest, and forget the one before it."""
        cls._last = file_identity(status), digest


class _PassedOn(Fresh):
    """Passes windows on, and sums them per coefficient, so that normalisation needs no second pass."""

    def __init__(self, sink: Sink, spec: FeatureSpec) -> None:
        super().__init__(sink)
        self._spec = spec
        self.total: npt.NDArray[np.float64] = np.zeros(spec.window_shape[0])
        self.squares: npt.NDArray[np.float64] = np.zeros(spec.window_shape[0])

    def pass_on(self, items: StoredWindows) -> Any:
        fresh = super().pass_on(items)
        if len(fresh):
            values: Any = (
                decode_windows(fresh, self._spec).astype(np.float64).transpose(1, 0, 2).reshape(fresh.shape[1], -1)
            )
            self.total += values.sum(axis=1)
            self.squares += np.vecdot(values, values)
        return fresh


def _windows_of(
    file: RegularFile,
    form: AudioFormat,
    decoder: Decoder,
    excerpt: Excerpt,
    spec: FeatureSpec,
    facts: SongFacts,
    sink: Sink,
) -> Recording:
    making = windower(spec)
    at_once = max(1, _WINDOWS_BYTES // (4 * math.prod(spec.window_shape)))
    step = spec.window_hop_samples * at_once
    meter = Meter()
    with decode(file, form, decoder, excerpt, meter=meter) as (recording, blocks):
        facts.source_format = recording.source_format
        facts.source_sample_rate_hz, facts.channels = recording.sample_rate_hz, recording.channels
        facts.declared_duration_s = recording.declared_of(excerpt)
        for pieces in _gathered(resampled(recording, blocks, spec.sample_rate_hz)):
            done: list[FloatArray] = []
            for piece in pieces:
                # With a short hop there are too many windows in a piece for one block.
                for start in range(0, len(piece), step):
                    done.append(making.push(piece[start : start + step]))
                    if sum(map(len, done)) >= at_once:
                        sink(encode(np.concatenate(done), spec))
                        done = []
            if done:
                sink(encode(np.concatenate(done), spec))
    facts.duration_s, facts.audio_note = recording.kept_s, recording.note
    facts.declared_duration_s, facts.truncated = recording.declared_of(excerpt), recording.truncated
    facts.padded = making.n_windows == 0
    if facts.padded:
        if spec.short_songs == "reject" or making.n_samples < spec.fewest_samples:
            shortest_s = spec.window_s if spec.short_songs == "reject" else spec.fewest_samples / spec.sample_rate_hz
            raise SongError("too-short", f"the song lasts {facts.duration_s:.3f} s, less than {shortest_s:.3f} s")
        sink(encode(making.pad(), spec))
    facts.take(meter.sound())
    return recording


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
