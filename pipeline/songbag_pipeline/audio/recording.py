"""What a decoder gives: a recording, and its samples as blocks of channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from songbag_pipeline.errors import SongError
from songbag_pipeline.types import FloatArray
from songbag_store.words import counted

BLOCK_FRAMES = 1 << 16
"""Frames decoded at once: so many that the call costs little, so few that they stay in the cache."""

MAX_CHANNELS = 64
SAMPLE_RATES_HZ = (1_000, 768_000)

_TRUNCATED_BEYOND = 0.01


class Undecodable(SongError):
    """What a decoder says of a file that another one may still read.

    Attributes
    ----------
    whole_s : float
        How much of the recording is there, as far as this decoder knows, in seconds.
    """

    def __init__(self, code: str, what: str, *, whole_s: float = 0.0) -> None:
        super().__init__(code, what)
        self.whole_s = whole_s


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """What is wanted of a recording, in seconds from its beginning; each bound is the nearest sample of the file."""

    start_s: float = 0.0
    end_s: float | None = None
    """None: to its end."""
    longest_s: float | None = None
    """The most that is wanted, from `start_s` on; None: all of it."""


WHOLE = Excerpt()


@dataclasses.dataclass(slots=True)
class _Count:
    """Frames, counted at rates that may change."""

    rate_hz: int
    frames: int = 0
    earlier_s: float = 0.0

    @property
    def seconds(self) -> float:
        return self.earlier_s + self.frames / self.rate_hz

    def add(self, n_frames: int, rate_hz: int) -> None:
        if rate_hz != self.rate_hz:
            self.earlier_s, self.frames, self.rate_hz = self.seconds, 0, rate_hz
        self.frames += n_frames

    def until(self, end_s: float, rate_hz: int, to_whole: Callable[[float], int] = int) -> int:
        """Return how many frames of a rate are left until a time; it may be negative."""
        if rate_hz != self.rate_hz:
            return to_whole((end_s - self.seconds) * rate_hz)
        return to_whole((end_s - self.earlier_s) * rate_hz) - self.frames


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
    truncated : bool
        Whether the end of the file is missing; known after the last block.
    integers : bool
        Whether the format has only integer samples, so that none is NaN or infinite.
    block_rate_hz : int
        Sample rate of the last block; another one than the header's if it changes within the recording.
    slack_s : float
        How much of the length in the header may be what an encoder puts around the music.
    start_s : float
        Where what is wanted of it begins.
    notes : list of str
        What decoders left out or chose.
    """

    source_format: str
    sample_rate_hz: int
    channels: int
    declared_frames: int | None
    truncated: bool = False
    integers: bool = False
    block_rate_hz: int = 0
    slack_s: float = 0.0
    start_s: float = 0.0
    notes: list[str] = dataclasses.field(default_factory=list)
    _change: str = ""
    _n_changes: int = 0
    _missing_s: float = 0.0
    _missed_s: float = 0.0
    _missed_at_s: float = 0.0
    _repeated_s: float = 0.0
    _decoded: _Count = dataclasses.field(init=False)
    _kept: _Count = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.block_rate_hz = self.sample_rate_hz
        self._decoded, self._kept = _Count(self.sample_rate_hz), _Count(self.sample_rate_hz)

    @property
    def declared_s(self) -> float | None:
        """The length in the header, in seconds; None if it has none, or a length that the recording exceeds."""
        if self.declared_frames is None or self.declared_frames <= 0:
            return None
        declared_s = self.declared_frames / self.sample_rate_hz
        return None if falls_short(declared_s, self.decoded_s) else declared_s

    @property
    def decoded_s(self) -> float:
        """How far it is decoded, in seconds from its beginning."""
        return self._decoded.seconds

    @property
    def kept_s(self) -> float:
        """How much of it was wanted so far, in seconds."""
        return self._kept.seconds

    @property
    def decoded_frames(self) -> int:
        """How far it is decoded, in frames at the rate of the header."""
        return round(self.decoded_s * self.sample_rate_hz)

    @property
    def note(self) -> str | None:
        """What a user should know who wonders about the features."""
        times = f", and {counted(self._n_changes - 1, 'time')} more" if self._n_changes > 1 else ""
        changes = [f"the stream changes: {self._change}{times}"] if self._n_changes else []
        at = f"{self._missed_s:.3f} s are missing or damaged, and silent here, the first at {self._missed_at_s:.1f} s"
        missed = [at] if self._missed_s else []
        more = f"{self._repeated_s:.3f} s are in the file once more, or out of their order, and were left out"
        repeated = [more] if self._repeated_s else []
        return "; ".join(self.notes + missed + repeated + changes) or None

    def check(self, sample_rate_hz: int, channels: int) -> None:
        """Refuse what no recording has.

        Raises
        ------
        SongError
            ``bad-sample-rate``, ``too-many-channels`` or ``unreadable-header``.
        """
        if sample_rate_hz < 1 or channels < 1:
            raise Undecodable("unreadable-header", "the header gives no sample rate, or no channel")
        low, high = SAMPLE_RATES_HZ
        if not low <= sample_rate_hz <= high:
            raise SongError("bad-sample-rate", f"the header gives {sample_rate_hz} Hz, outside {low} to {high}")
        if channels > MAX_CHANNELS:
            raise SongError("too-many-channels", f"the header gives {channels} channels, above {MAX_CHANNELS}")

    def change(self, sample_rate_hz: int, channels: int) -> None:
        """Note that the stream goes on with another rate or number of channels, and check them."""
        self.check(sample_rate_hz, channels)
        self._n_changes += 1
        self._change = self._change or f"from {self.decoded_s:.1f} s on, {sample_rate_hz} Hz and {channels} channel(s)"

    def miss(self, n_frames: int) -> None:
        """Note that the next frames, at the rate of the last block, are silence because they are missing or damaged."""
        missing_s = n_frames / self.block_rate_hz
        self._missing_s += missing_s
        if self.decoded_s + missing_s > self.start_s:
            self._missed_at_s = self._missed_at_s if self._missed_s else self.decoded_s
            self._missed_s += missing_s

    def repeat(self, n_frames: int) -> None:
        """Note that so many frames, at the rate of the last block, were left out because they had been there before."""
        self._repeated_s += n_frames / self.block_rate_hz

    def declare_more(self, n_frames: int | None, rate_hz: int) -> None:
        """Add the length of the next of several recordings in one file."""
        if self.declared_frames is not None and n_frames is not None:
            self.declared_frames += round(n_frames * self.sample_rate_hz / rate_hz)

    def begin_at(self, n_frames: int) -> None:
        """Note that the first block does not begin with the recording, but after so many frames of it."""
        self._decoded.frames = n_frames

    def wanted(self, excerpt: Excerpt, n_frames: int) -> tuple[int, int]:
        """Return which frames of the last block are wanted: the first one, and the one after the last."""
        stop = max(0, min(n_frames, self._left(excerpt, n_frames)))
        if not excerpt.start_s:
            return 0, stop
        return min(stop, max(0, self._decoded.until(excerpt.start_s, self.block_rate_hz, round))), stop

    def is_over(self, excerpt: Excerpt) -> bool:
        """Return whether nothing more is wanted."""
        return self._left(excerpt, 1) <= 0

    def _left(self, excerpt: Excerpt, at_most: int) -> int:
        """Return how many frames at the rate of the last block may be left to decode, and at most so many."""
        left = at_most
        if excerpt.end_s is not None:
            left = min(left, self._decoded.until(excerpt.end_s, self.block_rate_hz, round))
        if excerpt.longest_s is not None:
            skipped = max(0, self._decoded.until(excerpt.start_s, self.block_rate_hz, round)) if excerpt.start_s else 0
            left = min(left, skipped + self._kept.until(excerpt.longest_s, self.block_rate_hz))
        return left

    def count(self, n_frames: int, n_kept: int) -> None:
        """Count the frames of a block that were decoded, and those of them that were wanted."""
        self._decoded.add(n_frames, self.block_rate_hz)
        self._kept.add(n_kept, self.block_rate_hz)

    def declared_of(self, excerpt: Excerpt) -> float | None:
        """Return how long what is wanted is said to be: by its bounds, else by the header."""
        if excerpt.end_s is not None:
            return excerpt.end_s - excerpt.start_s
        return None if self.declared_s is None else max(0.0, self.declared_s - excerpt.start_s)

    def ended_within(self, excerpt: Excerpt) -> None:
        """Note that the recording has ended and more was wanted; refuse it if nothing of that is there.

        Raises
        ------
        SongError
            ``part-beyond-end``.
        """
        if excerpt.start_s and not self.kept_s:
            what = f"the part begins at {excerpt.start_s:.3f} s, and the recording ends at {self.decoded_s:.3f} s"
            raise SongError("part-beyond-end", what)
        if excerpt.end_s is not None and falls_short(self.kept_s, excerpt.end_s - excerpt.start_s):
            self.truncated = True
            self.notes.append(f"the part ends at {excerpt.end_s:.3f} s, and the recording at {self.decoded_s:.3f} s")

    def ended(self, noted: bool) -> None:
        """Note the end of the stream: truncated if the decoder says so, or more than 1 % is missing."""
        self.truncated = noted or falls_short(self.decoded_s - self._missing_s + self.slack_s, self.declared_s or 0)

    def corrupt(self, reason: str) -> Undecodable:
        """Return the error for a recording that cannot be decoded from here on."""
        whole = f" of {self.declared_s:.1f} s" if self.declared_s else ""
        what = f"decoding stopped at {self.decoded_s:.1f} s{whole} ({reason.rstrip('.')})"
        return Undecodable("corrupt", what, whole_s=self.decoded_s)


AnyArray: TypeAlias = npt.NDArray[Any]
Channels: TypeAlias = Sequence[AnyArray] | AnyArray
"""The samples of each channel, of shape (S,): floats of which 1 is full scale, or integers that fill their type."""
Blocks = Callable[[Recording, float], Iterator[Channels]]
"""Decodes a recording to blocks, which are valid until the next one is drawn, and notes on it what is found.

Nothing before the seconds given is needed: a decoder that can find a later place begins there, and says so with
`Recording.begin_at`. Its samples from there on are those that it gives of the whole.
"""


def falls_short(present: float, declared: float) -> bool:
    """Return whether more than 1 % of the declared length is missing."""
    return present < declared * (1 - _TRUNCATED_BEYOND)


@dataclasses.dataclass(frozen=True, slots=True)
class Scale:
    """How samples of a type stand for [-1, 1].

    Attributes
    ----------
    middle, full : float
        The number that stands for 0, and the distance from it to the one that stands for -1.
    bits : int
        Resolution: 8 for integers of 8 bits, else 16, because files with more often hold what once had 16.
    low, high : float
        Samples at full scale: up to the one and from the other on, which are one step of this resolution inside it.
    """

    middle: float
    full: float
    bits: int
    low: float
    high: float


@cache
def scale_of(kind: np.dtype[Any]) -> Scale:
    """Return the scale of a type of samples."""
    bits = 8 if kind.itemsize == 1 else 16
    if kind.kind not in "iu":
        return Scale(0.0, 1.0, bits, 2.0 ** (1 - bits) - 1, 1 - 2.0 ** (1 - bits))
    full = 1 << (8 * kind.itemsize - 1)
    middle, step = full if kind.kind == "u" else 0, full >> (bits - 1)
    # Integers stay integers: an array is compared with a float ten times slower.
    return Scale(middle, full, bits, middle - full + step, middle + full - step)


def cut(channels: Channels, start: int, stop: int | None) -> Channels:
    """Return a part of a block."""
    if start == 0 and (stop is None or stop >= len(channels[0])):
        return channels
    return [channel[start:stop] for channel in channels]


def mono(channels: Channels) -> FloatArray:
    """Return the mean of the channels of a block, in [-1, 1]."""
    # Channel by channel this is 20 times faster than a mean over an axis.
    first, *others = channels
    scale = scale_of(first.dtype)
    # Adding integers directly would convert them in small pieces.
    floats = (channel.astype(np.float32, copy=False) for channel in others)
    total = np.add(first.astype(np.float32, copy=False), next(floats)) if others else first.astype(np.float32)
    for channel in floats:
        total += channel
    if scale.middle:
        total -= np.float32(scale.middle * len(channels))
    if len(channels) * scale.full != 1:
        total *= np.float32(1 / (len(channels) * scale.full))
    return total
