"""Where the first recording of a file ends, in containers that say it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from songbag_pipeline.audio.chunks import chunks
from songbag_pipeline.audio.decoders.ends import declared_end
from songbag_pipeline.audio.files import FilePart
from songbag_pipeline.audio.formats import AudioFormat, by_magic

_SHORT_BYTES = 16
_READ_AT_ONCE = 1 << 20
_MOST_BLOCKS = 1_000_000
_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3\2", b"ID3\3", b"ID3\4")
_ONE_SOUND = (b"data", b"SSND", b"BODY")
"""The kinds of chunks of which there may be one: the samples of a WAV or CAF, an AIFF, and an 8SVX."""
_SOUND = (*_ONE_SOUND, b"mdat", b"\x36\x26\xb2\x75")
"""What the kinds of chunks with the sound begin with; the last is that of ASF."""
_LARGEST_TABLE = 16 << 20
"""More bytes than the table of a TTA of a month."""
_FLV_TAGS = (b"\x08", b"\x09", b"\x12")
_LARGE_BLOCK = 1 << 18
"""More bytes than blocks of WavPack usually have."""
SAMPLES_ALONE = ("nist", "avr", "wve")
"""Formats of which libsndfile plays all that is behind the header."""


class End(NamedTuple):
    """Where a recording ends.

    Attributes
    ----------
    at : int or None
        In bytes; None if it reaches to the end of the file, or does not say.
    n_sounds : int
        Chunks with samples, where there may be one; decoders read the last.
    """

    at: int | None
    n_sounds: int = 1


def end_of_first(part: FilePart, form: AudioFormat) -> End:
    """Return where the recording ends."""
    find = _FINDERS.get(form.name) or _FINDERS.get(form.container)
    if find is not None:
        return End(find(part))
    if form.container in ("matroska", "avi"):
        return End(declared_end(part, form.container))
    return _end_of_chunks(part, form.container)


def begins(part: FilePart, at: int) -> bool:
    """Return whether a recording begins at a place behind the first one."""
    head = part.read_at(_SHORT_BYTES, at)
    form = by_magic(head, part.n_bytes - at)
    # Of an MP4, any box may be the first, but only one names the format.
    return form is not None and (form.container != "mov" or head[4:8] == b"ftyp")


def _end_of_chunks(part: FilePart, container: str) -> End:
    has_sound, n_sounds = False, 0
    for chunk in chunks(part, container):
        if has_sound and (begins(part, chunk.at) or part.read_at(_SHORT_BYTES, chunk.at).startswith(_TAGS)):
            return End(chunk.at, n_sounds)
        n_sounds += chunk.kind in _ONE_SOUND
        if chunk.end is None or chunk.end > part.n_bytes:
            is_named = len(chunk.kind) > 4 or (chunk.kind.isascii() and chunk.kind.decode().isprintable())
            return End(chunk.at if has_sound and not (is_named and any(chunk.kind)) else None, n_sounds)
        has_sound = has_sound or chunk.kind.startswith(_SOUND)
    return End(None, n_sounds)


def _end_of_au(part: FilePart) -> int | None:
    begin, n_bytes = (int.from_bytes(part.read_at(4, at)) for at in (4, 8))
    return begin + n_bytes if n_bytes else None


def _end_of_tta(part: FilePart) -> int | None:
    """Return the end by the table of the sizes of all frames (TTA1 format, "seek table")."""
    head = part.read_at(22, 0)
    rate_hz, n_samples = (int.from_bytes(head[at : at + 4], "little") for at in (10, 14))
    n_frames = -(-n_samples // max(1, 256 * rate_hz // 245))
    if 4 * n_frames > min(part.n_bytes, _LARGEST_TABLE):
        return None
    table = part.read_at(4 * n_frames, 22)
    sizes = (int.from_bytes(table[at : at + 4], "little") for at in range(0, len(table), 4))
    return 22 + 4 * n_frames + 4 + sum(sizes)


def _end_of_voc(part: FilePart) -> int | None:
    """Return the end by the blocks, of which one of type 0 is the last (Creative Voice file, block types)."""
    at, has_sound = int.from_bytes(part.read_at(2, 20), "little"), False
    for _ in range(_MOST_BLOCKS):
        head = part.read_at(4, at)
        if len(head) < 4 or head[0] > 9 or not head[0]:
            return at + (head[:1] == b"\0") if has_sound and head else None
        has_sound = has_sound or head[0] in (1, 2, 9)
        at += 4 + int.from_bytes(head[1:4], "little")
    return None


def _end_of_flv(part: FilePart) -> int | None:
    """Return the end by the tags, each of which is followed by its size (Adobe Flash Video 10.1, E.3)."""
    declared = declared_end(part, "flv")
    if declared is not None and declared >= part.n_bytes:
        return None
    first = int.from_bytes(part.read_at(4, 5)) + 4
    at, data, seen = first, b"", first
    for _ in range(_MOST_BLOCKS):
        if at + 11 > seen + len(data):
            data, seen = part.read_at(_READ_AT_ONCE, at), at
        head = data[at - seen : at - seen + 11]
        if len(head) < 11 or head[:1] not in _FLV_TAGS:
            return at if at > first and head else None
        at += 11 + int.from_bytes(head[1:4]) + 4
    return None


def _end_of_nist(part: FilePart) -> int | None:
    """Return the end of samples that are not packed (NIST Sphere 2.6)."""
    head = part.read_at(1024, 0)
    begin = re.match(rb"NIST_1A\s+(\d{1,9})\s", head)
    numbers = [re.search(rb"\n" + name + rb" -i (\d{1,15})\s", head) for name in _NIST_NUMBERS]
    coding = re.search(rb"\nsample_coding -s\d+ (\S+)", head)
    if begin is None or None in numbers or (coding and b"," in coding[1]):
        return None
    n_samples, n_channels, n_bytes = (int(found[1]) for found in numbers if found)
    return int(begin[1]) + n_samples * n_channels * n_bytes if n_samples else None


_NIST_NUMBERS = (b"sample_count", b"channel_count", b"sample_n_bytes")


def _end_of_avr(part: FilePart) -> int | None:
    head = part.read_at(30, 0)
    n_channels, n_bits = 2 if any(head[12:14]) else 1, int.from_bytes(head[14:16])
    n_samples = int.from_bytes(head[26:30])
    return 128 + n_samples * n_channels * n_bits // 8 if n_samples else None


def _end_of_wve(part: FilePart) -> int | None:
    n_bytes = int.from_bytes(part.read_at(4, 18))
    return 32 + n_bytes if n_bytes else None


def _end_of_wavpack(part: FilePart) -> int | None:
    """Return the end by the blocks, and the tags of recordings that were joined (WavPack 5, block header)."""
    tail = part.read_at(_LARGE_BLOCK, max(0, part.n_bytes - _LARGE_BLOCK))
    last = tail.rfind(b"wvpk")
    if last >= 0:
        behind = last + 8 + int.from_bytes(tail[last + 4 : last + 8], "little")
        if tail.startswith(b"APETAGEX", behind):
            behind = _behind_ape(tail[behind : behind + 16], behind)
        if behind >= len(tail) or (tail.startswith(b"TAG", behind) and len(tail) == behind + 128):
            return None
    at = 0
    for _ in range(_MOST_BLOCKS):
        head = part.read_at(16, at)
        if head[:4] == b"wvpk":
            at += 8 + int.from_bytes(head[4:8], "little")
        elif head[:8] == b"APETAGEX" and part.read_at(4, after := _behind_ape(head, at)) == b"wvpk":
            at = after
        else:
            return at if at else None
    return None


def _behind_ape(head: bytes, at: int) -> int:
    return at + 32 + int.from_bytes(head[12:16], "little")


_FINDERS: dict[str, Callable[[FilePart], int | None]] = {
    "au": _end_of_au,
    "avr": _end_of_avr,
    "flv": _end_of_flv,
    "nist": _end_of_nist,
    "tta": _end_of_tta,
    "voc": _end_of_voc,
    "wve": _end_of_wve,
    "wv": _end_of_wavpack,
}
"""By name or container of a format."""
