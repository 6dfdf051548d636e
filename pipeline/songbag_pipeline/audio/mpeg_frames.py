"""Frames of MPEG audio and of ADTS, counted by the lengths in their headers."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from io import BufferedReader
from itertools import islice

from songbag_pipeline.audio.frames import Frames, Place
from songbag_pipeline.errors import SongError

_FIRST_BYTES = 4096
_TAGS = (b"Xing", b"Info", b"VBRI")
_TAG_WITHIN = 64
_ENCODERS_OF_FFMPEG = (b"LAME", b"Lavf", b"Lavc")
"""Encoders that FFmpeg believes what they say about samples before and after the music."""
_READ_AT_ONCE = 1 << 20
_FRAMES_BEFORE = 128
"""Frames after which an MP3 decoder has forgotten what was before: a frame uses up to 511 bytes of those before it, or
255 bytes of the shortest ones (ISO 13818-3, 2.4.2.7), at most 85; its samples overlap with those of two more."""
_DECODER_DELAY = 529
"""Samples that every MP3 decoder adds at the start (LAME's technical FAQ: 528, plus the first one)."""


def frame_bytes(header: bytes) -> int:
    """Return the length of a frame of MPEG audio or ADTS from its first 7 bytes; 0 if it is neither."""
    return _adts_length(header) or _mpeg_length(header)


@lru_cache(maxsize=4096)
def mpeg_frame_bytes(header: bytes) -> int:
    """Return the length of a frame of MPEG audio from its first 3 bytes; 0 if it is none."""
    return _mpeg_length(header + b"\0")


@lru_cache(maxsize=4096)
def _length_of_kind(header: bytes, kind: bytes) -> int:
    """Return the length of a frame from its first 3 bytes; 0 if it has another version, layer or sample rate."""
    return mpeg_frame_bytes(header) if len(header) > 2 and _kind_of(header) == kind else 0


def _kind_of(header: bytes) -> bytes:
    return bytes([header[1] & 0xFE, header[2] & 0x0C])


def _adts_length(header: bytes) -> int:
    """Return the length in bytes of an ADTS frame (ISO 13818-7, 6.2); 0 if it is none."""
    if len(header) < 7 or header[0] != 0xFF or not is_adts(header):
        return 0
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > 7 else 0


# Bit rates in kbit/s and sample rates in Hz of ISO 11172-3 and 13818-3, by version (MPEG-1, or 2 and 2.5) and layer.
_BIT_RATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = (44100, 48000, 32000)


def _mpeg_length(header: bytes) -> int:
    """Return the length in bytes of an MPEG audio frame (ISO 11172-3, 2.4.3.1); 0 if it is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    rate, frequency = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or rate in (0, 15) or frequency == 3:
        return 0
    generation = 1 if version == 3 else 2
    bit_rate = _BIT_RATES[generation, layer][rate - 1] * 1000
    sample_rate = _SAMPLE_RATES[frequency] >> (3 - version if version else 2)
    padding = header[2] >> 1 & 1
    if layer == 1:
        return (12 * bit_rate // sample_rate + padding) * 4
    samples = 72 if layer == 3 and generation == 2 else 144
    return samples * bit_rate // sample_rate + padding


def is_adts(header: bytes) -> bool:
    """Return whether the header of a frame is one of ADTS, and not of MPEG audio."""
    return header[1] & 0xF6 == 0xF0


def is_layer_3(header: bytes) -> bool:
    """Return whether the header of an MPEG frame is that of an MP3, and not of layer 1 or 2."""
    return header[1] >> 1 & 3 == 1


class Mp3Frames(Frames):
    """The frames of an MP3."""

    codec = "mp3float"
    bytes_at_once = 1 << 15
    _kind = b""
    _frame_samples = 0
    _as_ffmpeg = True

    @classmethod
    def read(cls, file: BufferedReader, first: int) -> Mp3Frames:
        """Read the first frame of a file; it may count the others."""
        head = os.pread(file.fileno(), _FIRST_BYTES, first)
        length = frame_bytes(head[:7])
        if len(head) < length:
            raise SongError("unreadable-header", "the mp3 header cannot be read (no whole frame)")
        return cls.of(head[:length], first)

    @classmethod
    def of(cls, frame: bytes, first: int) -> Mp3Frames:
        """Read the first frame; it may count the others."""
        version = frame[1] >> 3 & 3
        channels = 1 if frame[3] >> 6 == 3 else 2
        frames = cls(_SAMPLE_RATES[frame[2] >> 2 & 3] >> (3 - version if version else 2), channels, first)
        frames._kind, frames._frame_samples = _kind_of(frame), 1152 if version == 3 else 576
        tag = next((frame[at:] for mark in _TAGS if (at := frame.find(mark, 0, _TAG_WITHIN)) >= 0), b"")
        if tag:
            # The frame with the tag holds no music.
            frames.first += len(frame)
            frames._take_vbri(tag) if tag.startswith(b"VBRI") else frames._take_info(tag)
        return frames

    def _take_vbri(self, tag: bytes) -> None:
        """Take the number of frames from Fraunhofer's tag, with which some programs count the frame of the tag too."""
        self._as_ffmpeg, self.slack_samples = False, self._frame_samples
        self.n_samples = int.from_bytes(tag[14:18]) * self._frame_samples or None
        self.declared_frames = self.n_samples

    def _take_info(self, tag: bytes) -> None:
        """Take the number of frames, and of samples before and after the music (Mp3 Info Tag rev 1, "encoder delays").

        A tag without the name of an encoder says nothing of them.
        """
        flags = int.from_bytes(tag[4:8])
        n_frames = int.from_bytes(tag[8:12]) if flags & 1 else 0
        encoder = 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
        self._as_ffmpeg = tag[encoder : encoder + 4] in _ENCODERS_OF_FFMPEG and n_frames > 0
        if n_frames:
            named = tag[encoder : encoder + 1] not in (b"", b"\0")
            delays = int.from_bytes(tag[encoder + 21 : encoder + 24]) if named else 0
            self.n_samples = n_frames * self._frame_samples
            self.start = (delays >> 12) + _DECODER_DELAY
            self.stop = min(self.n_samples - (delays & 0xFFF) + _DECODER_DELAY, self.n_samples)
            self.declared_frames = max(0, self.stop - self.start)

    def are_countable(self, file: BufferedReader, end: int) -> bool:
        """Return whether decoding will not go on with FFmpeg's demuxer, or without a gap if it does.

        Of most encoders FFmpeg does not leave out what stands before the music. So their frames must be no more than
        they are said to be, and nothing else may be between them: as in files that were joined.
        """
        if self._as_ffmpeg:
            return True
        number, stop = 0, self.first
        for at, length in self._walk(file, end):
            number, stop = number + 1, at + length
            if self.n_samples is not None and number * self._frame_samples > self.n_samples:
                return False
        left = os.pread(file.fileno(), min(3, max(0, end - stop)), stop)
        return len(left) < 3 or _length_of_kind(left, self._kind) > end - stop

    def place(self, file: BufferedReader, sample: int, end: int) -> Place:
        """Return the frame of a sample: frames are counted by their headers, which takes a hundredth of decoding."""
        wanted = sample // self._frame_samples
        before: deque[tuple[int, int]] = deque(maxlen=_FRAMES_BEFORE)
        number, at = 0, self.first
        for place, length in islice(self._walk(file, end), wanted):
            before.append((place, length))
            number, at = number + 1, place + length
        if number < wanted:
            raise ValueError("the frames end, or something else is between them")
        return Place(at, number * self._frame_samples, tuple(before))

    def _walk(self, file: BufferedReader, end: int) -> Iterator[tuple[int, int]]:
        """Yield place and length of each whole frame, up to the first one of another kind or to something else."""
        at = self.first
        while data := os.pread(file.fileno(), min(_READ_AT_ONCE, max(0, end - at)), at):
            read = 0
            while (length := _length_of_kind(data[read : read + 3], self._kind)) and read + length <= len(data):
                yield at + read, length
                read += length
            if not read:
                return
            at += read

    def cuts(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield where the last frame begins, which is not whole; frames are counted by the lengths in their headers."""
        at = n_frames = 0
        while at + 3 <= len(data):
            length = mpeg_frame_bytes(data[at : at + 3])
            if not length:
                raise ValueError("there is something else between frames")
            if at + length > len(data):
                break
            at += length
            n_frames += 1
        yield at, n_frames
