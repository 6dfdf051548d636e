"""Tags of every format, whole and broken."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from songbag_pipeline.audio.tags import LONGEST, plain, read_tags, tags_of
from songbag_pipeline.errors import SongError
from tests.support.tagged import flac, form, id3, id3v1, info, plain_audio, riff, with_ffmpeg

ALL = {"artist": "Björk", "album": "Début", "title": "Human", "genre": "Pop", "year": 2004, "track": 3}
WORDS = {"artist": "Björk", "album": "Début", "title": "Human", "genre": "Pop", "date": "2004-03-01", "track": "3/12"}
V23 = {
    "TPE1": "\0Björk".encode("latin-1"),
    "TALB": b"\1" + "\ufeffDébut".encode("utf-16-le"),
    "TIT2": b"\0Human",
    "TCON": b"\0(13)",
    "TYER": b"\x002004",
    "TDAT": b"\x000103",
    "TRCK": b"\x003/12",
}
V24 = {
    "TPE1": "\3Björk".encode(),
    "TALB": b"\2" + "Début".encode("utf-16-be"),
    "TIT2": b"\3Human",
    "TCON": b"\x0313",
    "TDRC": b"\x032004-03-01",
    "TRCK": b"\x033/12",
}
V1 = id3v1(b"Human", "Björk".encode("latin-1"), "Début".encode("latin-1"), b"2004", 3, 13)
COMMENTS = [f"{name.upper()}={text}".encode() for name, text in WORDS.items() if name != "track"]
INFO = {"IART": "Björk".encode("latin-1"), "IPRD": "Début".encode(), "INAM": b"Human", "IGNR": b"Pop", "ICRD": b"2004"}

MP3, FLAC, WAV, AIFF = (plain_audio(name) for name in ("MP3", "FLAC", "WAV", "AIFF"))

TAGGED = {
    "v1.mp3": MP3 + V1,
    "v23.mp3": id3(3, **V23) + MP3,
    "v24.mp3": id3(4, **V24) + MP3,
    "half.mp3": id3(3, TPE1=V23["TPE1"]) + MP3 + V1,
    "a.flac": flac(FLAC, *COMMENTS, b"TRACKNUMBER=03"),
    "front.flac": id3(3, TPE1=b"\0Another", TRCK=b"\x004") + flac(FLAC, *COMMENTS, b"TRACKNUMBER=3"),
    "a.opus": with_ffmpeg("ogg", "libopus", WORDS),
    "a.m4a": with_ffmpeg("ipod", "aac", WORDS),
    "a.mka": with_ffmpeg("matroska", "libopus", WORDS),
    "info.wav": riff(WAV, LIST=info(**INFO, IPRT=b"3")),
    "id3.wav": riff(WAV, id3_=id3(3, **V23)),
    "id3.aiff": form(AIFF, ID3_=id3(4, **V24)),
}


def tags(folder: Path, content: bytes, name: str = "song") -> dict[str, str | int]:
    (folder / name).write_bytes(content)
    return read_tags(str(folder / name))


@pytest.mark.parametrize("name", TAGGED)
def test_tags_of_every_format_are_read(tmp_path: Path, name: str) -> None:
    assert tags(tmp_path, TAGGED[name], name) == ALL


def test_an_aiff_has_a_name_and_an_author(tmp_path: Path) -> None:
    assert tags(tmp_path, form(AIFF, NAME=b"Human", AUTH=b"Bj\xf6rk")) == {"title": "Human", "artist": "Björk"}


@pytest.mark.parametrize("content", [MP3, FLAC, WAV, AIFF, plain_audio("OGG")])
def test_a_file_without_tags_has_none(tmp_path: Path, content: bytes) -> None:
    assert tags(tmp_path, content) == {}


@pytest.mark.parametrize(
    ("comments", "found"),
    [
        ([b"ARTIST=A", b"artist=B"], {"artist": "A;B"}),
        ([b"ARTIST=caf\xe9"], {"artist": "café"}),
        ([b"ARTIST=\x93A\x94"], {"artist": "“A”"}),
        (["ARTIST=Bj\u00c3\u00b6rk".encode()], {"artist": "Björk"}),
        (["ARTIST=Bjo\u0308rk".encode()], {"artist": "Björk"}),
        ([b"TITLE= a\r\nb\tc\x07 ", b"ALBUM=\x01\n"], {"title": "a b c"}),
        ([b"TITLE=before\0after"], {"title": "before"}),
        ([b"ALBUMARTIST=All", b"ARTIST="], {"artist": "All"}),
        (["GENRE=\ud83c\udfb8".encode("utf-16", "surrogatepass").decode("utf-16").encode()], {"genre": "🎸"}),
        ([b"GENRE=80s"], {"genre": "80s"}),
        ([b"no equals sign", b"=x", b"STATUS=ok", b"SONG_ID=../x"], {}),
    ],
)
def test_odd_texts_are_read_as_they_were_meant(tmp_path: Path, comments: list[bytes], found: dict[str, str]) -> None:
    assert tags(tmp_path, flac(FLAC, *comments)) == found


@pytest.mark.parametrize("version", [3, 4])
def test_a_genre_that_begins_with_a_number_is_no_number_of_a_list(tmp_path: Path, version: int) -> None:
    assert tags(tmp_path, id3(version, TCON=b"\x0080s Pop") + MP3)["genre"] == "80s Pop"
    assert tags(tmp_path, id3(version, TCON=b"\x00(17)(80)") + MP3)["genre"] == "Rock"
    assert tags(tmp_path, id3(version, TCON=b"\1" + "\ufeff2-Step".encode("utf-16-le")) + MP3)["genre"] == "2-Step"


def of_version(version: int, body: bytes, flags: int = 0) -> bytes:
    """An ID3 tag of any version, with any flags."""
    return b"ID3" + bytes([version, 0, flags, *(len(body) >> shift & 127 for shift in (21, 14, 7, 0))]) + body


EIGHTIES = b"\x0080s"
U16 = b"\1" + "\ufeff80s".encode("utf-16-le")
PICTURE = b"\0image/jpeg\0\3\0" + b"\xff\1" * 200
LARGE = PICTURE + bytes(1_500_000)


def dsf(tag: bytes) -> bytes:
    """A DSF of silence; its tag stands at the end."""
    sound = struct.pack("<4sQIIIIIIQII", b"fmt ", 52, 1, 0, 1, 1, 2822400, 1, 8 * 4096, 4096, 0)
    sound += b"data" + struct.pack("<Q", 12 + 4096) + b"\x69" * 4096
    return b"DSD " + struct.pack("<QQQ", 28, 28 + len(sound) + len(tag), 28 + len(sound)) + sound + tag


GENRES = {
    "dsf": dsf(id3(3, TCON=EIGHTIES)),
    "2.2": of_version(2, b"TP1\0\0\2\0ATCO\0\0\4" + EIGHTIES) + MP3,
    "2.3, extended": of_version(3, bytes([0, 0, 0, 6]) + bytes(6) + id3(3, TCON=EIGHTIES)[10:], 0x40) + MP3,
    "2.4, extended": of_version(4, bytes([0, 0, 0, 6, 1, 0]) + id3(4, TCON=EIGHTIES)[10:], 0x40) + MP3,
    "2.4 with sizes of 2.3": of_version(4, id3(3, APIC=PICTURE, TCON=EIGHTIES)[10:]) + MP3,
    "2.3 behind a picture": id3(3, APIC=LARGE, TCON=EIGHTIES) + MP3,
    "2.4 behind a picture": id3(4, APIC=LARGE, TCON=EIGHTIES) + MP3,
    "2.3, zeros behind ones": of_version(3, id3(3, TCON=U16)[10:].replace(b"\xff", b"\xff\0"), 0x80) + MP3,
    "2.4, zeros behind ones": of_version(4, id3(4, TCON=U16.replace(b"\xff", b"\xff\0"))[10:], 0x80) + MP3,
    "the second tag": id3(3, TPE1=b"\0A") + id3(3, TCON=EIGHTIES) + MP3,
    "zeros": bytes(10) + id3(3, TCON=EIGHTIES) + MP3,
    "zeros between": id3(3, TPE1=b"\0A") + bytes(10) + id3(3, TCON=EIGHTIES) + MP3,
    "wav": riff(WAV, LIST=info(INAM=b"x"), id3_=id3(3, TCON=EIGHTIES)),
    "aiff": form(AIFF, NAME=b"x", ID3_=id3(4, TCON=EIGHTIES)),
}


@pytest.mark.parametrize("name", GENRES)
def test_a_genre_that_begins_with_a_number_is_read_in_every_kind_of_id3(tmp_path: Path, name: str) -> None:
    assert tags(tmp_path, GENRES[name])["genre"] == "80s"


def test_the_genre_of_a_flac_goes_before_that_of_an_id3_tag_in_front(tmp_path: Path) -> None:
    assert tags(tmp_path, id3(3, TCON=EIGHTIES) + flac(FLAC, b"GENRE=Pop"))["genre"] == "Pop"


def test_tags_behind_zeros_are_read(tmp_path: Path) -> None:
    assert tags(tmp_path, bytes(10) + id3(3, **V23) + MP3 + V1) == ALL
    assert tags(tmp_path, bytes(70_000) + id3(4, **V24) + bytes(5) + MP3) == ALL


YEARS = {
    **dict.fromkeys(["2004", "2004-03-01", "20040301", "1 March 2004", "2004;1999", "2004-03-01T12:00:00"], 2004),
    **dict.fromkeys(["0000", "04", "12345", "3004", "soon", "٢٠٠٤", ""]),
}
TRACKS = {
    **dict.fromkeys(["3", "03", "3/12", " 3 of 12"], 3),
    **dict.fromkeys(["0", "0/0", "A1", "-1", "65536", "999999", "/12", "²"]),
    "65535": 65535,
}


@pytest.mark.parametrize("text", YEARS)
def test_a_year_is_the_first_of_a_date(text: str) -> None:
    assert tags_of([{"DATE": text}]).get("year") == YEARS[text]


@pytest.mark.parametrize("text", TRACKS)
def test_a_track_is_the_number_that_the_text_begins_with(text: str) -> None:
    assert tags_of([{"track": text}]).get("track") == TRACKS[text]


def test_a_long_text_is_cut(tmp_path: Path) -> None:
    found = str(tags(tmp_path, flac(FLAC, b"TITLE=" + "ä".encode() * 1_000_000))["title"])
    assert (len(found), found[:3], found[-4:]) == (LONGEST, "äää", "ä...")
    assert plain("a" * LONGEST) == "a" * LONGEST


def test_broken_tags_are_none_and_what_is_no_audio_is_an_error(tmp_path: Path) -> None:
    whole = id3(3, **V23)
    assert tags(tmp_path, whole[:40] + MP3)["artist"] == "Björk"
    # A frame that claims more bytes than there are.
    assert tags(tmp_path, whole.replace(b"TALB\0\0\0", b"TALB\x7f\xff\xff") + MP3).get("artist") in (None, "Björk")
    assert tags(tmp_path, flac(FLAC, b"ARTIST=A")[:50]) in ({}, {"artist": "A"})
    with pytest.raises(SongError, match="no audio known"):
        tags(tmp_path, b"words and nothing else")
    with pytest.raises(SongError, match="no such file"):
        read_tags(str(tmp_path / "nowhere.mp3"))


def test_the_artist_of_the_album_stands_for_one_that_is_missing() -> None:
    for name in ("album_artist", "ALBUMARTIST", "ALBUM ARTIST"):
        assert tags_of([{name: "Björk", "artist": " "}]) == {"artist": "Björk"}
