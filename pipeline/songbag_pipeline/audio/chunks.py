"""Chunks, of which many containers consist, and where the last one ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal, NamedTuple

from songbag_pipeline.audio.files import FilePart

_MOST_CHUNKS = 10_000
_UNKNOWN_32 = 0xFFFFFFFF
_NEGATIVE_64 = 1 << 63


class Chunk(NamedTuple):
    """A chunk: its kind, where it begins, where its content begins, and where it ends; None if it does not say."""

    kind: bytes
    at: int
    content: int
    end: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class _Layout:
    """How chunks are written.

    Attributes
    ----------
    first : int
        Where the first one begins in the file.
    kind, size : slice
        Where a chunk's header has its kind and its size.
    order : str
        Of the bytes of the size.
    counts_header : bool
        Whether the size is that of the header too.
    alignment : int
        Chunks begin at multiples of this number of bytes from each other.
    """

    first: int
    kind: slice
    size: slice
    order: Literal["little", "big"]
    counts_header: bool = False
    alignment: int = 1

    @property
    def header_bytes(self) -> int:
        return int(max(self.kind.stop, self.size.stop))


_RIFF = _Layout(12, slice(0, 4), slice(4, 8), "little", alignment=2)
_FORM = dataclasses.replace(_RIFF, order="big")
_OBJECTS = _Layout(0, slice(0, 16), slice(16, 24), "little", counts_header=True)
_LAYOUTS = {
    "wav": _RIFF,
    "aiff": _FORM,
    "iff": _FORM,
    "caf": _Layout(8, slice(0, 4), slice(4, 12), "big"),
    "w64": dataclasses.replace(_OBJECTS, first=40, alignment=8),
    "asf": _OBJECTS,
    "dsf": _Layout(0, slice(0, 4), slice(4, 12), "little", counts_header=True),
    "mov": _Layout(0, slice(4, 8), slice(0, 4), "big", counts_header=True),
}


def chunks(part: FilePart, container: str) -> Iterator[Chunk]:
    """Yield the chunks of a container; the last may be none, or cut off.

    Parameters
    ----------
    part : FilePart
        A file of this container.
    container : str
        FFmpeg's name of it. One that has no chunks yields none.
    """
    layout = _LAYOUTS.get(container)
    if layout is None:
        return
    if container == "wav" and part.read_at(4, 0) == b"RIFX":
        layout = _FORM
    at, data_bytes = layout.first, 0
    for _ in range(_MOST_CHUNKS):
        head = part.read_at(max(16, layout.header_bytes), at)
        if len(head) < layout.header_bytes:
            return
        kind, size = head[layout.kind], int.from_bytes(head[layout.size], layout.order)
        content = at + layout.header_bytes
        if container == "mov" and size == 1:  # the size stands behind the kind
            size, content = int.from_bytes(head[8:16]), at + 16
        if kind == b"ds64":  # the sizes that 32 bits cannot hold (EBU Tech 3306)
            data_bytes = int.from_bytes(part.read_at(8, content + 8), "little")
        elif kind == b"data" and size == _UNKNOWN_32 and data_bytes:
            size = data_bytes
        end = (at if layout.counts_header else content) + size
        # Recorders that were interrupted leave a length of 0; one of CAF may be -1.
        says = end >= content and size < _NEGATIVE_64 and (size or kind != b"data") and any(kind)
        yield Chunk(kind, at, content, end if says else None)
        if not says or end >= part.n_bytes:
            return
        padding = -(end - at) % layout.alignment
        # Some programs leave the padding out.
        at = end + (padding if not any(part.read_at(padding, end)) else 0)
