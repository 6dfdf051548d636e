"""Frames of a FLAC file (RFC 9639), found by their headers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from io import BufferedReader

from songbag_pipeline.audio.files import file_identity
from songbag_pipeline.audio.frames import Frames, Place

_STREAMINFO_BYTES = 34
_MARK = b"fLaC"
# STREAMINFO comes first; the bit of the last block is set if there is no other one.
_HEADERS = (_MARK + b"\0\0\0\x22", _MARK + b"\x80\0\0\x22")
_READ_AT_ONCE = 1 << 20
_MOST_BLOCKS = 1024
_LONGEST_HEADER = 16
_SMALLEST_FRAME = 9
_SAMPLES_AT_ONCE = 1 << 18
_NEAR_BYTES = 1 << 17
# Bytes after the frame's number, by the codes of block size and sample rate (RFC 9639, 9.1.1 and 9.1.2).
_SIZE_BYTES = {6: 1, 7: 2}
_RATE_BYTES = {12: 1, 13: 2, 14: 2}


class FlacFrames(Frames):
    """The frames of a FLAC file whose blocks all have the same size; most encoders write those."""

    codec = "flac"
    bytes_at_once = 1 << 18
    ends_whole = True

    def __init__(self, streaminfo: bytes, first: int, mark: bytes) -> None:
        super().__init__(int.from_bytes(streaminfo[10:13]) >> 4, (streaminfo[12] >> 1 & 7) + 1, first)
        self.extradata = streaminfo
        self.declared_frames = int.from_bytes(streaminfo[13:18]) & (1 << 36) - 1 or None
        self._mark, self._number = mark, 0
        # Frames of silence take 14 bytes: without a limit, one packet of them would become gigabytes of samples.
        block = int.from_bytes(streaminfo[2:4])
        self._at_once = max(1, _SAMPLES_AT_ONCE // max(1, block * self.channels))
        self._block = block

    @classmethod
    def read(cls, file: BufferedReader, start: int) -> FlacFrames | None:
        """Read the header of a file; None if its blocks differ in size."""
        streaminfo, at = b"", start + 4
        for _ in range(_MOST_BLOCKS):
            head = os.pread(file.fileno(), 4 + _STREAMINFO_BYTES, at)
            if head and head[0] & 0x7F == 0:
                streaminfo = head[4:]
            at += 4 + int.from_bytes(head[1:4])
            if not head or head[0] & 0x80:
                break
        mark = os.pread(file.fileno(), 3, at)
        fixed = len(streaminfo) == _STREAMINFO_BYTES and streaminfo[:2] == streaminfo[2:4]
        return cls(streaminfo, at, mark) if fixed and mark[:2] == b"\xff\xf8" else None

    def place(self, file: BufferedReader, sample: int, end: int) -> Place:
        """Return a frame at or before a sample, found by halving the file: frames are numbered, and stand alone.

        The numbers count the samples only in the first of several recordings that were joined, and only if they begin
        at 0: they do not where the begin of a recording was cut off.
        """
        if _number(os.pread(file.fileno(), _LONGEST_HEADER, self.first)) != 0:
            raise ValueError("the frames are not numbered from 0")
        end = min(end, _next_header(file.fileno(), self.first, file_identity(os.fstat(file.fileno()))))
        low, self._number = self.first, 0
        while end - low > _NEAR_BYTES:
            middle = (low + end) // 2
            at, number = self._next_numbered(os.pread(file.fileno(), _NEAR_BYTES, middle), middle - low)
            if at < 0 or number * self._block > sample:
                end = middle
            else:
                low, self._number = middle + at, number
        return Place(low, self._number * self._block)

    def reach(self, file: BufferedReader, end: int) -> bool:
        """Return whether a frame begins so near a place that it may be the last one before it."""
        largest = int.from_bytes(self.extradata[7:10]) or _NEAR_BYTES
        # The last frame is shorter than the others, and may have another mark; so the one before it is enough.
        near = 2 * largest + _LONGEST_HEADER
        data = os.pread(file.fileno(), min(near, end - self.first), max(self.first, end - near))
        at = len(data)
        while (at := data.rfind(self._mark, 0, at + 2)) >= 0:
            if _number(data[at : at + _LONGEST_HEADER]) is not None:
                return True
        return len(data) < near

    def _next_numbered(self, data: bytes, n_before: int) -> tuple[int, int]:
        """Return place and number of the first frame that begins in data; -1 if none does."""
        at = data.find(self._mark)
        while at >= 0:
            number = _number(data[at : at + _LONGEST_HEADER])
            if number is not None and self._number < number <= self._number + (n_before + at) // _SMALLEST_FRAME:
                return at, number
            at = data.find(self._mark, at + 1)
        return -1, 0

    def cuts(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield where the last frame begins; before it, the begin of every `_at_once`-th frame."""
        last, number = self._last_begin(data)
        if any(header in data[last:] for header in _HEADERS):
            raise ValueError("another recording follows")
        at = 0
        while number - self._number > self._at_once:
            for _ in range(self._at_once):
                at = self._next_begin(data, at)
            yield at, self._at_once
        yield last, number - self._number
        self._number = number

    def _last_begin(self, data: bytes) -> tuple[int, int]:
        """Return place and number of the last frame that begins in the data."""
        at = len(data) - _LONGEST_HEADER
        while (at := data.rfind(self._mark, 1, at + 2)) > 0:
            number = _number(data[at : at + _LONGEST_HEADER])
            if number is not None and self._number < number <= self._number + len(data) // _SMALLEST_FRAME:
                return at, number
        return 0, self._number

    def _next_begin(self, data: bytes, at: int) -> int:
        """Return where the next frame begins, and count it."""
        while (at := data.find(self._mark, at + 1)) > 0:
            if _number(data[at : at + _LONGEST_HEADER]) == self._number + 1:
                self._number += 1
                return at
        raise ValueError("a frame is missing")


def flac_headers(read_at: Callable[[int, int], bytes], start: int) -> Iterator[int]:
    """Yield where headers are behind a place (RFC 9639, section 8).

    Parameters
    ----------
    read_at : callable
        Returns at most so many bytes from a place; at the end none.
    start : int
        The place; a header that begins there is left out.
    """
    at = start
    while data := read_at(_READ_AT_ONCE + len(_HEADERS[0]) - 1, at):
        place = data.find(_MARK)
        while place >= 0:
            if at + place > start and data.startswith(_HEADERS, place):
                yield at + place
            place = data.find(_MARK, place + 1)
        at += _READ_AT_ONCE


@lru_cache(maxsize=16)
def _next_header(descriptor: int, start: int, identity: tuple[int, ...]) -> int:
    """Return where the next recording begins in a file, or a place behind the file; remembered for the next part."""
    return next(flac_headers(lambda n_bytes, at: os.pread(descriptor, n_bytes, at), start), sys.maxsize)


def _number(header: bytes) -> int | None:
    """Return the number of a frame; None if this is not the header of a frame (RFC 9639, 9.1)."""
    if len(header) < _LONGEST_HEADER:
        return None
    n_bytes = max(1, 8 - (header[4] ^ 0xFF).bit_length())
    if n_bytes > 7 or header[3] & 1:
        return None
    number = header[4] if header[4] < 0x80 else header[4] & (0x7F >> n_bytes)
    for byte in header[5 : 4 + n_bytes]:
        if byte >> 6 != 2:
            return None
        number = number << 6 | byte & 0x3F
    end = 4 + n_bytes + _SIZE_BYTES.get(header[2] >> 4, 0) + _RATE_BYTES.get(header[2] & 15, 0)
    if len(header) <= end:
        return None
    # CRC of the header: x^8 + x^2 + x + 1, from 0 (RFC 9639, 9.1.8).
    crc = 0
    for byte in header[:end]:
        crc = _CRC8[crc ^ byte]
    return number if crc == header[end] else None


def _crc8_of_byte(crc: int) -> int:
    for _ in range(8):
        crc = (crc << 1 ^ (0x107 if crc & 0x80 else 0)) & 0x1FF
    return crc


_CRC8 = [_crc8_of_byte(byte) for byte in range(256)]
