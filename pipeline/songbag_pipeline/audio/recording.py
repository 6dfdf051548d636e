"""What a decoder gives: a recording, and its samples as mono blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from songbag_pipeline.errors import SongError
from songbag_pipeline.types import FloatArray

BLOCK_FRAMES = 1 << 16
"""Frames decoded at once: so many that the call costs little, so few that they stay in the cache."""

_TRUNCATED_BEYOND = 0.01


class Damaged(SongError):
    """A damaged part where this decoder stops; another one may go on."""


@dataclasses.dataclass(slots=True)
class Recording:
    """An open recording: its header, and what decoding has found so far.

    Attributes
    ----------
    source_format : str
        By content, such as ``mp3`` or ``ogg-vorbis``.
    sample_rate_hz, channels : int
        As in the header.
    declared_frames : int or None
        Length in the header; None if it has none. It may be wrong, and may be known only at the end.
    decoded_frames : int
        Frames decoded so far.
    truncated : bool
        Whether the end of the file is missing; known after the last block.
    integers : bool
        Whether the format has only integer samples, so that none is NaN or infinite.
    """

    source_format: str
    sample_rate_hz: int
    channels: int
    declared_frames: int | None
    decoded_frames: int = 0
    truncated: bool = False
    integers: bool = False

    @property
    def declared_s(self) -> float | None:
        """The length in the header, in seconds."""
        return None if self.declared_frames is None else self.declared_frames / self.sample_rate_hz

    def ended(self, noted: bool) -> None:
        """Note the end of the stream: truncated if the decoder says so, or more than 1 % is missing."""
        self.truncated = noted or falls_short(self.decoded_frames, self.declared_frames or 0)

    def corrupt(self, reason: str, kind: type[SongError] = SongError) -> SongError:
        """Return the error for a recording that cannot be decoded from here on."""
        at_s = self.decoded_frames / self.sample_rate_hz
        whole = f" of {self.declared_s:.1f} s" if self.declared_s else ""
        return kind("corrupt", f"decoding stopped at {at_s:.1f} s{whole} ({reason.rstrip('.')})")


Blocks = Callable[[Recording], Iterator[FloatArray]]
"""Decodes a recording to mono blocks, float32 of shape (S,), and notes on it what is found."""


def falls_short(present: int, declared: int) -> bool:
    """Return whether more than 1 % of the declared length is missing."""
    return present < declared * (1 - _TRUNCATED_BEYOND)


def mono(channels: Sequence[npt.NDArray[Any]] | npt.NDArray[Any]) -> FloatArray:
    """Return the mean of channels in [-1, 1], each of shape (S,), of floats or of full-scale integers."""
    # Channel by channel this is 20 times faster than a mean over an axis.
    first, *others = channels
    scale = 1 / len(channels)
    middle = 0
    if first.dtype.kind in "iu":
        info = np.iinfo(first.dtype)
        middle = (info.max + 1) >> 1 if info.min == 0 else 0
        scale /= middle or info.max + 1
    total = first.astype(np.float32)
    for channel in others:
        total += channel.astype(np.float32)  # adding integers directly would convert them in small pieces
    if middle:
        total -= np.float32(middle * len(channels))
    if scale != 1:
        total *= np.float32(scale)
    return total
