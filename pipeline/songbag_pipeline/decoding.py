"""Audio files as streams of mono samples: libsndfile through soundfile, FFmpeg through PyAV."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from songbag_pipeline.errors import SongError
from songbag_pipeline.features import FloatArray
from songbag_pipeline.sniffing import FLAC, AudioFormat, sniff

MAX_CHANNELS = 64
SAMPLE_RATES_HZ = (1_000, 768_000)

_BLOCK_FRAMES = 1 << 17
_TRUNCATED_BEYOND = 0.01
_PACKET_ERRORS_BEYOND = 0.05
_OGG_PAGE_BYTES = 27 + 255 + 255 * 255


class DamagedFlac(SongError):
    """A damaged part that libsndfile does not go beyond."""


@dataclasses.dataclass(slots=True)
class Recording:
    """An open recording: what its header says, and what decoding has found so far.

    Attributes
    ----------
    source_format : str
        By content, such as ``mp3`` or ``ogg-vorbis``.
    sample_rate_hz, channels : int
        As in the header.
    declared_frames : int or None
        Length in the header; None where it gives none. It is never relied on.
    decoded_frames : int
        Frames decoded so far.
    truncated : bool
        Whether the file ended before it should have; known when the last block is out.
    """

    source_format: str
    sample_rate_hz: int
    channels: int
    declared_frames: int | None
    decoded_frames: int = 0
    truncated: bool = False

    def ended(self, noted: bool) -> None:
        """Note the end of the stream: truncated if the decoder said so, or over 1 % of the declared length lacks."""
        declared = self.declared_frames or 0
        self.truncated = noted or self.decoded_frames < declared * (1 - _TRUNCATED_BEYOND)


class Blocks(Protocol):
    """A decoder's stream of mono blocks, float32 of shape (S,), of a recording."""

    def __call__(self, recording: Recording) -> Iterator[FloatArray]:
        """Decode to the end, noting on the recording what is found."""
        ...


@contextmanager
def decode(
    file: BufferedReader, max_duration_s: float | None = None, *, leniently: bool = False
) -> Iterator[tuple[Recording, Iterator[FloatArray]]]:
    """Decode an open file as a stream.

    Parameters
    ----------
    file : binary file
        A regular file; read from its beginning.
    max_duration_s : float, optional
        Stop after this much of the recording, in seconds.
    leniently : bool
        Leave damaged parts of a FLAC file out where they are few, at half the speed.

    Yields
    ------
    recording : Recording
        What the header says; filled in as the blocks are drawn.
    blocks : iterator of float32, shape (S,)
        Mono samples at the recording's own rate, in order; all finite.

    Raises
    ------
    DamagedFlac
        If a FLAC file has a damaged part; decoding it leniently may do.
    SongError
        If the file cannot be used, here or while drawing blocks.
    """
    form = sniff(file)
    if leniently:
        form = dataclasses.replace(form, decoder="ffmpeg")
    opened = _open_libsndfile if form.decoder == "libsndfile" else _open_ffmpeg
    with opened(file, form) as (recording, blocks):
        _check_header(recording)
        limit = None if max_duration_s is None else int(max_duration_s * recording.sample_rate_hz)
        yield recording, _counted(recording, blocks(recording), limit)


def _check_header(recording: Recording) -> None:
    low, high = SAMPLE_RATES_HZ
    if not low <= recording.sample_rate_hz <= high:
        raise SongError("bad-sample-rate", f"the header gives {recording.sample_rate_hz} Hz, outside {low} to {high}")
    if recording.channels > MAX_CHANNELS:
        raise SongError("too-many-channels", f"the header gives {recording.channels} channels, above {MAX_CHANNELS}")
    if recording.channels < 1:
        raise SongError("unreadable-header", "the header gives no channel")


def _counted(recording: Recording, blocks: Iterator[FloatArray], limit: int | None) -> Iterator[FloatArray]:
    """Pass blocks on up to a limit in frames; count them and refuse what is not finite."""
    for block in blocks:
        kept = block if limit is None else block[: limit - recording.decoded_frames]
        if not np.isfinite(kept).all():
            at_s = recording.decoded_frames / recording.sample_rate_hz
            raise SongError("non-finite", f"there are NaN or infinite samples after {at_s:.1f} s")
        recording.decoded_frames += len(kept)
        yield kept
        if limit is not None and recording.decoded_frames >= limit:
            recording.truncated = False
            return
    if recording.decoded_frames == 0:
        raise SongError("no-audio", "the file has a header and no samples")


def _mono(block: npt.NDArray[np.float32]) -> FloatArray:
    """Mean of the channels, shape (S, channels) to (S,): column by column, 20 times faster than a mean over axis 1."""
    if block.shape[1] == 1:
        return block[:, 0]
    total = block[:, 0] + block[:, 1]
    for channel in range(2, block.shape[1]):
        total += block[:, channel]
    mixed: FloatArray = total * np.float32(1 / block.shape[1])
    return mixed


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile ships no types
    """A sound file that is read to its real end: a seekable one stops at the length in the header."""

    def seekable(self) -> bool:
        return False


@contextmanager
def _open_libsndfile(file: BufferedReader, form: AudioFormat) -> Iterator[tuple[Recording, Blocks]]:
    file.seek(0)
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    try:
        sound = _Sequential(file.fileno(), closefd=False)
    except soundfile.LibsndfileError as error:
        raise _header_error(form, str(error)) from error
    with sound:
        declared = sound.frames if 0 < sound.frames < 2**62 else None

        def blocks(recording: Recording) -> Iterator[FloatArray]:
            return _libsndfile_blocks(sound, recording)

        yield Recording(form.name, sound.samplerate, sound.channels, declared), blocks


def _header_error(form: AudioFormat, text: str) -> SongError:
    reason = text.rpartition("': ")[2].rstrip(".")
    if form.name in ("wav", "aiff", "caf", "au") and ("unimplemented" in reason or "not supported" in reason):
        return SongError("unsupported-codec", f"the {form.name} file holds a codec that libsndfile does not decode")
    if "not exist" in reason:
        # libsndfile says so of an MP3 without a whole frame, which would mislead.
        reason = "no whole frame"
    return SongError("unreadable-header", f"the {form.name} header cannot be read ({reason})")


def _libsndfile_blocks(sound: soundfile.SoundFile, recording: Recording) -> Iterator[FloatArray]:
    # A block's size depends on the channels: 64 of them must not take 64 times the memory.
    frames = max(1024, _BLOCK_FRAMES * 2 // max(2, recording.channels))
    while True:
        try:
            block = sound.read(frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            if "END_OF_STREAM" not in sound.extra_info:
                kind = DamagedFlac if recording.source_format == FLAC.name else SongError
                raise _corrupt(recording, str(error), kind) from error
            recording.ended(noted=True)
            return
        if not len(block):
            break
        yield _mono(block)
    recording.ended(noted=_is_cut_off(sound.extra_info))


_CHUNK_TOO_LONG = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)


def _is_cut_off(log: str) -> bool:
    """Read libsndfile's log: it decodes a cut-off WAV or Ogg without an error."""
    lengths = _CHUNK_TOO_LONG.search(log)
    if lengths:
        declared, present = int(lengths[1]), int(lengths[2])
        # A recorder that could not go back writes 0 or the largest number: unknown, not cut off.
        return declared < 0x7FFFF000 and present < declared * (1 - _TRUNCATED_BEYOND)
    return "lacks an end-of-stream bit" in log


def _corrupt(recording: Recording, reason: str, kind: type[SongError] = SongError) -> SongError:
    at_s = recording.decoded_frames / recording.sample_rate_hz
    declared = recording.declared_frames
    whole = f" of {declared / recording.sample_rate_hz:.1f} s" if declared else ""
    return kind("corrupt", f"decoding stopped at {at_s:.1f} s{whole} ({reason.rstrip('.')})")


@contextmanager
def _open_ffmpeg(file: BufferedReader, form: AudioFormat) -> Iterator[tuple[Recording, Blocks]]:
    """Open with FFmpeg as the one format that was recognised: no playlist, no other file, no network."""
    import av

    file.seek(0)
    options = {"format_whitelist": f"{form.container},mov,mp4,m4a,3gp,3g2,mj2,webm", "protocol_whitelist": "file"}
    try:
        container = av.open(file, format=form.container, options=options)
    except (av.FFmpegError, IndexError, ValueError, OSError) as error:
        raise SongError("unreadable-header", f"the {form.name} header cannot be read ({error})") from error
    with container:
        if not container.streams.audio:
            raise SongError("no-audio", "the file has no audio stream")
        stream = container.streams.audio[0]
        codec = stream.codec_context
        if codec is None or not codec.sample_rate:
            raise SongError("unsupported-codec", f"FFmpeg has no decoder for the audio in this {form.name} file")
        codec.thread_count = 1
        # Or a FLAC frame with a wrong checksum would be passed on as noise.
        codec.options = {"err_detect": "crccheck+explode"}
        cut_off = form.container == "ogg" and _lacks_last_page(file)
        # A bare stream of AAC frames has no header: FFmpeg guesses its length from the bit rate.
        declared = None
        if form.container != "aac" and stream.duration and stream.time_base:
            declared = round(float(stream.duration * stream.time_base) * codec.sample_rate)

        def blocks(recording: Recording) -> Iterator[FloatArray]:
            return _ffmpeg_blocks(container, stream, recording, cut_off)

        yield Recording(form.name, codec.sample_rate, codec.channels, declared), blocks


def _lacks_last_page(file: BufferedReader) -> bool:
    """Tell whether an Ogg file ends before the page marked as the last (RFC 3533, section 6), keeping the position."""
    here = file.tell()
    file.seek(max(0, os.fstat(file.fileno()).st_size - _OGG_PAGE_BYTES))
    end = file.read()
    file.seek(here)
    page = end.rfind(b"OggS")
    return page < 0 or len(end) < page + 6 or not end[page + 5] & 4


def _ffmpeg_blocks(container: Any, stream: Any, recording: Recording, cut_off: bool) -> Iterator[FloatArray]:
    """Decode packet by packet; a few packets that cannot be decoded are left out, many are `corrupt`."""
    import av

    packets = errors = 0
    resampler = av.AudioResampler(format="fltp")
    try:
        for packet in container.demux(stream):
            packets += 1
            try:
                frames = packet.decode()
            except (av.FFmpegError, ValueError) as error:
                if "decode unknown codec" in str(error):
                    raise SongError("unsupported-codec", "FFmpeg has no decoder for this codec") from error
                errors += 1
                continue
            for frame in frames:
                if frame.sample_rate != recording.sample_rate_hz:
                    raise SongError("corrupt", "the sample rate changes within the file")
                for part in resampler.resample(frame):
                    yield _mono(np.asarray(part.to_ndarray().T, np.float32))
    except (av.FFmpegError, IndexError) as error:
        raise _corrupt(recording, str(error)) from error
    if errors > max(1, packets * _PACKET_ERRORS_BEYOND):
        raise SongError("corrupt", f"{errors} of {packets} packets could not be decoded")
    recording.ended(noted=cut_off)
