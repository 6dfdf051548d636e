"""What lies behind the end that the header of a file gives: decoders and players stop there without a word."""

from __future__ import annotations

import dataclasses

from songbag_pipeline.audio.chunks import chunks
from songbag_pipeline.audio.files import FilePart, RegularFile
from songbag_pipeline.audio.formats import AudioFormat, by_magic
from songbag_pipeline.audio.sniff import behind_tags

_MAGIC_BYTES = 16
_ZEROS_WITHIN = 1 << 16
_MUCH = 0.01
"""The share of a file from which on bytes are noted of which nothing tells what they are."""
_OF_SAMPLES = ("wav", "aiff", "iff", "au", "caf", "w64")
"""Containers whose samples all lie before the end of the chunk that has them."""
_SOUND = (b"data", b"SSND", b"BODY", b"mdat", b"\x36\x26\xb2\x75")
"""What the kinds of chunks with the sound begin with; the last is that of ASF."""
_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3\2", b"ID3\3", b"ID3\4")


def first_alone(file: RegularFile, form: AudioFormat) -> tuple[AudioFormat, str | None]:
    """Return a format that ends where the first recording of a file ends, and a note on what is behind it.

    Noted are another recording, and many bytes that the header does not count. Tags, zeros, and chunks that the length
    in the header leaves out are neither. Some kilobytes are read at most.
    """
    part = FilePart(file, form.start)
    end = _end(part, form.container)
    if end is None or end >= part.n_bytes:
        return form, None
    found, _, rest = behind_tags(file, form.start + end, _ZEROS_WITHIN)
    if found is not None and (found.container != "mov" or _begins(part, found.start - form.start)):
        note = f"another recording, from byte {found.start:,} on, was left out"
        return dataclasses.replace(form, end=found.start), note
    n_bytes = form.start + part.n_bytes - rest
    is_zero = not any(part.read_at(_MAGIC_BYTES, rest - form.start))
    if form.container in _OF_SAMPLES and n_bytes > _MUCH * part.n_bytes and not is_zero:
        return form, f"the last {n_bytes:,} bytes lie behind the end that the header gives, and were left out"
    return form, None


def _end(part: FilePart, container: str) -> int | None:
    """Return where the recording ends; None if it reaches to the end of the file, or does not say."""
    if container == "au":
        begin, n_bytes = (int.from_bytes(part.read_at(4, at)) for at in (4, 8))
        return begin + n_bytes if n_bytes else None
    has_sound = False
    for chunk in chunks(part, container):
        if has_sound and (_begins(part, chunk.at) or part.read_at(_MAGIC_BYTES, chunk.at).startswith(_TAGS)):
            return chunk.at
        if chunk.end is None or chunk.end > part.n_bytes:
            is_named = len(chunk.kind) > 4 or (chunk.kind.isascii() and chunk.kind.decode().isprintable())
            return chunk.at if has_sound and not (is_named and any(chunk.kind)) else None
        has_sound = has_sound or chunk.kind.startswith(_SOUND)
    return None


def _begins(part: FilePart, at: int) -> bool:
    """Return whether a recording begins at a place behind the first one."""
    head = part.read_at(_MAGIC_BYTES, at)
    form = by_magic(head, part.n_bytes - at)
    # Of an MP4, any box may be the first, but only one names the format.
    return form is not None and (form.container != "mov" or head[4:8] == b"ftyp")
