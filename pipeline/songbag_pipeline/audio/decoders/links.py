"""Recordings that were put one behind the other in a file, which FFmpeg takes for one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from songbag_pipeline.audio.chunks import chunks
from songbag_pipeline.audio.files import FilePart
from songbag_pipeline.audio.flac_frames import flac_headers

_READ_AT_ONCE = 1 << 20
_HEADER = 27
_EDITS = re.compile(b"elst")
_LARGEST_TABLE = 64 << 20
"""Most bytes of the table of an MP4 that are read at once."""
_FIRST_PAGE = 2
_BLOCK_HEADER_BYTES = 32
_FIRST_OF_ITS_FRAMES = 0x800


def link_starts(part: FilePart, container: str) -> list[int]:
    """Return where each recording begins, in bytes."""
    starts = {"ogg": _ogg_starts, "flac": _flac_starts, "wv": _wavpack_starts}
    return [0, *starts[container](part)] if container in starts else [0]


def _ogg_starts(part: FilePart) -> Iterator[int]:
    """Yield where the chain goes on: at first pages of streams behind other pages (RFC 3533, section 4)."""
    is_first = _FIRST_PAGE
    for place, flags in _ogg_pages(part):
        before, is_first = is_first, flags & _FIRST_PAGE
        if is_first and not before:
            yield place


def is_edited(part: FilePart) -> bool:
    """Return whether an MP4 is put together of several stretches of its samples (ISO 14496-12, 8.6.6).

    FFmpeg gives the times at which packets begin, but of a stretch only what is wanted of its first and last packet.
    """
    for chunk in chunks(part, "mov"):
        if chunk.kind == b"moov" and chunk.end is not None:
            if chunk.end - chunk.content > _LARGEST_TABLE:
                return True  # not looked at: it is then decoded from its beginning
            table = part.read_at(chunk.end - chunk.content, chunk.content)
            return any(int.from_bytes(table[found.end() + 4 : found.end() + 8]) > 1 for found in _EDITS.finditer(table))
    return False


def _ogg_pages(part: FilePart) -> Iterator[tuple[int, int]]:
    """Yield place and flags of each page (RFC 3533, section 6)."""
    at = 0
    while len(data := part.read_at(_READ_AT_ONCE, at)) > _HEADER:
        page = 0
        while page <= len(data) - _HEADER:
            if data[page : page + 4] == b"OggS":
                yield at + page, data[page + 5]
                body = page + _HEADER + data[page + _HEADER - 1]
                page = body + sum(data[page + _HEADER : body])
            else:
                page = data.find(b"OggS", page + 1)
                page = len(data) - 3 if page < 0 else page
        at += page


def _flac_starts(part: FilePart) -> Iterator[int]:
    """Yield where further headers are."""
    return flac_headers(part.read_at, 0)


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
