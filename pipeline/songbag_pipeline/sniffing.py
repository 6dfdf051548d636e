"""What a file is, by its first bytes: names and suffixes lie, and a decoder is only given what it is made for."""

from __future__ import annotations

import dataclasses
from io import BufferedReader
from typing import Literal

from songbag_pipeline.errors import SongError

Decoder = Literal["libsndfile", "ffmpeg"]


@dataclasses.dataclass(frozen=True, slots=True)
class AudioFormat:
    """A recognised format: its name in the index, its decoder, and FFmpeg's name of the container."""

    name: str
    decoder: Decoder
    container: str = ""


_HEAD_BYTES = 1 << 16
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
# FFmpeg decodes Vorbis and Opus in half of the time that libsndfile takes, for WAV and FLAC it is the other way round
# (docs/speed.md). For MP3 libsndfile is a little faster, but where no frame holds the number of frames it stops at a
# length that it makes of the file's size.
_OGG_CODECS = (
    (b"\x01vorbis", AudioFormat("ogg-vorbis", "ffmpeg", "ogg")),
    (b"OpusHead", AudioFormat("ogg-opus", "ffmpeg", "ogg")),
    (b"\x7fFLAC", AudioFormat("ogg-flac", "libsndfile")),
    (b"Speex   ", AudioFormat("ogg-speex", "ffmpeg", "ogg")),
)
FLAC = AudioFormat("flac", "libsndfile", "flac")
_MP3 = AudioFormat("mp3", "libsndfile", "mp3")
_MP3_UNCOUNTED = AudioFormat("mp3", "ffmpeg", "mp3")
_AAC = AudioFormat("aac", "ffmpeg", "aac")


def sniff(file: BufferedReader) -> AudioFormat:
    """Return the format of an open file.

    Raises
    ------
    SongError
        ``empty-file``, ``no-audio`` for tags and nothing else, or ``not-audio``.
    """
    head = _head(file)
    found = _by_magic(head) or _by_frames(head)
    if found is None:
        raise SongError("not-audio", f"the content is no audio known here (it begins with {head[:12]!r})")
    return found


def frame_bytes(header: bytes) -> int:
    """Length of a frame of MPEG audio or of ADTS by its first 7 bytes; 0 if they are of neither."""
    return _adts_length(header) or _mpeg_length(header)


def _head(file: BufferedReader) -> bytes:
    """Return the first bytes behind tags."""
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
    return head


def _id3_bytes(head: bytes) -> int:
    """Length of an ID3v2 tag: four bytes of seven bits, the header's ten and a footer's (ID3v2.4, section 3.1)."""
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
        (0, b"fLaC", FLAC),
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
        return _AAC
    # As Xing, LAME and Fraunhofer write it.
    counted = any(mark in head[start : start + 64] for mark in (b"Xing", b"Info", b"VBRI"))
    return _MP3 if counted else _MP3_UNCOUNTED


def _first_frame(head: bytes) -> tuple[int, int]:
    """Find a frame of MPEG audio or ADTS by its header, if followed by another of its kind or by the file's end.

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


def _adts_length(header: bytes) -> int:
    """Length in bytes of an ADTS frame (ISO 13818-7, 6.2), 0 where there is none."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
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
    """Length in bytes of an MPEG audio frame (ISO 11172-3, 2.4.3.1), 0 where there is none."""
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
