"""The format of a file, by its first bytes: its name may be wrong."""

from __future__ import annotations

import dataclasses
from io import BufferedReader
from typing import Literal

from songbag_pipeline.audio.mpeg_frames import Mp3Frames, frame_bytes, is_layer_3
from songbag_pipeline.errors import SongError

Decoder = Literal["libsndfile", "ffmpeg", "frames"]


@dataclasses.dataclass(frozen=True, slots=True)
class AudioFormat:
    """A known format: its name in the index, its decoder, and FFmpeg's name of the container."""

    name: str
    decoder: Decoder
    container: str = ""
    start: int = 0
    """Where it begins after tags, in bytes."""


_HEAD_BYTES = 1 << 16
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
# Each format goes to its fastest decoder (docs/speed.md). FFmpeg takes half of libsndfile's time for Vorbis and Opus,
# and also less for FLAC and MP3 if it gets many frames at once.
_OGG_CODECS = (
    (b"\x01vorbis", AudioFormat("ogg-vorbis", "ffmpeg", "ogg")),
    (b"OpusHead", AudioFormat("ogg-opus", "ffmpeg", "ogg")),
    (b"\x7fFLAC", AudioFormat("ogg-flac", "libsndfile")),
    (b"Speex   ", AudioFormat("ogg-speex", "ffmpeg", "ogg")),
)


def sniff(file: BufferedReader) -> AudioFormat:
    """Return the format of an open file.

    Raises
    ------
    SongError
        ``empty-file``, ``no-audio`` if there are only tags, or ``not-audio``.
    """
    start, head = _head(file)
    found = _by_magic(head) or _by_frames(head)
    if found is None:
        raise SongError("not-audio", f"the content is no audio known here (it begins with {head[:12]!r})")
    return dataclasses.replace(found, start=start + found.start)


def _head(file: BufferedReader) -> tuple[int, bytes]:
    """Return where tags end, and the first bytes after them."""
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if not head:
        raise SongError("empty-file", "the file is empty")
    start = 0
    while head[:3] == b"ID3" and len(head) >= 10:
        start += _id3_bytes(head)
        file.seek(start)
        head = file.read(_HEAD_BYTES)
        if not head.strip(b"\0"):
            raise SongError("no-audio", "the file holds an ID3 tag and nothing else")
    return start, head


def _id3_bytes(head: bytes) -> int:
    """Return the length of an ID3v2 tag: four bytes of seven bits, plus header and footer (ID3v2.4, section 3.1)."""
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return size + (20 if head[5] & 0x10 else 10)


def _by_magic(head: bytes) -> AudioFormat | None:
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] in (b"WAVE", b""):
        return AudioFormat("wav", "libsndfile", "wav")
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return AudioFormat("aiff", "libsndfile")
    if head[:4] == b"OggS":
        known = (form for mark, form in _OGG_CODECS if mark in head[27:600])
        return next(known, AudioFormat("ogg", "libsndfile"))
    for start, mark, form in (
        (0, b"fLaC", AudioFormat("flac", "frames", "flac")),
        (0, b"caff", AudioFormat("caf", "ffmpeg", "caf")),
        (0, b".snd", AudioFormat("au", "libsndfile")),
        (4, b"ftyp", AudioFormat("mp4", "ffmpeg", "mov")),
        (0, _ASF, AudioFormat("asf", "ffmpeg", "asf")),
        (0, b"\x1aE\xdf\xa3", AudioFormat("matroska", "ffmpeg", "matroska")),
    ):
        if head[start : start + len(mark)] == mark:
            return form
    return None


def _by_frames(head: bytes) -> AudioFormat | None:
    start, length = _first_frame(head)
    if not length:
        return None
    if head[start + 1] & 0xF6 == 0xF0:
        return AudioFormat("aac", "ffmpeg", "aac")
    first = head[start : start + length]
    if not is_layer_3(first):
        return AudioFormat("mp3", "ffmpeg", "mp3")
    # FFmpeg knows from few encoders how many samples at both ends are no music; libsndfile knows it from more.
    return AudioFormat("mp3", "frames" if Mp3Frames.of(first, 0) else "libsndfile", "mp3", start)


def _first_frame(head: bytes) -> tuple[int, int]:
    """Find a frame of MPEG audio or ADTS that is followed by another of its kind, or by the end of the file.

    Returns
    -------
    start, length : int
        Where it is, in bytes; length 0 if there is none.
    """
    start = head.find(b"\xff")
    while 0 <= start < len(head) - 6:
        length = frame_bytes(head[start : start + 7])
        if length:
            after = head[start + length : start + length + 2]
            alike = len(after) == 2 and after[0] == 0xFF and after[1] & 0xFE == head[start + 1] & 0xFE
            if alike or (len(after) < 2 and start == 0):
                return start, length
        start = head.find(b"\xff", start + 1)
    return 0, 0
