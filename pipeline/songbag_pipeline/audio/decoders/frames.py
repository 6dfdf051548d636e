"""Decoding MP3 and FLAC with FFmpeg's decoders alone, which are given many frames at once.

FFmpeg's own way looks at every byte for where frames begin, and hands them out one at a time; that takes a fifth of all
its time. Here frames are counted off. A file in which that fails is `Damaged`, and is read again in FFmpeg's own way,
which gives the same samples and goes on behind the damage.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BufferedReader
from typing import Any, Protocol

import av

from songbag_pipeline.audio.decoders.ffmpeg import CODEC_OPTIONS, Joiner, open_ffmpeg
from songbag_pipeline.audio.files import RegularFile
from songbag_pipeline.audio.flac_frames import FlacFrames
from songbag_pipeline.audio.mpeg_frames import frame_bytes, mpeg_frame_bytes, read_first_frame
from songbag_pipeline.audio.recording import Blocks, Damaged, Recording
from songbag_pipeline.audio.sniff import AudioFormat
from songbag_pipeline.errors import SongError
from songbag_pipeline.types import FloatArray

_LARGEST_FRAME_BYTES = 4 << 20
_FIRST_BYTES = 4096


class Frames(Protocol):
    """The frames of one file."""

    codec: str
    extradata: bytes
    sample_rate_hz: int
    channels: int
    declared_frames: int | None
    """Samples in all, as far as the file says it."""
    first: int
    """Where the first frame begins, in bytes."""
    start: int
    """Of the samples the first that is music."""
    stop: int | None
    """The sample behind the last that is music."""
    n_samples: int | None
    """Samples that all frames hold at most, those that are no music included."""
    ends_whole: bool
    """Whether what lies behind the last beginning of a frame is a whole one."""

    bytes_at_once: int
    """How much to read and decode at a time: enough frames for a call, few enough for the cache."""

    def cuts(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield places where frames begin, in data that begin with one, and how many frames lie before each.

        They are counted from the place before it.

        Raises
        ------
        ValueError
            If there is something else between them.
        """
        ...


class Mp3Frames:
    """The frames of an MP3."""

    codec = "mp3float"
    bytes_at_once = 1 << 15
    extradata = b""
    ends_whole = False

    def __init__(self, sample_rate_hz: int, channels: int, first: int) -> None:
        self.sample_rate_hz, self.channels, self.first = sample_rate_hz, channels, first
        self.declared_frames: int | None = None
        self.n_samples: int | None = None
        self.stop: int | None = None
        self.start = 0

    @classmethod
    def read(cls, file: BufferedReader, first: int) -> Mp3Frames | None:
        """Read what the first frame says; None where it says it in another way than is known here."""
        head = os.pread(file.fileno(), _FIRST_BYTES, first)
        length = frame_bytes(head[:7])
        if len(head) < length:
            raise SongError("unreadable-header", "the mp3 header cannot be read (no whole frame)")
        said = read_first_frame(head[:length])
        if said is None:
            return None
        frames = cls(said.sample_rate_hz, said.channels, first + length if said.is_tag else first)
        frames.start, frames.stop, frames.n_samples = said.start, said.stop, said.n_samples
        if said.stop is not None:
            frames.declared_frames = max(0, said.stop - said.start)
        return frames

    def cuts(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield where the frame begins that is not whole; frames are counted off by the lengths in their headers."""
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


@contextmanager
def open_frames(file: RegularFile, form: AudioFormat) -> Iterator[tuple[Recording, Blocks]]:
    """Open an MP3 or FLAC file; see `songbag_pipeline.audio.decode.decode`."""
    frames: Frames | None = (FlacFrames if form.name == "flac" else Mp3Frames).read(file, form.start)
    if frames is None:
        with open_ffmpeg(file, form) as opened:
            yield opened
        return
    recording = Recording(form.name, frames.sample_rate_hz, frames.channels, frames.declared_frames)
    recording.integers = form.name == "flac"
    yield recording, partial(_music, file, frames)


def _music(file: RegularFile, frames: Frames, recording: Recording) -> Iterator[FloatArray]:
    """Leave out what an encoder put before and behind the music."""
    seen = 0
    for block in _decoded(file, frames, recording):
        kept = block[max(0, frames.start - seen) : None if frames.stop is None else max(0, frames.stop - seen)]
        seen += len(block)
        if frames.n_samples is not None and seen > frames.n_samples:
            raise recording.corrupt("there are more frames than the first one counts", Damaged)
        if len(kept):
            yield kept


def _decoded(file: RegularFile, frames: Frames, recording: Recording) -> Iterator[FloatArray]:
    joiner, codec = Joiner(recording), _codec(frames)
    rest, end = b"", _end(file)
    at = frames.first
    try:
        while piece := file.read_at(min(frames.bytes_at_once, end - at), at):
            at += len(piece)
            data, begin = rest + piece, 0
            for stop, n_frames in frames.cuts(data):
                if begin < stop:
                    yield from joiner.add_all(_decode(codec, memoryview(data)[begin:stop], n_frames))
                begin = stop
            rest = data[begin:]
            if len(rest) > _LARGEST_FRAME_BYTES:
                raise ValueError("no frame begins where one should")
        yield from _last(codec, frames, joiner, rest)
    except (av.FFmpegError, ValueError) as error:
        raise recording.corrupt(str(error), Damaged) from error
    if frames.ends_whole and recording.decoded_frames < (frames.declared_frames or 0):
        raise recording.corrupt("the end is not there, or is damaged", Damaged)
    recording.ended(noted=bool(rest) and not frames.ends_whole and frames.declared_frames is None)


def _last(codec: Any, frames: Frames, joiner: Joiner, rest: bytes) -> Iterator[FloatArray]:
    """Decode what lies behind the whole frames: the last one, or the beginning of one that is cut off."""
    if rest:
        try:
            yield from joiner.add_all(codec.decode(av.Packet(rest)))
        except (av.FFmpegError, ValueError):
            if frames.ends_whole:
                raise
    yield from joiner.add_all(codec.decode(None))
    left = joiner.rest()
    if left is not None:
        yield left


def _decode(codec: Any, data: Any, n_frames: int) -> list[av.AudioFrame]:
    decoded: list[av.AudioFrame] = codec.decode(av.Packet(data))
    if len(decoded) != n_frames:
        # Behind the first frame of a packet an error ends it in silence.
        raise ValueError(f"{n_frames - len(decoded)} of {n_frames} frames cannot be decoded")
    return decoded


def _codec(frames: Frames) -> Any:
    codec: Any = av.CodecContext.create(frames.codec, "r")
    codec.thread_count = 1
    # Channels one after the other are mixed twice as fast as those that take turns.
    codec.options = CODEC_OPTIONS | {"request_sample_fmt": "s16p"}
    if frames.extradata:
        codec.extradata = frames.extradata
    return codec


def _end(file: BufferedReader) -> int:
    """Return where the frames end: before tags at the end of the file (ID3v1, and APEv2 by its footer)."""
    end = os.fstat(file.fileno()).st_size
    if os.pread(file.fileno(), 3, max(0, end - 128)) == b"TAG":
        end -= 128
    footer = os.pread(file.fileno(), 32, max(0, end - 32))
    if footer[:8] == b"APETAGEX":
        header_bytes = 32 if footer[23] & 0x80 else 0
        end -= int.from_bytes(footer[12:16], "little") + header_bytes
    return max(0, end)
