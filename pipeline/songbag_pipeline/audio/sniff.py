"""The format of a file by its content: its name may be wrong, and something may stand in front of it or behind it."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from io import BufferedReader

from songbag_pipeline.audio.formats import AudioFormat, by_magic, foreign
from songbag_pipeline.audio.id3 import seven_bits
from songbag_pipeline.audio.sync import SYNC, run_at
from songbag_pipeline.errors import SongError

SEARCHED_BYTES = 16 << 20
"""How far the audio is searched behind the begin of the last tag in front of it, or of the file."""

_HEAD_BYTES = 1 << 16
_MAGIC_BYTES = 2048
_ID3V1_BYTES = 128
_MOST_TAGS = 100
_FRAMES_AT_START = 2
FRAMES_ANYWHERE = 6
"""Frames in a row that are no chance, wherever they are found."""
BEGIN = re.compile(
    rb"(?:RIF[FX]|RF64|BW64)....WAVE|fLaC[\0\x80]\0\0\x22|OggS\0\x02|FORM....AIF[FC]|\0\0\0.ftyp[a-zA-Z0-9]|caff\0\x01"
    rb"|wvpk....[\x02-\x10]\x04|TTA1[\x01-\x03]\0|\x30\x26\xb2\x75\x8e\x66\xcf\x11|\x1aE\xdf\xa3[\x80-\xff]\x42"
    rb"|riff\x2e\x91\xcf\x11|\.snd\0\0.{6}\0\0\0[\x01-\x1b]|G.{187}G.{187}G.{187}G.{187}G|" + SYNC,
    re.DOTALL,
)
"""Begins that are so long that they are no chance either."""


def sniff(file: BufferedReader) -> AudioFormat:
    """Return the format of an open file, and where it begins.

    Tags and zeros in front of it are skipped. If something else follows, the first known format, or several frames
    in a row, are searched in `SEARCHED_BYTES`.

    Raises
    ------
    SongError
        ``empty-file``, ``no-audio`` if there are only tags, or ``not-audio``.
    """
    n_bytes = os.fstat(file.fileno()).st_size
    if not n_bytes:
        raise SongError("empty-file", "the file is empty")
    found, tag, start = behind_tags(file, 0, SEARCHED_BYTES)
    if found is not None:
        return found
    what = foreign(_read(file, start, _HEAD_BYTES))
    if what is not None and start == 0:
        raise SongError("not-audio", f"the file is {what}")
    return _searched(file, tag, start, n_bytes)


def behind_tags(file: BufferedReader, start: int, within: int) -> tuple[AudioFormat | None, int, int]:
    """Return what begins at a place, behind tags and zeros if there are some.

    Parameters
    ----------
    file : file
        An open file.
    start : int
        The place.
    within : int
        How far to look for the end of zeros, from the begin of the last tag on.

    Returns
    -------
    form : AudioFormat or None
        None if no known format follows directly.
    tag, end : int
        Where the last tag begins, and where tags and zeros end.
    """
    n_bytes = os.fstat(file.fileno()).st_size
    tag = start
    for _ in range(_MOST_TAGS):
        head = _read(file, start, _HEAD_BYTES)
        found = _directly(head, start, n_bytes)
        if found is not None:
            return found, tag, start
        n_tag = tag_bytes(head)
        zeros = _leading_zeros(file, start, tag + within) if head[:1] == b"\0" else 0
        if not n_tag and not zeros:
            break
        if n_tag:
            tag = start
        # A format may begin with up to three zeros.
        for place in range(max(start, start + zeros - 3), start + zeros):
            found = _directly(_read(file, place, _MAGIC_BYTES), place, n_bytes)
            if found is not None:
                return found, tag, place
        start += n_tag + zeros
    return None, tag, start


def id3_places(file: BufferedReader, end: int) -> Iterator[int]:
    """Yield where ID3v2 tags begin in front of the audio, behind other tags and zeros too."""
    start = 0
    for _ in range(_MOST_TAGS):
        head = _read(file, start, _MAGIC_BYTES) if start < end else b""
        if head[:3] == b"ID3":
            yield start
        skipped = tag_bytes(head) or (_leading_zeros(file, start, end) if head[:1] == b"\0" else 0)
        if not skipped:
            return
        start += skipped


def _directly(head: bytes, start: int, n_bytes: int) -> AudioFormat | None:
    """Return the format that begins here."""
    found = by_magic(head, n_bytes - start)
    found = found or run_at(head, 0, _FRAMES_AT_START, whole=start + len(head) >= n_bytes)
    return found and dataclasses.replace(found, start=start)


def _searched(file: BufferedReader, tag: int, start: int, n_bytes: int) -> AudioFormat:
    """Return the first format that begins anywhere: a tag may give a wrong length."""
    data = _read(file, tag, SEARCHED_BYTES + _HEAD_BYTES)
    for match in BEGIN.finditer(data, 0, SEARCHED_BYTES):
        at = match.start()
        found = by_magic(data[at : at + _MAGIC_BYTES], n_bytes - tag - at)
        found = found or run_at(data, at, FRAMES_ANYWHERE)
        if found is not None:
            return dataclasses.replace(found, start=tag + at, skipped=max(0, tag + at - start))
    seen = data[:SEARCHED_BYTES]
    if tag_bytes(seen) and not seen[start - tag :].strip(b"\0"):
        raise SongError("no-audio", "the file holds a tag and nothing else")
    if not seen.strip(b"\0"):
        place = "file holds" if n_bytes - tag <= SEARCHED_BYTES else f"first {SEARCHED_BYTES >> 20} MiB hold"
        raise SongError("not-audio", f"the {place} zeros and nothing else")
    begin = data[start - tag : start - tag + 12]
    raise SongError("not-audio", f"the content is no audio known here (it begins with {begin!r})")


def tag_bytes(head: bytes) -> int:
    """Return the length of the tag that begins here (ID3v1, ID3v2 or APEv2); 0 if none does."""
    if head[:3] == b"TAG" and len(head) >= _ID3V1_BYTES:
        return _ID3V1_BYTES
    if head[:3] == b"ID3" and len(head) >= 10:
        return seven_bits(head[6:10]) + (20 if head[5] & 0x10 else 10)  # header and footer: ID3v2.4, section 3.1
    if head[:8] == b"APETAGEX" and len(head) >= 32:
        return 32 + int.from_bytes(head[12:16], "little")
    return 0


def _leading_zeros(file: BufferedReader, start: int, stop: int) -> int:
    """Return how many zeros begin at a place, up to another place."""
    data = _read(file, start, max(0, stop - start))
    return len(data) - len(data.lstrip(b"\0"))


def _read(file: BufferedReader, start: int, n_bytes: int) -> bytes:
    return os.pread(file.fileno(), n_bytes, start)
