"""What a file says of itself: artist, album, title, genre, year and track, read from its tags through PyAV."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import av

from songbag_pipeline.audio.files import FilePart, RegularFile, open_regular
from songbag_pipeline.audio.formats import AudioFormat
from songbag_pipeline.audio.id3 import genre_text, places_inside
from songbag_pipeline.audio.sniff import id3_places, sniff

Tags = dict[str, str | int]
"""The value of each tag that a file has; one that it has not, or that says nothing, is left out."""

LONGEST = 500
"""Characters that are kept of a text."""

_YEAR = re.compile(r"(?<!\d)([12]\d{3})(?:(?!\d)|(?=[01]\d[0-3]\d(?!\d)))", re.ASCII)
_TRACK = re.compile(r"\s*(\d{1,5})(?!\d)", re.ASCII)
_NUMBERED = re.compile(r"\d+[^\d]", re.ASCII)
# An ID3 tag in front of these says less than they say themselves.
_WITH_COMMENTS = ("flac", "ogg-vorbis", "ogg-opus", "ogg-flac", "ogg-speex", "wavpack", "ape", "musepack", "tak")
_LARGEST_TRACK = 65_535


def read_tags(path: str) -> Tags:
    """Return the tags of a file. Tags that cannot be read are none: they say nothing of the audio.

    Raises
    ------
    SongError
        If the file cannot be opened, or is no audio.
    """
    with open_regular(path) as file:
        form = sniff(file)
        places = list(id3_places(file, form.start))
        tags: Tags = {}
        has_own = False
        # An ID3 tag in front has longer texts than one at the end.
        for start in sorted({*(places or [0]), form.start}, reverse=True):
            # A file may lack memory for a picture of a gigabyte; the other files go on.
            with suppress(av.FFmpegError, ArithmeticError, LookupError, ValueError, MemoryError, OSError):
                tags |= _told(FilePart(file, start), form)
            has_own = has_own or (start == form.start and form.name in _WITH_COMMENTS and "genre" in tags)
        if "genre" not in tags or has_own:
            return tags
        genre = _numbered_genre(file, [*places, *places_inside(file, form)])
        return tags | {"genre": genre} if genre else tags


def _numbered_genre(file: RegularFile, places: list[int]) -> str:
    """Return the genre of the first ID3 tag that has one, if it is a text that begins with a number; else nothing.

    FFmpeg takes "80s" for number 80 of the list of genres, which is Folk.
    """
    text = plain(next((text for place in places if (text := genre_text(file, place)) is not None), ""))
    return text if _NUMBERED.match(text) else ""


def _told(part: FilePart, form: AudioFormat) -> Tags:
    """Return the tags of a part of a file, opened as the format that was recognised."""
    if not form.container:
        return {}
    options = {"format_whitelist": form.container, "protocol_whitelist": "file"}
    with av.open(part, format=form.container, options=options, metadata_errors="surrogateescape") as container:
        told = [dict(container.metadata), *(dict(stream.metadata) for stream in container.streams.audio)]
    return tags_of(told)


def tags_of(told: list[dict[str, str]]) -> Tags:
    """Return the tags among what a file says; of two texts under one name the first that says something holds."""
    found: Tags = {}
    for tag, (names, value_of) in _TAGS.items():
        values = (value_of(plain(text)) for name in names for text in _under(name, told))
        value = next((value for value in values if value), None)
        if value:
            found[tag] = value
    return found


def _under(name: str, told: list[dict[str, str]]) -> Iterator[str]:
    return (text for one in told for key, text in one.items() if key.casefold() == name)


def plain(text: str) -> str:
    """Return a text on one line, composed (NFC), without control characters, and at most `LONGEST` characters long.

    Bytes that are not UTF-8 are read as Windows-1252. A text whose characters are the bytes of a text in UTF-8, as
    programs write it that confuse the two, is read as that.
    """
    if any("\udc80" <= character <= "\udcff" for character in text):
        text = text.encode("utf-8", "surrogateescape").decode("latin-1")
    elif not text.isascii():
        with suppress(UnicodeError):
            text = text.encode("latin-1").decode()
    text = "".join(_windows(character) for character in text[: 4 * LONGEST])
    text = " ".join(unicodedata.normalize("NFC", text).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3].rstrip() + "..."


def _windows(character: str) -> str:
    """Return what is printed for a character: those of Windows stand where Latin-1 has control characters."""
    if "\x80" <= character <= "\x9f":
        character = character.encode("latin-1").decode("cp1252", "replace")
    return " " if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character == "\ufeff" else character


def _year(text: str) -> int | None:
    """Return the first year from 1000 to 2999 of a text such as 2004, 2004-03-01, 20040301 or 1 March 2004."""
    match = _YEAR.search(text)
    return int(match[1]) if match else None


def _track(text: str) -> int | None:
    """Return the number that a text such as 3, 03 or 3/12 begins with; 0 says nothing."""
    match = _TRACK.match(text)
    number = int(match[1]) if match else 0
    return number if number <= _LARGEST_TRACK else None


_TAGS: Mapping[str, tuple[tuple[str, ...], Callable[[str], str | int | None]]] = {
    "artist": (("artist", "album_artist", "albumartist", "album artist", "performer", "author"), str),
    "album": (("album",), str),
    "title": (("title",), str),
    "genre": (("genre",), str),
    "year": (("date", "year", "date_released", "date_recorded", "originaldate"), _year),
    "track": (("track", "tracknumber"), _track),
}
TEXTS = ("artist", "album", "title", "genre")
"""The tags that are texts; the others are whole numbers."""
NAMES = tuple(_TAGS)
"""The tags, in the order of their columns."""
