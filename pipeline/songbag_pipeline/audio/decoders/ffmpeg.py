"""Vorbis, Opus, formats that only FFmpeg reads, and damaged MP3 and FLAC files, through PyAV."""

from __future__ import annotations

import os
import struct
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import Any

import av
import numpy as np

from songbag_pipeline.audio.mpeg_frames import frame_bytes
from songbag_pipeline.audio.recording import BLOCK_FRAMES, Blocks, Recording, mono
from songbag_pipeline.audio.sniff import AudioFormat
from songbag_pipeline.errors import SongError
from songbag_pipeline.types import FloatArray

CODEC_OPTIONS = {"err_detect": "crccheck+explode"}
"""Without them FFmpeg returns a FLAC frame with a wrong checksum as noise."""

_PACKET_ERRORS_BEYOND = 0.05
_SAMPLES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
_OGG_PAGE_BYTES = 27 + 255 + 255 * 255
_LAST_HEADERS = (b"\x05vorbis", b"OpusTags")
_HEADER_BYTES = 64


@contextmanager
def open_ffmpeg(file: BufferedReader, form: AudioFormat) -> Iterator[tuple[Recording, Blocks]]:
    """Open with FFmpeg as the format that was recognised: no playlist, no other file, no network."""
    cut_off, counted = _ends_early(file, form), _counts_its_length(file, form)
    file.seek(0)
    options = {"format_whitelist": f"{form.container},mov,mp4,m4a,3gp,3g2,mj2,webm", "protocol_whitelist": "file"}
    try:
        container = av.open(file, format=form.container, options=options)
    except (av.FFmpegError, IndexError, ValueError, OSError) as error:
        head = os.pread(file.fileno(), _OGG_PAGE_BYTES, 0)
        if form.container == "ogg" and any(mark in head for mark in _LAST_HEADERS):
            raise SongError("no-audio", "the file ends, or is damaged, after its header") from error
        raise SongError("unreadable-header", f"the {form.name} header cannot be read ({error})") from error
    with container:
        if not container.streams.audio:
            raise SongError("no-audio", "the file has no audio stream")
        stream = container.streams.audio[0]
        codec = stream.codec_context
        if codec is None or not codec.sample_rate:
            raise SongError("unsupported-codec", f"FFmpeg has no decoder for the audio in this {form.name} file")
        codec.thread_count = 1
        codec.options = CODEC_OPTIONS
        declared_s = _declared_s(container, stream) if counted else None
        declared = None if declared_s is None else round(declared_s * codec.sample_rate)

        def blocks(recording: Recording) -> Iterator[FloatArray]:
            last, decoded = yield from _packets(container, stream, recording)
            # Some encoders leave out the end of the last frame, so it means nothing if the length is known.
            cut_within = declared is None and frame_bytes(last[:7]) > len(last)
            recording.ended(noted=cut_off or cut_within or (form.container == "flac" and not decoded))

        yield Recording(form.name, codec.sample_rate, codec.channels, declared), blocks


def _declared_s(container: Any, stream: Any) -> float | None:
    """Return the duration in the header, in seconds."""
    if stream.name.startswith("pcm_") and stream.frames:
        return float(stream.frames / stream.codec_context.sample_rate)
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _counts_its_length(file: BufferedReader, form: AudioFormat) -> bool:
    """Return whether the header has a length; if not, FFmpeg guesses it from the size of the file."""
    if form.container == "matroska":
        return _segment_end(file) is not None
    return form.container not in ("aac", "mp3")


def _ends_early(file: BufferedReader, form: AudioFormat) -> bool:
    """Return whether the container shows that the end of the file is missing."""
    if form.container == "ogg":
        return _lacks_last_page(file)
    ends = {"matroska": _segment_end, "caf": _chunks_end}
    end = ends[form.container](file) if form.container in ends else None
    return end is not None and os.fstat(file.fileno()).st_size < end


def _lacks_last_page(file: BufferedReader) -> bool:
    """Return whether an Ogg file ends before the page that is marked as the last (RFC 3533, section 6)."""
    size = os.fstat(file.fileno()).st_size
    end = os.pread(file.fileno(), _OGG_PAGE_BYTES, max(0, size - _OGG_PAGE_BYTES))
    page = end.rfind(b"OggS")
    return page < 0 or len(end) < page + 6 or not end[page + 5] & 4


def _chunks_end(file: BufferedReader) -> int | None:
    """Return where the samples of a CAF file end; None if it does not say (Apple's CAF specification 1.0)."""
    start = 8
    while len(head := os.pread(file.fileno(), 12, start)) == 12:
        kind, n_bytes = struct.unpack(">4sq", head)
        if kind == b"data" or n_bytes < 0:
            return None if n_bytes < 0 else start + 12 + n_bytes
        start += 12 + n_bytes
    return start


def _segment_end(file: BufferedReader) -> int | None:
    """Return where a Matroska file's segment ends; None if it does not say (RFC 8794, 4 and 6.2)."""
    head = os.pread(file.fileno(), _HEADER_BYTES, 0)
    header_bytes, start = _element_size(head, 4)
    if header_bytes is None:
        return None
    segment_bytes, begin = _element_size(head, start + header_bytes + 4)
    return None if segment_bytes is None else begin + segment_bytes


def _element_size(data: bytes, start: int) -> tuple[int | None, int]:
    """Read an EBML element's size at a place: the size, None if unknown, and where its content begins."""
    first = data[start] if start < len(data) else 0
    if first == 0:
        return None, start
    length = 9 - first.bit_length()
    value = int.from_bytes(data[start : start + length]) & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), start + length


def _packets(container: Any, stream: Any, recording: Recording) -> Generator[FloatArray, None, tuple[bytes, bool]]:
    """Decode packet by packet; return the last, and whether it could be decoded.

    A few packets that cannot be decoded are left out; many are an error.
    """
    packets = errors = 0
    last, decoded = None, True
    joiner = Joiner(recording)
    try:
        for packet in container.demux(stream):
            packets += 1
            last = packet if packet.size else last
            try:
                frames = packet.decode()
            except (av.FFmpegError, ValueError) as error:
                if "decode unknown codec" in str(error):
                    raise SongError("unsupported-codec", "FFmpeg has no decoder for this codec") from error
                errors += 1
                decoded = False
                continue
            decoded = decoded or packet.size > 0
            yield from joiner.add_all(frames)
        yield from joiner.rest()
    except (av.FFmpegError, IndexError) as error:
        raise recording.corrupt(str(error)) from error
    if errors > max(1, packets * _PACKET_ERRORS_BEYOND):
        raise SongError("corrupt", f"{errors} of {packets} packets could not be decoded")
    return b"" if last is None else bytes(last), decoded


class Joiner:
    """Joins FFmpeg's frames of a thousand samples to mono blocks, before Python works on them.

    The type of the samples and the number of channels may change within a file.
    """

    def __init__(self, recording: Recording) -> None:
        self._rate_hz = recording.sample_rate_hz
        self._fifo = av.AudioFifo()
        self._kind = ("", 0, 0)

    def add_all(self, frames: Iterable[av.AudioFrame]) -> Iterator[FloatArray]:
        """Add frames; yield a block whenever there is enough for one."""
        for frame in frames:
            kind = frame.format.name, frame.layout.nb_channels, frame.sample_rate
            if kind != self._kind:
                yield from self._begin(kind)
            # Time stamps may jump, which the fifo refuses.
            frame.pts = None
            self._fifo.write(frame)
            if self._fifo.samples >= BLOCK_FRAMES:
                yield _mixed(self._fifo.read())

    def _begin(self, kind: tuple[str, int, int]) -> Iterator[FloatArray]:
        """Yield the samples so far, and start a fifo for frames of another kind."""
        if kind[2] != self._rate_hz:
            raise SongError("corrupt", "the sample rate changes within the file")
        yield from self.rest()
        self._fifo, self._kind = av.AudioFifo(), kind

    def rest(self) -> Iterator[FloatArray]:
        """Yield the samples that are left, if any."""
        frame = self._fifo.read()
        if frame is not None:
            yield _mixed(frame)


def _mixed(frame: Any) -> FloatArray:
    kind, n_channels = np.dtype(_SAMPLES[frame.format.packed.name]), frame.layout.nb_channels
    if frame.format.is_planar:
        return mono([np.frombuffer(memoryview(plane), kind, frame.samples) for plane in frame.planes])
    return mono(np.frombuffer(memoryview(frame.planes[0]), kind, frame.samples * n_channels).reshape(-1, n_channels).T)
