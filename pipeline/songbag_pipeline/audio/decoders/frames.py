"""MP3 and FLAC: FFmpeg's decoders get many frames at once.

FFmpeg's demuxers look at every byte for the begin of a frame and pass frames on one at a time; that is a fifth of their
time. Here frames are found by the lengths in their headers. If that fails, the file is read again with the demuxer: it
gives the same samples and goes on after the damage.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import av

from songbag_pipeline.audio.decoders.ffmpeg import CHECKED, reason
from songbag_pipeline.audio.decoders.joiner import Joiner
from songbag_pipeline.audio.files import RegularFile
from songbag_pipeline.audio.flac_frames import FlacFrames
from songbag_pipeline.audio.formats import AudioFormat
from songbag_pipeline.audio.frames import Frames, Place, end_of_frames
from songbag_pipeline.audio.mpeg_frames import Mp3Frames
from songbag_pipeline.audio.recording import Blocks, Channels, Recording, Undecodable, cut
from songbag_pipeline.errors import SongError
from songbag_store.words import counted

_LARGEST_FRAME_BYTES = 4 << 20


@contextmanager
def open_frames(file: RegularFile, form: AudioFormat) -> Iterator[tuple[Recording, Blocks]]:
    """Open an MP3 or FLAC file; see `songbag_pipeline.audio.decode.decode`."""
    kind = FlacFrames if form.name == "flac" else Mp3Frames
    frames, end = kind.read(file, form.start), end_of_frames(file, form.end)
    if frames is None or not frames.are_countable(file, end):
        raise Undecodable("unreadable-header", f"the {form.name} file has no frames that can be counted")
    recording = Recording(form.name, frames.sample_rate_hz, frames.channels, frames.declared_frames)
    recording.slack_s = frames.slack_samples / frames.sample_rate_hz
    recording.integers = form.name == "flac"
    yield recording, partial(_music, file, end, frames)


def _music(file: RegularFile, end: int, frames: Frames, recording: Recording, start_s: float) -> Iterator[Channels]:
    """Leave out the samples that an encoder put before and after the music."""
    place = Place(frames.first, 0)
    if start_s:
        # Where that fails, decoding from the beginning finds what is wrong.
        with suppress(ValueError):
            place = frames.place(file, frames.start + round(start_s * frames.sample_rate_hz), end)
    seen = place.sample
    recording.begin_at(max(0, seen - frames.start))
    for block in _decoded(file, end, frames, recording, place):
        kept = cut(block, max(0, frames.start - seen), None if frames.stop is None else max(0, frames.stop - seen))
        seen += len(block[0])
        if frames.n_samples is not None and seen > frames.n_samples:
            raise recording.corrupt("there are more frames than the first one counts")
        if len(kept[0]):
            yield kept


def _decoded(file: RegularFile, end: int, frames: Frames, recording: Recording, place: Place) -> Iterator[Channels]:
    codec: Any = av.CodecContext.create(frames.codec, "r")
    codec.thread_count = 1
    # Planar channels are mixed twice as fast as interleaved ones.
    codec.options = CHECKED | {"request_sample_fmt": "s16p"}
    if frames.extradata:
        codec.extradata = frames.extradata
    joiner, rest = Joiner(recording), b""
    at = place.at
    for begin, length in place.before:
        with suppress(av.FFmpegError, ValueError):  # the first ones lack what was before them
            codec.decode(av.Packet(os.pread(file.fileno(), length, begin)))
    try:
        while piece := file.read_at(min(frames.bytes_at_once, max(0, end - at)), at):
            at += len(piece)
            data, begin = rest + piece, 0
            for stop, n_frames in frames.cuts(data):
                if begin < stop:
                    packet: Any = memoryview(data)[begin:stop]
                    decoded = codec.decode(av.Packet(packet))
                    # After the first frame of a packet, FFmpeg ends at an error without reporting it.
                    if len(decoded) != n_frames:
                        raise ValueError(f"{n_frames - len(decoded)} of {counted(n_frames, 'frame')} cannot be decoded")
                    yield from joiner.add_all(decoded)
                begin = stop
            rest = data[begin:]
            if len(rest) > _LARGEST_FRAME_BYTES:
                raise ValueError("no frame begins where one should")
        yield from _last(codec, frames, joiner, rest)
    except SongError:
        raise
    except (av.FFmpegError, ValueError) as error:
        raise recording.corrupt(reason(error)) from error
    if frames.ends_whole and recording.decoded_frames < (frames.declared_frames or 0):
        raise recording.corrupt("the end is not there, or is damaged")
    recording.ended(noted=bool(rest) and not frames.ends_whole and frames.declared_frames is None)


def _last(codec: Any, frames: Frames, joiner: Joiner, rest: bytes) -> Iterator[Channels]:
    """Decode the data after the last cut: a whole frame, or the begin of one that is cut off."""
    if rest:
        try:
            yield from joiner.add_all(codec.decode(av.Packet(rest)))
        except (av.FFmpegError, ValueError):
            if frames.ends_whole:
                raise
    yield from joiner.add_all(codec.decode(None))
    yield from joiner.rest()
