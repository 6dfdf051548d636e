"""The genre of an ID3 tag as its text, where FFmpeg takes a text that begins with a number for one of a list."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from songbag_pipeline.audio.chunks import chunks
from songbag_pipeline.audio.files import FilePart, RegularFile
from songbag_pipeline.audio.formats import AudioFormat

_HEADER_BYTES = 10
_MOST_FRAMES = 1000
_MOST_BYTES = 16 << 20
_TEXT_BYTES = 4096
_NAME = re.compile(rb"[A-Z][A-Z0-9]{2,3}")
_CODINGS = ("latin-1", "utf-16", "utf-16-be", "utf-8")
_DSF_POINTER = 20
_LARGEST_PLACE = (1 << 62) - 1

Read = Callable[[int, int], bytes]
"""Returns at most so many bytes from a place."""


def seven_bits(data: bytes) -> int:
    """Return the number of bytes that have seven bits each (ID3v2.4, section 6.2)."""
    number = 0
    for byte in data:
        number = number << 7 | byte & 0x7F
    return number


def places_inside(file: RegularFile, form: AudioFormat) -> Iterator[int]:
    """Yield where ID3 tags are inside a WAV, AIFF or DSF."""
    if form.container == "dsf":
        pointer = int.from_bytes(file.read_at(8, form.start + _DSF_POINTER), "little")
        yield form.start + (pointer & _LARGEST_PLACE)
    for chunk in chunks(FilePart(file, form.start), form.container) if form.container in ("wav", "aiff") else ():
        if chunk.kind[:3].lower() == b"id3":
            yield form.start + chunk.content


def genre_text(file: RegularFile, start: int) -> str | None:
    """Return the genre of the ID3 tag (2.2, 2.3, 2.4) at a place; None if there is no tag, or no genre in it."""
    head = file.read_at(_HEADER_BYTES, start)
    if len(head) < _HEADER_BYTES or head[:3] != b"ID3" or head[3] not in (2, 3, 4):
        return None
    version, flags, n_bytes = head[3], head[5], seven_bits(head[6:10])

    def read(length: int, at: int) -> bytes:
        return file.read_at(max(0, min(length, n_bytes - at)), start + _HEADER_BYTES + at)

    if flags & 0x80 and version < 4:
        # A zero was put behind each byte of ones; sizes do not count it. In 2.4 they do, and each frame is for itself.
        content = read(_MOST_BYTES, 0).replace(b"\xff\0", b"\xff")
        return _genre(lambda length, at: content[at : at + length], version, flags)
    return _genre(read, version, flags)


def _genre(read: Read, version: int, flags: int) -> str | None:
    at = _extended_bytes(read, version) if flags & 0x40 and version > 2 else 0
    for _ in range(_MOST_FRAMES):
        name, n_bytes, flag, content = _frame(read, at, version)
        if not _NAME.fullmatch(name):
            return None
        if name in (b"TCO", b"TCON"):
            flag |= flags >> 6 & 2 if version == 4 else 0  # the tag may say it for all its frames
            return _text(read(min(n_bytes, _TEXT_BYTES), content), version, flag)
        at = content + n_bytes
    return None


def _extended_bytes(read: Read, version: int) -> int:
    """Return the length of the extended header, which counts itself only in 2.4."""
    size = read(4, 0)
    return 4 + int.from_bytes(size) if version == 3 else seven_bits(size)


def _frame(read: Read, at: int, version: int) -> tuple[bytes, int, int, int]:
    """Return name, length and flags of the frame at a place, and where its content begins."""
    if version == 2:
        head = read(6, at)
        return head[:3], int.from_bytes(head[3:6]), 0, at + 6
    head = read(10, at)
    plain, content = int.from_bytes(head[4:8]), at + 10
    n_bytes = seven_bits(head[4:8]) if version == 4 else plain
    # Older programs write the sizes of 2.4 as those of 2.3.
    if n_bytes != plain and not _goes_on(read, content + n_bytes) and _goes_on(read, content + plain):
        n_bytes = plain
    return head[:4], n_bytes, head[9] if len(head) == 10 else 0, content


def _goes_on(read: Read, at: int) -> bool:
    """Return whether another frame, padding or the end of the tag is at a place."""
    name = read(4, at)
    return not name.strip(b"\0") or bool(_NAME.fullmatch(name))


def _text(content: bytes, version: int, flags: int) -> str | None:
    """Return the first text of a frame; None if it is compressed or encrypted."""
    if flags & (0x0C if version == 4 else 0xC0):
        return None
    if version == 4:
        content = content[(flags >> 6 & 1) + 4 * (flags & 1) :]
        content = content.replace(b"\xff\0", b"\xff") if flags & 2 else content
    else:
        content = content[flags >> 5 & 1 :]
    coding = _CODINGS[content[0]] if content and content[0] < len(_CODINGS) else "latin-1"
    return content[1:].decode(coding, "replace").partition("\0")[0]
