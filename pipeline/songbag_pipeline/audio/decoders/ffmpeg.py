"""Vorbis, Opus, formats that only FFmpeg reads, and what other decoders refuse, through PyAV."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import av
from av.stream import Disposition

from songbag_pipeline.audio.decoders.ends import (
    counts_its_length,
    ends_after_header,
    ends_early,
    ends_within_frame,
    lacks_bytes,
)
from songbag_pipeline.audio.decoders.joiner import Joiner
from songbag_pipeline.audio.decoders.links import is_edited, link_starts
from songbag_pipeline.audio.decoders.pages import is_unbroken
from songbag_pipeline.audio.decoders.timeline import Timeline
from songbag_pipeline.audio.files import FilePart, RegularFile
from songbag_pipeline.audio.formats import AudioFormat
from songbag_pipeline.audio.recording import Blocks, Channels, Recording, Undecodable
from songbag_store.words import counted

CHECKED = {"err_detect": "crccheck+explode"}
"""Options of a decoder: without them FFmpeg returns a FLAC frame with a wrong checksum as noise."""
# Elsewhere there are encoders that write wrong checksums.
_CHECKED_CODECS = ("flac", "wavpack", "tta", "tak", "ape")

_ERRORS_BEYOND = 0.05
"""Share of the packets, or of the bytes of a chain, above which a file is damaged."""
# A chain may be cut off within the headers of its last recording.
_HEADERS_BYTES = 1 << 14
_LONGEST_S = 1e8
_PADDING_SAMPLES = 5292
"""The most padding that an encoder adds, that of HE-AAC. It is a number of samples, so at low rates it lasts longer."""
_LOSSLESS_SLACK_S = 0.12
_DURATION_OF_FILE = frozenset({"asf"})
"""Containers of which FFmpeg gives each stream the length of the file."""
_ERRORS = (av.FFmpegError, IndexError, ValueError)
_FORGETTING = {"ogg": ("vorbis", "opus"), "mov": ("alac",)}
"""Codecs, by container, whose decoders give the same samples `_BEFORE_S` later, wherever they begin. Others do not
forget: the noise that a decoder of AAC makes up depends on all that it made up before."""
_BEFORE_S = 4.0
_JUMP_S = 0.05
"""Less is how encoders count what they put around the music."""


@contextmanager
def open_ffmpeg(file: RegularFile, form: AudioFormat) -> Iterator[tuple[Recording, Blocks]]:
    """Open with FFmpeg as the format that was recognised: no playlist, no other file, no network."""
    whole = FilePart(file, form.start, form.end)
    starts = link_starts(whole, form.container)
    links = [FilePart(file, form.start + a, form.start + b) for a, b in pairwise([*starts, whole.n_bytes])]
    with _opened(links[0], form) as (container, stream):
        has_length = counts_its_length(links[0], form.container)
        declared = _declared_frames(container, stream, form) if has_length else None
        codec = stream.codec_context
        recording = Recording(form.name, codec.sample_rate, _plain_layout(codec), declared, slack_s=_slack_s(codec))
        recording.notes += _note(container, stream)

        def blocks(recording: Recording, start_s: float) -> Iterator[Channels]:
            joiner = Joiner(recording)
            with _sought(links, form, codec.name, start_s) as place:
                opened = place or _Place(links[0], container, stream)
                recording.begin_at(opened.sample)
                last, decoded = yield from _packets(opened, recording, joiner)
            for link in links[1:]:
                last, decoded = yield from _next_link(link, form, recording, joiner, whole.n_bytes)
            # Some encoders leave out the end of the last frame, so it means nothing if the length is known.
            cut_within = declared is None and ends_within_frame(last, form.container)
            lost_end = not decoded and (form.container == "flac" or len(links) > 1)
            early = ends_early(links[-1], form.container) or (declared is None and lacks_bytes(whole, form.container))
            recording.ended(noted=lost_end or cut_within or early)

        yield recording, blocks


@contextmanager
def _opened(part: FilePart, form: AudioFormat) -> Iterator[tuple[Any, Any]]:
    """Open a part of a file; yield the container and its audio stream."""
    options = {"format_whitelist": form.container, "protocol_whitelist": "file"}
    try:
        container = av.open(part, format=form.container, options=options)
    except _ERRORS as error:
        if ends_after_header(part, form.container):
            raise Undecodable("no-audio", "the file ends, or is damaged, after its header") from error
        what = f"the {form.name} header cannot be read ({reason(error)})"
        raise Undecodable("unreadable-header", what) from error
    with container:
        stream = _chosen(container, form)
        if not stream.codec_context.sample_rate:
            raise Undecodable("unreadable-header", f"the {form.name} header gives no sample rate")
        stream.codec_context.thread_count = 1
        stream.codec_context.options = _options(stream.codec_context.name, form)
        yield container, stream


def _options(codec: str, form: AudioFormat) -> dict[str, str]:
    """Return the options of a decoder."""
    if codec == "alac" and form.container == "caf":
        # The last frame is as long as it says; FFmpeg leaves out of it what the file counts as padding once more.
        return {"flags2": "+skip_manual"}
    return CHECKED if codec in _CHECKED_CODECS else {}


def _next_link(
    part: FilePart, form: AudioFormat, recording: Recording, joiner: Joiner, file_bytes: int
) -> Generator[Channels, None, tuple[bytes, bool]]:
    """Decode the next recording of several in one file; leave it out if it cannot be read and is a small part."""
    try:
        with _opened(part, form) as (container, stream):
            _plain_layout(stream.codec_context)
            recording.declare_more(_declared_frames(container, stream, form), stream.codec_context.sample_rate)
            return (yield from _packets(_Place(part, container, stream), recording, joiner))
    except Undecodable as error:
        if part.n_bytes > max(_HEADERS_BYTES, file_bytes * _ERRORS_BEYOND):
            # Other decoders see only the first recording.
            what = error.what if error.code == "corrupt" else recording.corrupt(error.what).what
            raise Undecodable("corrupt", what, whole_s=math.inf) from error
        recording.notes.append(f"what follows {recording.decoded_s:.1f} s could not be read ({error.what})")
        return b"", False


def reason(error: Exception) -> str:
    """Return what an error of FFmpeg's says, without its number, which is none of the system's.

    Raises
    ------
    MemoryError
        If that is what it is.
    """
    if isinstance(error, MemoryError):
        raise error
    return str(error.strerror if isinstance(error, av.FFmpegError) else error)


def _chosen(container: Any, form: AudioFormat) -> Any:
    """Return the audio stream flagged as default, else the first."""
    streams = container.streams.audio
    if not streams:
        raise Undecodable("no-audio", "the file has no audio stream")
    readable = [stream for stream in streams if stream.codec_context is not None]
    if not readable:
        raise Undecodable("unsupported-codec", f"FFmpeg has no decoder for the audio in this {form.name} file")
    return next((stream for stream in readable if _is_default(stream)), readable[0])


def _is_default(stream: Any) -> bool:
    return bool(stream.disposition & Disposition.default)


def _note(container: Any, stream: Any) -> list[str]:
    """Say which of several audio streams is read."""
    streams = container.streams.audio
    if len(streams) == 1:
        return []
    why = "it is flagged as the default" if _is_default(stream) else "the first that can be decoded"
    return [f"of {len(streams)} audio streams, number {streams.index(stream) + 1} was read: {why}"]


def _plain_layout(codec: Any) -> int:
    """Return the number of channels, and forget where they are.

    PyAV frees a layout with its own order of channels once for every object that shows it, and so more than once. Here
    the only such object is `layout`.
    """
    layout = codec.layout
    n_channels: int = layout.nb_channels
    if n_channels > 0:
        codec.layout = f"{n_channels} channels"
    return n_channels


def _slack_s(codec: Any) -> float:
    """Return how much of a length in a header may be no music."""
    lossless = codec.name.startswith("pcm_") or codec.name in (*_CHECKED_CODECS, "alac")
    return _LOSSLESS_SLACK_S if lossless else max(_LOSSLESS_SLACK_S, _PADDING_SAMPLES / max(1, codec.sample_rate))


def _declared_frames(container: Any, stream: Any, form: AudioFormat) -> int | None:
    """Return the length of a stream in the header, in frames; that of the file is none if there are other streams."""
    rate_hz = stream.codec_context.sample_rate
    if stream.name.startswith("pcm_") and stream.frames:
        return int(stream.frames)
    alone = all(other is stream or other.disposition & Disposition.attached_pic for other in container.streams)
    if form.container == "avi" and stream.frames and stream.time_base:
        declared_s = float(stream.frames * stream.time_base)  # FFmpeg's duration may count bytes as packets
    elif stream.duration and stream.time_base and (alone or form.container not in _DURATION_OF_FILE):
        declared_s = float(stream.duration * stream.time_base)
    else:
        declared_s = (container.duration or 0) / av.time_base if alone else 0
    return round(declared_s * rate_hz) if 0 < declared_s < _LONGEST_S else None


class _Place(NamedTuple):
    """Where a stream is read from.

    Attributes
    ----------
    part, container, stream
        What is read.
    sample : int
        How many samples of the stream come before.
    ahead : tuple of av.AudioFrame
        Frames that are decoded already.
    """

    part: FilePart
    container: Any
    stream: Any
    sample: int = 0
    ahead: tuple[Any, ...] = ()


@contextmanager
def _sought(links: list[FilePart], form: AudioFormat, codec: str, start_s: float) -> Iterator[_Place | None]:
    """Yield a stream that is open some seconds before a time; None if its decoder must begin at the beginning."""
    if start_s < 2 * _BEFORE_S or len(links) > 1 or codec not in _FORGETTING.get(form.container, ()):
        yield None
        return
    if is_edited(links[0]) if form.container == "mov" else not is_unbroken(links[0]):
        yield None
        return
    part = links[0].again()
    with _opened(part, form) as (container, stream):
        _plain_layout(stream.codec_context)
        yield _seek(part, container, stream, start_s)


def _seek(part: FilePart, container: Any, stream: Any, start_s: float) -> _Place | None:
    """Go to a frame some seconds before a time; None if FFmpeg finds none, or does not know exactly where it is."""
    rate_hz = stream.codec_context.sample_rate
    try:
        origin = next(container.decode(stream)).pts
        container.seek(origin + round((start_s - _BEFORE_S) / stream.time_base), stream=stream)
        for packet in container.demux(stream):
            if frames := packet.decode():
                sample = (frames[0].pts - origin) * stream.time_base * rate_hz
                if sample == int(sample) and 0 < sample <= (start_s - _BEFORE_S / 2) * rate_hz:
                    return _Place(part, container, stream, int(sample), tuple(frames))
                return None
    except (*_ERRORS, StopIteration, TypeError, OverflowError):  # a time may be unknown, or beyond all files
        pass
    return None


def _jump(ahead_s: float) -> list[str]:
    """Return a note if the times of a stream are not those of its samples: some are missing, or the times jump."""
    if abs(ahead_s) < _JUMP_S:
        return []
    way = "forward" if ahead_s > 0 else "back"
    return [f"the times in the file jump {way}, by {abs(ahead_s):.3f} s in all, and the samples go on without a gap"]


def _packets(place: _Place, recording: Recording, joiner: Joiner) -> Generator[Channels, None, tuple[bytes, bool]]:
    """Decode packet by packet; return the last, and whether the end could be read and decoded.

    A few packets that cannot be decoded are silence, or left out where frames do not say when they begin; many are an
    error.
    """
    packets = errors = left_out = 0
    last, whole = None, True
    first: int | None = None
    end: tuple[int | None, int] = (None, 0)
    before_s, has_times = recording.decoded_s, place.sample == 0 and place.container.format.name == "ogg"
    timeline = Timeline(recording, place.container, place.stream, is_beginning=place.sample == 0)
    part, demuxed = place.part, place.container.demux(place.stream)
    yield from joiner.add_all(place.ahead)
    while True:
        try:
            packet = next(demuxed, None)
        except _ERRORS as error:
            if part.tell() < part.n_bytes or not packets:
                raise recording.corrupt(reason(error)) from error
            packet, whole = None, False  # a file that is cut off
        if packet is None:
            break
        packets += 1
        last = packet if packet.size else last
        try:
            frames = packet.decode()
        except _ERRORS as error:
            if "decode unknown codec" in str(error):
                raise Undecodable("unsupported-codec", "FFmpeg has no decoder for this codec") from error
            reason(error)
            errors += 1
            whole = False
            continue
        whole = whole or packet.size > 0
        # What cannot be decoded behind the last frame may be a tag.
        left_out = errors if frames else left_out
        if frames and has_times:  # which the joiner removes
            first = frames[0].pts if first is None else first
            end = frames[-1].pts, frames[-1].samples
        yield from timeline.filled(frames, joiner) if timeline.is_known else joiner.add_all(frames)
    yield from joiner.rest()
    if first is not None and end[0] is not None:
        by_times_s = float((end[0] - first) * place.stream.time_base) + end[1] / recording.block_rate_hz
        recording.notes += _jump(by_times_s - recording.decoded_s + before_s)
    if left_out and not timeline.is_known:
        recording.notes.append(f"{counted(left_out, 'packet')} of {packets:,} could not be decoded and were left out")
    if errors > max(1, packets * _ERRORS_BEYOND):
        # What these packets last, another decoder must give too.
        whole_s = recording.decoded_s / max(1, packets - errors) * packets * (1 - _ERRORS_BEYOND)
        what = f"{errors} of {packets} packets could not be decoded"
        raise Undecodable("corrupt", what, whole_s=whole_s)
    return b"" if last is None else bytes(last), whole
