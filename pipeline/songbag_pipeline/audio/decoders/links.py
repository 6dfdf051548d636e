"""Recordings that were put one behind the other in a file, which FFmpeg takes for one."""

from __future__ import annotations

from collections.abc import Iterator

from songbag_pipeline.audio.files import FilePart

_SEARCHED_AT_ONCE = 1 << 20
_FIRST_PAGE = b"OggS\0\x02"
_FLAC_HEADER = b"fLaC\0\0\0\x22"
_PAGE_HEADER_BYTES = 27
_BLOCK_HEADER_BYTES = 32
_FIRST_OF_ITS_FRAMES = 0x800


def link_starts(part: FilePart, container: str) -> list[int]:
    """Return where each recording begins, in bytes."""
    starts = {"ogg": _ogg_starts, "flac": _flac_starts, "wv": _wavpack_starts}
    return [0, *starts[container](part)] if container in starts else [0]


def _found(part: FilePart, mark: bytes) -> Iterator[int]:
    """Yield where these bytes are."""
    for at in range(0, part.n_bytes, _SEARCHED_AT_ONCE):
        data = part.read_at(_SEARCHED_AT_ONCE + len(mark) - 1, at)
        place = data.find(mark)
        while place >= 0:
            yield at + place
            place = data.find(mark, place + 1)


def _ogg_starts(part: FilePart) -> Iterator[int]:
    """Yield where the chain goes on: at first pages of streams behind pages of others (RFC 3533, section 4)."""
    beyond = 0
    for place in _found(part, _FIRST_PAGE):
        if place > beyond:
            yield place
        # First pages of several streams of one recording follow each other.
        beyond = place + _page_bytes(part, place)


def _flac_starts(part: FilePart) -> Iterator[int]:
    """Yield where further headers are (RFC 9639, section 8)."""
    return (place for place in _found(part, _FLAC_HEADER) if place)


def _page_bytes(part: FilePart, start: int) -> int:
    """Return the length of an Ogg page by the lengths of its segments (RFC 3533, section 6)."""
    header = part.read_at(_PAGE_HEADER_BYTES + 255, start)
    n_segments = header[26] if len(header) > 26 else 0
    return _PAGE_HEADER_BYTES + n_segments + sum(header[_PAGE_HEADER_BYTES : _PAGE_HEADER_BYTES + n_segments])


def _wavpack_starts(part: FilePart) -> Iterator[int]:
    """Yield where blocks are numbered from 0 again (WavPack 5 file format, block header)."""
    at = 0
    while (header := part.read_at(_BLOCK_HEADER_BYTES, at))[:4] in (b"wvpk", b"APET"):
        number, n_samples, flags = (int.from_bytes(header[n : n + 4], "little") for n in (16, 20, 24))
        if header[:4] == b"APET":  # the tag of a recording, before the next one
            at += _BLOCK_HEADER_BYTES + int.from_bytes(header[12:16], "little")
            continue
        if at and number == 0 and n_samples and flags & _FIRST_OF_ITS_FRAMES:
            yield at
        at += 8 + int.from_bytes(header[4:8], "little")
