"""Pages of an Ogg file: whether their times are those of the samples that they hold."""

from __future__ import annotations

import os
import zlib
from functools import lru_cache

from songbag_pipeline.audio.files import FilePart, file_identity

_HEADER = 27
_LONGEST_HEADER = _HEADER + 255
_BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_CONTINUED, _LAST = 1, 4
_MODE_BITS, _MOST_MODES = 41, 64
_OPUS_SAMPLES = (480, 960, 1920, 2880) * 3 + (480, 960) * 2 + (120, 240, 480, 960) * 4
"""Samples of a frame at 48 kHz, by the first five bits of its packet (RFC 6716, table 2)."""


def is_unbroken(part: FilePart) -> bool:
    """Return whether no page of an Ogg file is missing, damaged, there twice, or has another time than its samples.

    FFmpeg leaves damaged pages out. Behind such a place, the times in the file are not those of the whole's samples.
    """
    return _is_unbroken(part.descriptor, part.start, part.n_bytes, file_identity(os.fstat(part.descriptor)))


@lru_cache(maxsize=16)
def _is_unbroken(descriptor: int, start: int, length: int, identity: tuple[int, ...]) -> bool:
    """Check the pages of a part of a file; remembered for the next part of the song, because all are read."""
    numbers: dict[bytes, int] = {}
    clocks: dict[bytes, _Clock] = {}
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
        if not clocks.setdefault(stream, _Clock()).agrees(page):
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


class _Clock:
    """Compares the times of the pages of a stream with the samples of its packets, if it is Vorbis or Opus."""

    def __init__(self) -> None:
        self._headers: list[bytes] = [b""]
        self._n_headers = 1
        self._time: int | None = None
        self._first = -1
        self._sizes: tuple[int, ...] = ()
        self._before = 0

    def agrees(self, page: bytes) -> bool:
        """Return whether the next page ends when the samples that end on it do."""
        if self._n_headers:
            if self._n_headers > 0:
                self._take_headers(page)
            return True
        time, before = int.from_bytes(page[6:14], "little"), self._time
        n_samples, n_packets = (self._of_opus if len(self._headers) == 2 else self._of_vorbis)(page)
        self._time = time if n_packets else before
        # The first page may begin at any time, and of the last one the end may be left out.
        return before is None or not n_packets or time == before + n_samples or bool(page[5] & _LAST)

    def _take_headers(self, page: bytes) -> None:
        """Read the headers, with the last of which a page ends."""
        at = _HEADER + page[26]
        for size in page[_HEADER:at]:
            self._headers[-1] += page[at : at + size]
            at += size
            if size < 255:
                self._headers.append(b"")
        first, n_whole = self._headers[0], len(self._headers) - 1
        wanted = 2 if first.startswith(b"OpusHead") else 3 if first.startswith(b"\x01vorbis") and len(first) > 28 else 0
        if n_whole and not wanted:
            self._n_headers, self._headers = -1, []  # of another codec nothing is compared
        elif wanted and n_whole >= wanted:
            self._n_headers, self._headers = 0, self._headers[:wanted]
            self._sizes = _block_sizes(first[28], self._headers[2]) if wanted == 3 else ()

    def _of_vorbis(self, page: bytes) -> tuple[int, int]:
        """Return samples and number of the packets that end on a page: half of a block overlaps with the one before."""
        at = _HEADER + page[26]
        first, before, sizes = self._first if page[5] & _CONTINUED else -1, self._before, self._sizes
        quarters = n_packets = 0
        for size in page[_HEADER:at]:
            if first < 0:
                first = page[at] if size else 0
            at += size
            if size < 255:
                quarters += before + sizes[first] if before else 0
                before, first = sizes[first], -1
                n_packets += 1
        self._first, self._before = first, before
        return quarters // 4, n_packets

    def _of_opus(self, page: bytes) -> tuple[int, int]:
        """Return samples and number of the packets that end on a page."""
        at = _HEADER + page[26]
        samples = self._first if page[5] & _CONTINUED else -1
        n_samples = n_packets = 0
        for size in page[_HEADER:at]:
            if samples < 0:
                n_frames = (1, 2, 2, page[at + 1] & 63 if size > 1 else 0)[page[at] & 3] if size else 0
                samples = n_frames * _OPUS_SAMPLES[page[at] >> 3] if size else 0
            at += size
            if size < 255:
                n_samples, n_packets, samples = n_samples + samples, n_packets + 1, -1
        self._first = samples
        return n_samples, n_packets


def _block_sizes(sizes: int, setup: bytes) -> tuple[int, ...]:
    """Return the size of a block of Vorbis by the first byte of its packet."""
    modes = [1 << (sizes >> 4 if is_long else sizes & 15) for is_long in _long_modes(setup)] or [0]
    mask = (1 << (len(modes) - 1).bit_length()) - 1
    return tuple(modes[(first >> 1 & mask) % len(modes)] for first in range(256))


def _long_modes(setup: bytes) -> list[bool]:
    """Return which modes have long blocks, read from the end of the last header (Vorbis I, section 4.2.4).

    What stands before the modes has no length; but each mode has 41 bits, of which 32 are 0, and their number stands
    before them. FFmpeg reads it in this way too.
    """
    bits = int.from_bytes(setup, "little")
    at = bits.bit_length() - 1  # the last bit that is set marks the end
    flags: list[bool] = []
    n_modes = 0
    while at >= _MODE_BITS + 6 and len(flags) < _MOST_MODES:
        mode = bits >> (at - _MODE_BITS) & (1 << _MODE_BITS) - 1
        if mode >> 33 > 63 or mode >> 1 & 0xFFFFFFFF:
            break
        at -= _MODE_BITS
        flags.append(bool(mode & 1))
        if (bits >> (at - 6) & 63) + 1 == len(flags):
            n_modes = len(flags)
    return flags[:n_modes][::-1]
