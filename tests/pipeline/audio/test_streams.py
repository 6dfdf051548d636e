"""Streams that change on their way, files with several streams, and what stands in front of the audio."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from songbag_pipeline.audio.sniff import SEARCHED_BYTES
from songbag_pipeline.songs.direct import read_audio
from songbag_store import FeatureSpec
from tests.support.audio import Audio, chirp, write
from tests.support.broken_audio import music_alone
from tests.support.encoders import encoded, sound_file
from tests.support.song_reader import failing, read


def tone(pitch_hz: float, duration_s: float, rate_hz: int, channels: int = 1) -> Audio:
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    return np.repeat(0.3 * np.sin(2 * np.pi * pitch_hz * t)[:, None], channels, axis=1).astype(np.float32)


@cache
def link(codec: str, form: str, pitch_hz: float, rate_hz: int, channels: int, duration_s: float = 3.0) -> bytes:
    samples = tone(pitch_hz, duration_s, rate_hz, channels)
    if codec == "libvorbis":  # PyAV comes without it
        return sound_file(samples, rate_hz, "OGG", "VORBIS")
    return encoded(samples, rate_hz, codec, form)


def pitch(samples: Audio, rate_hz: int = 22050) -> float:
    """The loudest frequency, in Hz."""
    return float(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax() * rate_hz / len(samples))


CHANGES = {
    "vorbis": ("libvorbis", "ogg", [(44100, 2), (22050, 2), (44100, 1), (44100, 2)]),
    "opus": ("libopus", "ogg", [(48000, 1), (48000, 2), (48000, 6)]),
    "ogg-flac": ("flac", "ogg", [(44100, 1), (22050, 2), (44100, 1)]),
    "flac": ("flac", "flac", [(44100, 2), (22050, 1), (44100, 2)]),
    "mp3": ("libmp3lame", "mp3", [(44100, 2), (22050, 1), (8000, 1), (48000, 2)]),
    "mp2": ("mp2", "mp2", [(48000, 2), (24000, 1)]),
    "adts": ("aac", "adts", [(44100, 2), (22050, 1), (48000, 2)]),
    "mpeg-ts": ("aac", "mpegts", [(44100, 2), (22050, 1)]),
    "ac3": ("ac3", "ac3", [(48000, 2), (44100, 1)]),
    "wavpack": ("wavpack", "wv", [(44100, 2), (22050, 1)]),
}


@pytest.mark.fault(91)
@pytest.mark.parametrize(("codec", "form", "kinds"), CHANGES.values(), ids=CHANGES)
def test_a_stream_that_changes_is_followed_to_its_end(
    tmp_path: Path, codec: str, form: str, kinds: list[tuple[int, int]]
) -> None:
    links = [link(codec, form, 400 + 200 * n, *kind) for n, kind in enumerate(kinds)]
    (tmp_path / "x").write_bytes(b"".join(links))
    samples = read_audio(str(tmp_path / "x"))
    length_s = 3.0 * len(kinds)
    assert len(samples) / 22050 == pytest.approx(length_s, abs=0.15 * len(kinds))
    for n in range(len(kinds)):
        middle = samples[int((3 * n + 1) * 22050) : int((3 * n + 2.4) * 22050)]
        assert pitch(middle) == pytest.approx(400 + 200 * n, abs=3)
        assert np.sqrt(np.square(middle).mean()) == pytest.approx(0.3 / np.sqrt(2), rel=0.1)
    facts, _ = read(tmp_path / "x")
    assert (facts.status, facts.truncated) == ("ok", False)
    assert facts.duration_s == pytest.approx(len(samples) / 22050, abs=0.001)
    assert facts.declared_duration_s is None or facts.declared_duration_s <= (facts.duration_s or 0) * 1.01
    assert "the stream changes: from 3.0 s on" in (facts.audio_note or "") or codec == "libopus"


@pytest.mark.fault(91)
def test_of_a_stream_that_changes_only_the_seconds_asked_for_are_decoded(tmp_path: Path) -> None:
    links = [link("libvorbis", "ogg", 400, rate_hz, 2) for rate_hz in (44100, 22050, 44100)]
    (tmp_path / "x.ogg").write_bytes(b"".join(links))
    for duration_s in (2.0, 3.0, 4.0, 6.5):
        facts, _ = read(tmp_path / "x.ogg", FeatureSpec(window_s=0.5, n_mels=40, max_duration_s=duration_s))
        assert facts.duration_s == pytest.approx(duration_s, abs=1e-3)
        assert len(read_audio(str(tmp_path / "x.ogg"), max_duration_s=duration_s)) == pytest.approx(
            22050 * duration_s, abs=2
        )


@pytest.mark.fault(5, 91)
@pytest.mark.parametrize("n_bytes", [30, 200, 2000])
def test_a_chain_that_is_cut_off_soon_after_a_new_header_is_used_and_flagged(tmp_path: Path, n_bytes: int) -> None:
    first, then = (link("libvorbis", "ogg", pitch_hz, 44100, 2, 12.0) for pitch_hz in (400, 600))
    (tmp_path / "x.ogg").write_bytes(first + then[:n_bytes])
    facts, _ = read(tmp_path / "x.ogg")
    assert (facts.status, facts.truncated) == ("ok", True)
    assert facts.duration_s == pytest.approx(12.0, abs=0.1)
    assert "what follows 12.0 s could not be read" in (facts.audio_note or "")


@pytest.mark.fault(91)
def test_silence_and_tags_between_joined_files_are_passed_over(tmp_path: Path) -> None:
    first, then = link("libmp3lame", "mp3", 400, 44100, 2), link("libmp3lame", "mp3", 600, 22050, 1)
    for between in (bytes(5000), b"TAG" + bytes(125), id3(300), np.random.default_rng(1).bytes(3000)):
        (tmp_path / "x.mp3").write_bytes(first + between + then)
        facts, _ = read(tmp_path / "x.mp3")
        assert (facts.status, facts.truncated) == ("ok", False)
        assert facts.duration_s == pytest.approx(6.0, abs=0.3)


@pytest.mark.fault(93)
@pytest.mark.parametrize("form", ["matroska", "mov"])
@pytest.mark.parametrize("default", [0, 1, 2])
def test_of_several_streams_the_one_flagged_as_default_is_read(tmp_path: Path, form: str, default: int) -> None:
    tracks = [tone(pitch_hz, 2.0, 44100) for pitch_hz in (400, 600, 800)]
    (tmp_path / "x").write_bytes(encoded(tracks[0], 44100, "aac", form, *tracks[1:], default=default))
    assert pitch(read_audio(str(tmp_path / "x"))) == pytest.approx(400 + 200 * default, abs=3)
    facts, _ = read(tmp_path / "x")
    assert f"of 3 audio streams, number {default + 1} was read: it is flagged as the default" in (
        facts.audio_note or ""
    )


@pytest.mark.parametrize(
    ("codec", "form"), [("libopus", "ogg"), ("aac", "matroska"), ("aac", "ipod"), ("mp2", "mpegts")]
)
def test_what_an_encoder_puts_around_a_short_song_is_not_missing(tmp_path: Path, codec: str, form: str) -> None:
    (tmp_path / "x").write_bytes(link(codec, form, 400, 48000, 1, 1.0))
    facts, _ = read(tmp_path / "x")
    assert (facts.status, facts.truncated) == ("ok", False)


@pytest.mark.fault(93)
def test_of_several_streams_without_a_flag_the_first_is_read(tmp_path: Path) -> None:
    tracks = [tone(400, 2.0, 48000), tone(600, 2.0, 48000)]
    (tmp_path / "x").write_bytes(encoded(tracks[0], 48000, "aac", "mpegts", tracks[1]))
    assert pitch(read_audio(str(tmp_path / "x"))) == pytest.approx(400, abs=3)
    facts, _ = read(tmp_path / "x")
    assert "of 2 audio streams, number 1 was read" in (facts.audio_note or "")


def id3(n_bytes: int, says: int | None = None) -> bytes:
    """An ID3v2 tag of zeros, which may give a wrong length."""
    size = n_bytes if says is None else says
    return b"ID3\x03\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + bytes(n_bytes)


def picture(n_bytes: int, says: int | None = None) -> bytes:
    """An ID3v2 tag with a JPEG in it."""
    jpeg = b"\0image/jpeg\0\3\0\xff\xd8\xff\xe0" + np.random.default_rng(0).bytes(n_bytes)
    frame = b"APIC" + len(jpeg).to_bytes(4) + b"\0\0" + jpeg
    return id3(len(frame), says)[:10] + frame


APE = b"APETAGEX" + struct.pack("<IIII8x", 2000, 40, 0, 0xA0000000) + bytes(8) + b"APETAGEX" + bytes(24)
LEADS = {
    "id3": id3(100),
    "three tags": id3(50) + id3(70000) + id3(10),
    "a large picture": picture(3_000_000),
    "zeros": bytes(100_000),
    "one zero": b"\0",
    "zeros behind a tag": id3(100) + bytes(100_000),
    "megabytes of zeros": id3(100) + bytes(3_000_000),
    "ape": APE,
    "ape and id3": APE + id3(30) + APE,
    "a tag longer than it says": picture(300_000, says=2000),
    "a tag shorter than it says": id3(100, says=20_000),
    "a tag that says it is longer than the file": id3(100, says=200_000_000),
    "something else": b"HTTP/1.0 200 OK\r\nContent-Type: audio\r\n" * 40,
    "much else": np.random.default_rng(5).bytes(500_000),
}
AUDIO = {
    "mp3": ("libmp3lame", "mp3"),
    "m4a": ("aac", "ipod"),
    "wav": ("pcm_s16le", "wav"),
    "flac": ("flac", "flac"),
    "vorbis": ("libvorbis", "ogg"),
    "aiff": ("pcm_s16be", "aiff"),
    "wavpack": ("wavpack", "wv"),
    "adts": ("aac", "adts"),
    "ac3": ("ac3", "ac3"),
    "tta": ("tta", "tta"),
    "matroska": ("flac", "matroska"),
}


@pytest.mark.fault(92)
@pytest.mark.parametrize(("codec", "form"), AUDIO.values(), ids=AUDIO)
def test_what_stands_in_front_of_the_audio_is_skipped(tmp_path: Path, codec: str, form: str) -> None:
    data = link(codec, form, 400, 48000, 2, 1.0)
    (tmp_path / "x").write_bytes(data)
    expected = read_audio(str(tmp_path / "x"))
    for name, lead in LEADS.items():
        (tmp_path / "x").write_bytes(lead + data)
        samples = read_audio(str(tmp_path / "x"))
        assert len(samples) == len(expected), name
        np.testing.assert_allclose(samples, expected, atol=1e-6, err_msg=name)


@pytest.mark.fault(92)
def test_what_was_skipped_and_is_neither_tag_nor_zeros_is_noted(tmp_path: Path) -> None:
    data = link("aac", "adts", 400, 48000, 2, 1.0)
    for lead, note in (
        (id3(100) + bytes(5000), None),
        (id3(100) + b"?" * 70_000, "the first 70,110 bytes are no audio and were left out"),
    ):
        (tmp_path / "x.aac").write_bytes(lead + data)
        assert read(tmp_path / "x.aac")[0].audio_note == note


@pytest.mark.fault(92)
def test_the_search_for_the_audio_has_an_end(tmp_path: Path) -> None:
    data = music_alone(write(tmp_path / "x.mp3", chirp(1.0, 44100, 2), 44100))
    for n_zeros, found in ((SEARCHED_BYTES - 10, True), (SEARCHED_BYTES + 10, False)):
        with (tmp_path / "x.mp3").open("wb") as file:
            file.truncate(n_zeros)
            file.seek(n_zeros)
            file.write(data)
        if found:
            assert len(read_audio(str(tmp_path / "x.mp3"))) == pytest.approx(22050, abs=2000)
        else:
            facts, _ = read(tmp_path / "x.mp3")
            assert (facts.error_code, facts.error) == ("not-audio", "the first 16 MiB hold zeros and nothing else")


def foreign_files() -> dict[str, bytes]:
    """Files of a quarter of a megabyte that are no audio, though some hold bytes as frames begin with."""
    noise = np.random.default_rng(3).bytes(1 << 18)
    jpeg = b"\xff\xd8\xff\xe0" + noise.replace(b"\xff", b"\xff\0") + b"\xff\xfb\x90\0" * 3
    return {
        "noise": noise,
        "text": b"It is a truth universally acknowledged. \xff\xfb\x90\x64" * 5_000,
        "html": b"<!DOCTYPE html><html>" + b"<p>\xff\xf1</p>" * 20_000,
        "utf-16": "\ufeff".encode("utf-16-le") + "a song \xfb\xff".encode("utf-16-le") * 20_000,
        "jpeg": jpeg,
        "pdf": b"%PDF-1.7\n" + noise,
        "zip": b"PK\x03\x04" + noise,
        "ones": b"\xff" * (1 << 18),
        "words": np.tile(np.array([-1, 251], "<i2"), 1 << 16).tobytes(),
    }


@pytest.mark.fault(11, 92)
def test_what_is_no_audio_is_not_taken_for_some_by_chance(tmp_path: Path) -> None:
    for name, data in foreign_files().items():
        for lead in (b"", id3(100)):
            (tmp_path / "x.mp3").write_bytes(lead + data)
            assert (name, failing(tmp_path / "x.mp3")) == (name, "not-audio")


@pytest.mark.fault(92)
def test_songs_in_an_archive_are_no_song(tmp_path: Path) -> None:
    song = link("libmp3lame", "mp3", 400, 44100, 2)
    for begin, what in ((b"PK\x03\x04" + bytes(30), "ZIP"), (b"song.mp3" + bytes(249) + b"ustar" + bytes(250), "tar")):
        (tmp_path / "x.mp3").write_bytes(begin + song)
        facts, _ = read(tmp_path / "x.mp3")
        assert (facts.error_code, facts.error) == ("not-audio", f"the file is a {what} archive")
