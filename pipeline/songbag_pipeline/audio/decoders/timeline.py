"""Where frames belong by their times, in codecs whose frames say it to the sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

from songbag_pipeline.audio.decoders.joiner import Joiner
from songbag_pipeline.audio.recording import Channels, Recording

_COUNTED = {"flac": ("flac",), "mp3": ("mp3float", "mp3"), "mov": ("alac",)}
"""Codecs, by container, of which parts are found by the numbers or times of their frames (see `decode`).

What cannot be decoded must be as long in the whole, so that a part has the samples that the whole has there. The
reference decoder of FLAC does the same: it writes silence for frames that are missing or damaged.
"""
_LONGEST_S = 3600
"""A longer gap is no gap, but a wrong number."""
_REPEATED_S = 10.0
"""How far back a frame may go that is there once more; one that goes further back begins another recording."""


class Timeline:
    """Puts silence where samples are missing between the frames of a stream, or before the first one.

    Frames of FLAC that are there once more, or too late, are left out.
    """

    def __init__(self, recording: Recording, container: Any, stream: Any, *, is_beginning: bool) -> None:
        self._recording = recording
        name, codec = container.format.name.split(",")[0], stream.codec_context
        self._rate_hz = codec.sample_rate
        ticks = Fraction(1, self._rate_hz) / stream.time_base
        counted = codec.name in _COUNTED.get(name, ()) and ticks.denominator == 1
        self._ticks = ticks.numerator if counted else 0
        self._is_numbered = counted and codec.name == "flac"
        self._next: int | None = stream.start_time if is_beginning else None
        self._usual = 0

    @property
    def is_known(self) -> bool:
        """Whether the times of frames are exact, so that nothing goes unnoticed that is missing."""
        return self._ticks > 0

    def filled(self, frames: Iterable[Any], joiner: Joiner) -> Iterator[Channels]:
        """Join frames to blocks."""
        for frame in frames:
            if self._is_repeated(frame):
                self._recording.repeat(frame.samples)
                continue
            if missing := self._missing_before(frame):
                yield from joiner.add_silence(missing, frame)
            yield from joiner.add_all([frame])

    def _is_repeated(self, frame: Any) -> bool:
        """Return whether all samples of a frame have their place before the end of the frame before it."""
        self._usual = self._usual or frame.samples
        if not self._is_numbered or frame.pts is None or self._next is None or frame.sample_rate != self._rate_hz:
            return False
        if frame.samples != self._usual:  # of a shorter last one, FFmpeg may give a wrong time
            return False
        ahead = (self._next - frame.pts) // self._ticks
        return bool(frame.samples <= ahead <= _REPEATED_S * self._rate_hz)

    def _missing_before(self, frame: Any) -> int:
        """Return how many samples are missing between the frame before this one and this one."""
        if frame.sample_rate != self._rate_hz:
            self._next = None
            return 0
        # Around damage, FFmpeg passes on several frames at once, of which it knows no time.
        begin = self._next if frame.pts is None else frame.pts
        missing = 0 if begin is None or self._next is None else max(0, (begin - self._next) // self._ticks)
        self._next = None if begin is None else begin + frame.samples * self._ticks
        longest = _LONGEST_S * self._rate_hz
        if self._recording.declared_frames is not None:
            longest = min(longest, self._recording.declared_frames - self._recording.decoded_frames)
        return missing if missing <= longest else 0
