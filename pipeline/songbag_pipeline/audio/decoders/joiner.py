"""FFmpeg's frames, joined to blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import av
import numpy as np
from av.audio.plane import AudioPlane

from songbag_pipeline.audio.recording import BLOCK_FRAMES, Channels, Recording, scale_of

_SAMPLES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
_FEWEST_FRAMES = 1024


class Joiner:
    """Joins FFmpeg's frames of a thousand samples to blocks, before Python works on them.

    The type of the samples, their rate and the number of channels may change within a file: a radio recording, or files
    that were joined.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._fifo = av.AudioFifo()
        self._kind = ("", 0, 0)
        self._block_frames = BLOCK_FRAMES

    def add_all(self, frames: Iterable[av.AudioFrame]) -> Iterator[Channels]:
        """Add frames; yield a block whenever there is enough for one."""
        for frame in frames:
            kind = frame.format.name, frame.layout.nb_channels, frame.sample_rate
            if kind != self._kind:
                yield from self._begin(kind)
            # Time stamps may jump, which the fifo refuses.
            frame.pts = None
            self._fifo.write(frame)
            if self._fifo.samples >= self._block_frames:
                yield self._block()

    def add_silence(self, n_samples: int, like: av.AudioFrame) -> Iterator[Channels]:
        """Add silence where samples are missing before a frame."""
        kind = like.format.name, like.layout.nb_channels, like.sample_rate
        yield from self._begin(kind) if kind != self._kind else self.rest()
        self._recording.block_rate_hz = like.sample_rate
        self._recording.miss(n_samples)
        dtype = np.dtype(_SAMPLES[like.format.packed.name])
        silence = np.full(self._block_frames, scale_of(dtype).middle, dtype)
        for start in range(0, n_samples, len(silence)):
            yield [silence[: n_samples - start]] * like.layout.nb_channels

    def rest(self) -> Iterator[Channels]:
        """Yield the samples that are left, if any."""
        if self._fifo.samples:
            yield self._block()

    def _begin(self, kind: tuple[str, int, int]) -> Iterator[Channels]:
        """Yield the samples so far, and start a fifo for frames of another kind."""
        yield from self.rest()
        _, n_channels, rate_hz = kind
        if self._kind[1:] not in ((0, 0), kind[1:]):
            self._recording.change(rate_hz, n_channels)
        self._fifo, self._kind = av.AudioFifo(), kind
        # Fewer frames if there are many channels: 64 channels must not take 64 times the memory.
        self._block_frames = max(_FEWEST_FRAMES, 2 * BLOCK_FRAMES // max(2, n_channels))

    def _block(self) -> Channels:
        self._recording.block_rate_hz = self._kind[2]
        return _channels(self._fifo.read())


def _channels(frame: Any) -> Channels:
    kind, n_channels = np.dtype(_SAMPLES[frame.format.packed.name]), frame.layout.nb_channels
    if frame.format.is_planar:
        # Not `frame.planes`: that looks for the end of an array that has none if there are eight channels or more.
        planes = (AudioPlane(frame, number) for number in range(n_channels))
        return [np.frombuffer(memoryview(plane), kind, frame.samples) for plane in planes]
    packed = memoryview(AudioPlane(frame, 0))
    return np.frombuffer(packed, kind, frame.samples * n_channels).reshape(-1, n_channels).T
