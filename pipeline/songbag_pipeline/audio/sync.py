"""Frames of audio without a container: found where several of one kind follow each other."""

from __future__ import annotations

from songbag_pipeline.audio.formats import (
    AAC,
    AC3,
    DTS,
    EAC3,
    MP3,
    MPEG_AUDIO,
    AudioFormat,
)
from songbag_pipeline.audio.mpeg_frames import frame_bytes, is_adts, is_layer_3

SYNC = rb"\xff[\xe2-\xe7\xf2-\xff][\x10-\xef]|\xff[\xf0\xf1\xf8\xf9]|\x0b\x77|\x7f\xfe\x80\x01"
"""A regular expression for the begin of a frame of MPEG audio, ADTS, AC-3 or DTS."""

_HEADER_BYTES = 10
_AC3_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_AC3_RATES_HZ = (48000, 44100, 32000)
_AC3_SAMPLES = 1536
_OLDEST_EAC3, _NEWEST_EAC3 = 11, 16
_SMALLEST_DTS = 96
_BEHIND = (b"TAG", b"APETAGEX", b"ID3", b"LYRICSBEGIN")


def run_at(data: bytes, start: int, n_frames: int, *, whole: bool = False) -> AudioFormat | None:
    """Return what the frames are that follow each other from a place on; None if there are not enough of one kind.

    Parameters
    ----------
    data : bytes
        A part of a file.
    start : int
        Where the first frame begins in it.
    n_frames : int
        How many frames it takes.
    whole : bool
        Whether the data reach to the end of the file, and fewer frames are enough if its music ends behind them.
    """
    at, kind = start, _kind(data[start : start + _HEADER_BYTES])
    for _ in range(n_frames if kind else 0):
        header = data[at : at + _HEADER_BYTES]
        if at > start and _kind(header) != kind:
            ends = not header.strip(b"\0") or header.startswith(_BEHIND)
            return _form(data, start) if whole and ends else None
        at += frame_length(header)
    return _form(data, start) if kind else None


def _kind(header: bytes) -> bytes:
    """Return what all frames of a run have in common; empty if this is no frame."""
    if not frame_length(header):
        return b""
    if header[0] != 0xFF:
        return header[:2]  # AC-3 or DTS
    if is_adts(header):
        return bytes([header[1], header[2], header[3] & 0xF0])
    # Version, layer and sample rate; the frame that counts the others differs in more.
    return bytes([header[1] & 0xFE, header[2] & 0x0C])


def frame_length(data: bytes) -> int:
    """Return the length of a frame from its first bytes; 0 if it is none."""
    header = data[:_HEADER_BYTES]
    if header[:2] == b"\x0b\x77":
        return _ac3_bytes(header)
    if header[:4] == b"\x7f\xfe\x80\x01" and len(header) == _HEADER_BYTES:
        length = ((header[5] & 3) << 12 | header[6] << 4 | header[7] >> 4) + 1  # ETSI TS 102 114, 5.3.1
        return length if length >= _SMALLEST_DTS else 0
    return frame_bytes(header[:7])


def _ac3_bytes(header: bytes) -> int:
    """Return the length of a frame of AC-3 or E-AC-3 (ETSI TS 102 366, 4.4.1 and E.1.3.1)."""
    if len(header) < 6:
        return 0
    rate, version = header[4] >> 6, header[5] >> 3
    if _OLDEST_EAC3 <= version <= _NEWEST_EAC3:
        return (((header[2] & 7) << 8 | header[3]) + 1) * 2
    size = header[4] & 63
    if version > _NEWEST_EAC3 or rate == 3 or size >= 2 * len(_AC3_KBITS):
        return 0
    words = _AC3_KBITS[size >> 1] * 1000 * _AC3_SAMPLES // _AC3_RATES_HZ[rate] // 16
    return 2 * (words + (size & 1 if _AC3_RATES_HZ[rate] == 44100 else 0))


def _form(data: bytes, start: int) -> AudioFormat:
    header = data[start : start + _HEADER_BYTES]
    if header[0] == 0x0B:
        return EAC3 if header[5] >> 3 >= _OLDEST_EAC3 else AC3
    if header[0] == 0x7F:
        return DTS
    if is_adts(header):
        return AAC
    return MP3 if is_layer_3(header) else MPEG_AUDIO
