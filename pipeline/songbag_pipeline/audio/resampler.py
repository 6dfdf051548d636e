"""A recording at the sample rate of the features."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import soxr

from songbag_pipeline.audio.recording import Recording
from songbag_pipeline.types import FloatArray


def resampled(recording: Recording, blocks: Iterator[FloatArray], target_hz: int) -> Iterator[FloatArray]:
    """Resample a stream of blocks; joined, the pieces are what soxr's HQ recipe gives for the whole song.

    If the rate of the blocks changes, every stretch of one rate is resampled by itself.
    """
    stretch = None
    for block in blocks:
        if stretch is None or stretch.source_hz != recording.block_rate_hz:
            if stretch is not None:
                yield from stretch.rest()
            stretch = _Stretch(recording.block_rate_hz, target_hz)
        yield stretch.push(block)
    if stretch is not None:
        yield from stretch.rest()


class _Stretch:
    """Blocks of one rate."""

    def __init__(self, source_hz: int, target_hz: int) -> None:
        self.source_hz, self._target_hz = source_hz, target_hz
        same = source_hz == target_hz
        self._stream = None if same else soxr.ResampleStream(source_hz, target_hz, 1, dtype="float32", quality="HQ")
        self._taken = self._given = 0

    def push(self, block: FloatArray) -> FloatArray:
        if self._stream is None:
            return block
        piece: FloatArray = self._stream.resample_chunk(block)
        self._taken += len(block)
        self._given += len(piece)
        return piece

    def rest(self) -> Iterator[FloatArray]:
        """Yield what is left, so that there are as many samples as `librosa.load` gives."""
        if self._stream is not None:
            missing = math.ceil(self._taken * self._target_hz / self.source_hz) - self._given
            rest = self._stream.resample_chunk(np.empty(0, np.float32), last=True)[:missing]
            yield rest
            yield np.zeros(missing - len(rest), np.float32)
