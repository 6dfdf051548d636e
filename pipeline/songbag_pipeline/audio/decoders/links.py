"""Recordings that were put one behind the other in a file, which FFmpeg takes for one."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from functools import lru_cache

from songbag_pipeline.audio.chunks import chunks
from songbag_pipeline.audio.files import FilePart, file_identity
from songbag_pipeline.audio.flac_frames import flac_headers

_READ_AT_ONCE = 1 << 20
_HEADER = 27
_LONGEST_HEADER = _HEADER + 255
_BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
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


def is_unbroken(part: FilePart) -> bool:
    """Return whether no page of an Ogg file is missing, damaged or there twice.

    FFmpeg leaves damaged pages out. Behind such a place, the times in the file are not those of the whole's samples.
    """
    return _is_unbroken(part.descriptor, part.start, part.n_bytes, file_identity(os.fstat(part.descriptor)))


@lru_cache(maxsize=16)
def _is_unbroken(descriptor: int, start: int, length: int, identity: tuple[int, ...]) -> bool:
    """Check the pages of a part of a file; remembered for the next part of the song, because all are read."""
    numbers: dict[bytes, int] = {}
    at, end = start, start + length
    while head := os.pread(descriptor, min(_LONGEST_HEADER, end - at), at):
        body = _HEADER + (head[_HEADER - 1] if len(head) >= _HEADER else 0)
        n_bytes = body + sum(head[_HEADER:body])
        if at + n_bytes > end and head.startswith(b"OggS"):
            return True  # cut off: up to here it is whole
        page = os.pread(descriptor, n_bytes, at)
        stream, number = page[14:18], int.from_bytes(page[18:22], "little")
        if not head.startswith(b"OggS") or number != numbers.get(stream, number - 1) + 1 or not _is_sound(page):
            return False
        numbers[stream], at = number, at + n_bytes
    return True


def _is_sound(page: bytes) -> bool:
    """Return whether the checksum of a page is right (RFC 3533, section 6).

    zlib has the same polynomial, but takes the bits of each byte in the other order, and inverts begin and end.
    """
    unsigned = page[:22] + bytes(4) + page[26:]
    checksum = zlib.crc32(unsigned.translate(_BITS_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return checksum.to_bytes(4).translate(_BITS_REVERSED) == page[22:26]


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
