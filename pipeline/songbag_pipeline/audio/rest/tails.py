"""Streams without a length: whether they reach to the end of their file, and what follows if they do not."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial

from songbag_pipeline.audio.files import RegularFile
from songbag_pipeline.audio.flac_frames import FlacFrames
from songbag_pipeline.audio.formats import AudioFormat, by_magic
from songbag_pipeline.audio.frames import end_of_frames
from songbag_pipeline.audio.mpeg_frames import is_adts
from songbag_pipeline.audio.sniff import BEGIN, FRAMES_ANYWHERE, tag_bytes
from songbag_pipeline.audio.sync import frame_length, run_at

_PAGE_BYTES = 27 + 255 + 255 * 255
_TAIL_BYTES = {
    "mp3": 1 << 13,
    "aac": 1 << 14,
    "ac3": 1 << 14,
    "eac3": 1 << 14,
    "ogg": 2 * _PAGE_BYTES,
    "mpegts": 1 << 12,
}
"""How much of the end is looked at, by container: the largest frame or page, twice."""
_MARKS = {
    "mp3": re.compile(rb"\xff[\xe2-\xe7\xf2-\xff]"),
    "aac": re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"),
    "ac3": re.compile(rb"\x0b\x77"),
    "eac3": re.compile(rb"\x0b\x77"),
    "ogg": re.compile(rb"OggS\0"),
    "mpegts": re.compile(rb"G"),
}
_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN")
_MOST_MARKS = 4096
_FEWEST = 2
_MAGIC_BYTES = 2048
_SEARCHED_AT_ONCE = 1 << 20
_OVERLAP = 1 << 16
_LONGEST_HEADER = 27 + 255


def is_followed(file: RegularFile, form: AudioFormat) -> bool:
    """Return whether a stream of frames, pages or packets does not reach to the end of its file, or to tags there."""
    end = end_of_frames(file)
    if form.name == "flac":
        frames = FlacFrames.read(file, form.start)
        return frames is not None and not frames.reach(file, end)
    if form.container not in _MARKS:
        return False
    tail = _tail(file, form, end)
    return len(tail) == _TAIL_BYTES[form.container] and not _reaches_end(tail, form.container)


def _tail(file: RegularFile, form: AudioFormat, end: int) -> bytes:
    begin = max(form.start, end - _TAIL_BYTES[form.container])
    return os.pread(file.fileno(), max(0, end - begin), begin)


def _reaches_end(tail: bytes, container: str) -> bool:
    """Return whether pieces of this kind follow each other up to the end of the data."""
    for number, found in enumerate(_MARKS[container].finditer(tail)):
        if number > _MOST_MARKS:
            return True
        for length_of in _LENGTHS.get(container, (frame_length,)):
            at = found.start()
            n = 0
            while at < len(tail) and (length := length_of(tail[at : at + 300])):
                at, n = at + length, n + 1
            rest = tail[at : at + 300]
            # The last one may be cut off within its header.
            if n >= _FEWEST and (len(rest) < 10 or not rest.strip(b"\0") or rest.startswith(_TAGS)):
                return True
    return False


def _page_bytes(head: bytes) -> int:
    if len(head) < 27 or not head.startswith(b"OggS"):
        return 0
    body = 27 + head[26]
    return body + sum(head[27:body])


def _packet_bytes(period: int, head: bytes) -> int:
    return period if head.startswith(b"G") else 0


_LENGTHS: dict[str, tuple[Callable[[bytes], int], ...]] = {
    "ogg": (_page_bytes,),
    "mpegts": tuple(partial(_packet_bytes, period) for period in (188, 192, 204)),
}


def next_begin(file: RegularFile, form: AudioFormat) -> tuple[int, int] | None:
    """Return where the first recording ends and one of another format begins; None if none is found.

    A tag of the second one may lie between the two.
    """
    at = _search_from(file, form)
    while data := os.pread(file.fileno(), _SEARCHED_AT_ONCE + _OVERLAP, at):
        for match in BEGIN.finditer(data, 0, _SEARCHED_AT_ONCE):
            begin = match.start()
            if _is_own(data[begin : begin + 10], form):
                continue
            found = by_magic(data[begin : begin + _MAGIC_BYTES], len(data) - begin)
            found = found or run_at(data, begin, FRAMES_ANYWHERE)
            if found is not None and found.container != form.container:
                before = os.pread(file.fileno(), min(_OVERLAP, at + begin), max(0, at + begin - _OVERLAP))
                return at + begin - _tag_before(before), at + begin
        at += _SEARCHED_AT_ONCE
    return None


def _search_from(file: RegularFile, form: AudioFormat) -> int:
    """Return a place behind the headers, in which anything may stand."""
    frames = FlacFrames.read(file, form.start) if form.name == "flac" else None
    if frames is not None:
        return frames.first
    end = end_of_run(file, form) if form.container == "ogg" else None
    return form.start + 1 if end is None else end


def end_of_run(file: RegularFile, form: AudioFormat) -> int | None:
    """Return where the pages or packets end that follow each other from the begin on; None of other streams."""
    ends = []
    for length_of in _LENGTHS.get(form.container, ()):
        at = form.start
        while length := length_of(os.pread(file.fileno(), _LONGEST_HEADER, at)):
            at += length
        ends.append(at)
    return max(ends, default=form.start) if max(ends, default=form.start) > form.start else None


def _tag_before(data: bytes) -> int:
    """Return the length of the ID3v2 tag that ends with the data; 0 if none does."""
    at = len(data)
    while (at := data.rfind(b"ID3", 0, at)) >= 0:
        if tag_bytes(data[at : at + 10]) == len(data) - at:
            return len(data) - at
    return 0


def _is_own(head: bytes, form: AudioFormat) -> bool:
    """Return whether this may be a frame of the stream itself."""
    if head[0] == 0xFF:
        return form.container == ("aac" if is_adts(head) else "mp3") or (form.name == "flac" and head[1] & 0xFE == 0xF8)
    return head[:2] == b"\x0b\x77" and form.container in ("ac3", "eac3")
