"""Whether the end of a file is missing, and whether its header has a length: what FFmpeg does not say."""

from __future__ import annotations

import struct

from songbag_pipeline.audio.chunks import chunks
from songbag_pipeline.audio.files import FilePart
from songbag_pipeline.audio.recording import falls_short
from songbag_pipeline.audio.sync import frame_length

_OGG_PAGE_BYTES = 27 + 255 + 255 * 255
_LAST_HEADERS = (b"\x05vorbis", b"OpusTags")
_HEADER_BYTES = 64
_SIZE_WITHIN = 1 << 16
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_FLV_SIZE = b"\0\x08filesize\0"
_FRAMES_ALONE = frozenset({"aac", "ac3", "dts", "eac3", "mp3", "mpeg", "mpegts", "amr"})
_UNCOUNTED = _FRAMES_ALONE | {"voc"}


def ends_after_header(part: FilePart, container: str) -> bool:
    """Return whether an Ogg file that FFmpeg cannot open has a whole header all the same."""
    head = part.read_at(_OGG_PAGE_BYTES, 0)
    return container == "ogg" and any(mark in head for mark in _LAST_HEADERS)


def counts_its_length(part: FilePart, container: str) -> bool:
    """Return whether the header has a length; if not, FFmpeg guesses it from the size of the file."""
    if container == "matroska":
        return _segment_end(part) is not None
    return container not in _UNCOUNTED


def declared_end(part: FilePart, container: str) -> int | None:
    """Return where a Matroska, CAF, AVI or FLV ends by its header; None if it does not say, or is another container."""
    ends = {"matroska": _segment_end, "caf": _chunks_end, "avi": _riff_end, "flv": _flv_end}
    return ends[container](part) if container in ends else None


def ends_early(part: FilePart, container: str) -> bool:
    """Return whether the container shows that the end of the file is missing."""
    if container == "ogg":
        return _lacks_last_page(part)
    end = None if container == "flv" else declared_end(part, container)
    return end is not None and part.n_bytes < end


def ends_within_frame(last: bytes, container: str) -> bool:
    """Return whether the last packet is shorter than its header says, where packets are frames with such a header."""
    return container in _FRAMES_ALONE and frame_length(last) > len(last)


def lacks_bytes(part: FilePart, container: str) -> bool:
    """Return whether more than 1 % of the bytes that the header counts are missing; a tag may have been removed."""
    head = part.read_at(_SIZE_WITHIN, 0)
    if container == "asf" and (at := head.find(_ASF_PROPERTIES)) >= 0:  # ASF specification 1.2, section 3.2
        return falls_short(part.n_bytes, int.from_bytes(head[at + 40 : at + 48], "little"))
    return container == "flv" and falls_short(part.n_bytes, _flv_end(part) or 0)


def _lacks_last_page(part: FilePart) -> bool:
    """Return whether an Ogg file ends before the page that is marked as the last (RFC 3533, section 6)."""
    end = part.read_at(_OGG_PAGE_BYTES, max(0, part.n_bytes - _OGG_PAGE_BYTES))
    page = end.rfind(b"OggS")
    return page < 0 or len(end) < page + 6 or not end[page + 5] & 4


def _riff_end(part: FilePart) -> int | None:
    """Return where the first RIFF chunk of an AVI ends; None if it does not say."""
    n_bytes = int.from_bytes(part.read_at(4, 4), "little")
    return None if n_bytes in (0, 0xFFFFFFFF) else 8 + n_bytes


def _flv_end(part: FilePart) -> int | None:
    """Return the size that many programs write into an FLV; None if there is none."""
    head = part.read_at(_SIZE_WITHIN, 0)
    at = head.find(_FLV_SIZE)
    number = head[at + len(_FLV_SIZE) :][:8] if at >= 0 else b""
    size = struct.unpack(">d", number)[0] if len(number) == 8 else 0
    return int(size) if 0 < size < 1 << 62 else None


def _chunks_end(part: FilePart) -> int | None:
    """Return where the samples of a CAF file end; None if it does not say (Apple's CAF specification 1.0)."""
    end = None
    for chunk in chunks(part, "caf"):
        end = chunk.end
        if chunk.kind == b"data":
            break
    return end


def _segment_end(part: FilePart) -> int | None:
    """Return where a Matroska file's segment ends; None if it does not say (RFC 8794, 4 and 6.2)."""
    head = part.read_at(_HEADER_BYTES, 0)
    header_bytes, start = _element_size(head, 4)
    if header_bytes is None:
        return None
    segment_bytes, begin = _element_size(head, start + header_bytes + 4)
    return None if segment_bytes is None else begin + segment_bytes


def _element_size(data: bytes, start: int) -> tuple[int | None, int]:
    """Read an EBML element's size at a place: the size, None if unknown, and where its content begins."""
    first = data[start] if start < len(data) else 0
    if first == 0:
        return None, start
    length = 9 - first.bit_length()
    value = int.from_bytes(data[start : start + length]) & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), start + length
