"""What lies behind the end that a header gives: noted if it may be audio, passed over in silence if it is known."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from songbag_pipeline.songs.direct import read_audio
from tests.support.audio import AUDIO, chirp
from tests.support.encoders import encoded, sound_file
from tests.support.song_reader import read

RATE_HZ = 44100
ID3V1 = b"TAG" + b"A song".ljust(125, b"\0")
APE = b"APETAGEX" + struct.pack("<IIII8x", 2000, 40, 0, 0xA0000000) + bytes(8) + b"APETAGEX" + bytes(24)


def of_libsndfile(form: str, subtype: str = "PCM_16", channels: int = 2) -> Callable[[float], bytes]:
    return lambda length_s: sound_file(chirp(length_s, RATE_HZ, channels), RATE_HZ, form, subtype)


def of_ffmpeg(codec: str, form: str, **options: str) -> Callable[[float], bytes]:
    return lambda length_s: encoded(chirp(length_s, RATE_HZ, 2), RATE_HZ, codec, form, container_options=options)


def odd(form: str) -> Callable[[float], bytes]:
    """A file with an odd number of bytes of samples."""
    return lambda length_s: sound_file(
        chirp(length_s, RATE_HZ)[:-1], RATE_HZ, form, "PCM_S8" if form == "AIFF" else "PCM_U8"
    )


COUNTED = {
    "wav": of_libsndfile("WAV"),
    "wav extensible": of_libsndfile("WAVEX", "PCM_24"),
    "wav odd": odd("WAV"),
    "wav of FFmpeg": of_ffmpeg("pcm_s16le", "wav"),
    "wav adpcm": of_ffmpeg("adpcm_ms", "wav"),
    "rf64": of_libsndfile("RF64"),
    "w64": of_libsndfile("W64"),
    "w64 of FFmpeg": of_ffmpeg("pcm_s24le", "w64"),
    "aiff": of_libsndfile("AIFF"),
    "aiff odd": odd("AIFF"),
    "aifc": of_libsndfile("AIFF", "FLOAT"),
    "svx": of_libsndfile("SVX", channels=1),
    "au": of_libsndfile("AU"),
    "caf": of_libsndfile("CAF"),
    "caf alac": of_libsndfile("CAF", "ALAC_16"),
    "m4a": of_ffmpeg("aac", "ipod"),
    "alac": of_ffmpeg("alac", "ipod"),
    "mov": of_ffmpeg("pcm_s16le", "mov"),
    "asf": of_ffmpeg("libmp3lame", "asf"),
    "fragmented mp4": of_ffmpeg("aac", "mp4", movflags="frag_keyframe+empty_moov", frag_duration="200000"),
    "tta": of_ffmpeg("tta", "tta"),
    "voc": of_ffmpeg("pcm_s16le", "voc"),
    "flv": of_ffmpeg("aac", "flv"),
    "flv without its size": lambda length_s: of_ffmpeg("aac", "flv")(length_s).replace(b"filesize", b"fileSize"),
    "nist": of_libsndfile("NIST"),
    "avr": of_libsndfile("AVR"),
}
"""Files whose header says where they end, and where decoders stop."""
STREAMED = {
    "matroska": of_ffmpeg("aac", "matroska"),
    "avi": of_ffmpeg("libmp3lame", "avi"),
    "flac": of_ffmpeg("flac", "flac"),
    "mp3": of_ffmpeg("libmp3lame", "mp3"),
    "mp2": of_ffmpeg("mp2", "mp2"),
    "adts": of_ffmpeg("aac", "adts"),
    "ac3": of_ffmpeg("ac3", "ac3"),
    "eac3": of_ffmpeg("eac3", "eac3"),
    "wavpack": of_ffmpeg("wavpack", "wv"),
    "ogg flac": of_ffmpeg("flac", "ogg"),
    "vorbis": of_libsndfile("OGG", "VORBIS"),
    "opus": lambda length_s: sound_file(chirp(length_s, 48000, 2), 48000, "OGG", "OPUS"),
    "transport stream": of_ffmpeg("mp2", "mpegts"),
}


@cache
def made(name: str, length_s: float = 1.0) -> bytes:
    return (COUNTED | STREAMED)[name](length_s)


def facts_of(path: Path, content: bytes) -> tuple[str | None, float]:
    path.write_bytes(content)
    facts, _ = read(path)
    assert (facts.status, facts.error) == ("ok", None)
    return facts.audio_note, facts.duration_s or 0


@pytest.mark.fault(91)
@pytest.mark.parametrize("name", COUNTED)
def test_another_recording_behind_the_end_is_noted(tmp_path: Path, name: str) -> None:
    first, then = made(name), made(name, 2.0)
    for between in (b"", ID3V1, APE, APE + ID3V1, bytes(700)):
        note, duration_s = facts_of(tmp_path / "x", first + between + then)
        place = len(first + between)
        assert note == f"another recording, from byte {place:,} on, was left out", between[:8]
        assert duration_s == pytest.approx(1.0, abs=0.1)


@pytest.mark.fault(91)
@pytest.mark.parametrize("name", STREAMED)
def test_a_recording_that_is_followed_by_another_is_read_on_where_its_format_goes_on(tmp_path: Path, name: str) -> None:
    note, duration_s = facts_of(tmp_path / "x", made(name) + made(name, 2.0))
    assert "left out" not in (note or "")
    assert duration_s == pytest.approx(3.0, abs=0.1)


@pytest.mark.fault(91)
def test_the_first_recording_has_the_samples_that_it_has_alone(tmp_path: Path) -> None:
    for name in COUNTED:
        (tmp_path / "x").write_bytes(made(name))
        alone = read_audio(str(tmp_path / "x"))
        (tmp_path / "x").write_bytes(bytes(5) + made(name) + made(name, 2.0))
        np.testing.assert_array_equal(read_audio(str(tmp_path / "x")), alone, name)


@pytest.mark.fault(91)
def test_a_recording_of_another_format_behind_the_end_is_noted(tmp_path: Path) -> None:
    first = made("wav")
    for name in (*STREAMED, "m4a", "aiff", "caf", "w64"):
        note, _ = facts_of(tmp_path / "x", first + made(name))
        assert re.fullmatch(r"another recording, from byte 176,4\d\d on, was left out", note or ""), name


@pytest.mark.fault(91)
@pytest.mark.parametrize("name", STREAMED)
def test_a_recording_of_another_format_behind_a_stream_is_noted(tmp_path: Path, name: str) -> None:
    whole = made(name)
    alone = facts_of(tmp_path / "x", whole)[1]
    samples = read_audio(str(tmp_path / "x"), sample_rate_hz=RATE_HZ)
    for other in ("wav", "flac" if name in ("mp3", "mp2") else "mp3", "m4a"):
        for between in (b"", ID3V1, bytes(700)):
            note, duration_s = facts_of(tmp_path / "x", whole + between + made(other, 9.0))
            said = re.fullmatch(r"another recording, from byte ([\d,]+) on, was left out", note or "")
            assert said, (other, between[:8], note)
            place = int(said[1].replace(",", ""))
            assert len(whole + between) <= place <= len(whole + between) + 100
            # FFmpeg leaves out the last frame of AC-3 that zeros follow.
            assert duration_s == pytest.approx(alone, abs=0.04), (other, between[:8])
            heard = read_audio(str(tmp_path / "x"), sample_rate_hz=RATE_HZ, end_s=0.9)
            # At the end the resampler hears silence in place of what follows.
            np.testing.assert_array_equal(heard[:-1000], samples[: len(heard) - 1000])


@pytest.mark.parametrize("name", STREAMED)
def test_tags_zeros_and_a_cut_are_no_other_recording(tmp_path: Path, name: str) -> None:
    whole = made(name)
    alone = facts_of(tmp_path / "x", whole)[1]
    for what, behind in SILENT.items():
        note, duration_s = facts_of(tmp_path / "x", whole + behind)
        assert note is None, what
        assert duration_s == pytest.approx(alone, abs=0.1), what
    for keep in (0.6, 0.98):
        (tmp_path / "x").write_bytes(whole[: int(keep * len(whole))])
        assert "recording" not in (read(tmp_path / "x")[0].audio_note or "")


@pytest.mark.fault(91)
def test_of_several_chunks_with_samples_the_last_is_read_as_decoders_do(tmp_path: Path) -> None:
    other = chirp(2.0, RATE_HZ, 2)
    little, big = ((other * 32767).astype(order).tobytes() for order in ("<i2", ">i2"))
    wave, aiff, caf = made("wav"), made("aiff"), made("caf")
    packed = made("wav adpcm")
    for first, then in (
        (wave, chunk(b"data", little)),
        (wave, chunk(b"LIST", b"INFO" + b"x" * 5000) + chunk(b"data", little)),
        (packed, chunk(b"data", packed[packed.index(b"data") + 8 :] * 2)),
        (aiff, chunk(b"SSND", bytes(8) + big, ">")),
        (caf, b"data" + struct.pack(">Q", len(little) + 4) + bytes(4) + little),
    ):
        order = ">" if first is aiff else "<"
        length = first[4:8] if first is caf else struct.pack(f"{order}I", len(first + then) - 8)
        note, duration_s = facts_of(tmp_path / "x", first[:4] + length + first[8:] + then)
        assert note == "of 2 chunks with samples, where there may be one, the last was read"
        assert duration_s == pytest.approx(2.0, abs=0.1)


SILENT = {
    "nothing": b"",
    "id3v1": ID3V1,
    "ape": APE,
    "ape and id3v1": APE + ID3V1,
    "id3v2": b"ID3\x04\0\0\0\0\x10\0" + bytes(2048),
    "zeros": bytes(100_000),
    "a byte": b"\0",
    "a line": b"\r\n",
}


@pytest.mark.parametrize("name", COUNTED)
def test_tags_and_zeros_behind_the_end_are_passed_over_in_silence(tmp_path: Path, name: str) -> None:
    whole = made(name)
    for what, behind in SILENT.items():
        note, duration_s = facts_of(tmp_path / "x", whole + behind)
        assert note is None, what
        assert duration_s == pytest.approx(1.0, abs=0.1)


def chunk(kind: bytes, content: bytes, order: str = "<") -> bytes:
    return kind + struct.pack(f"{order}I", len(content)) + content + bytes(len(content) % 2)


def test_chunks_that_the_length_in_the_header_leaves_out_are_passed_over_in_silence(tmp_path: Path) -> None:
    info = b"INFO" + b"x" * 5001
    wave, bare = made("wav"), sound_file(chirp(1.0, RATE_HZ)[:-1], RATE_HZ, "WAV", "PCM_U8")
    for whole in (
        wave + chunk(b"LIST", info) + chunk(b"id3 ", info),
        wave[:4] + b"\xff" * 4 + wave[8:] + chunk(b"LIST", info),
        bare[: 44 + RATE_HZ - 1] + chunk(b"LIST", info),
        made("aiff") + chunk(b"NAME", info, ">"),
        made("m4a") + struct.pack(">I", 5009) + b"free" + info,
        made("caf") + b"info" + struct.pack(">Q", len(info)) + info,
    ):
        note, duration_s = facts_of(tmp_path / "x", whole)
        assert note is None
        assert duration_s == pytest.approx(1.0, abs=0.1)


def test_a_length_that_is_not_known_is_none_that_is_exceeded(tmp_path: Path) -> None:
    wave = made("wav")
    for size in (0, 0xFFFFFFFF, 0x7FFFF000, 0x80000000):
        length = struct.pack("<I", size)
        note, duration_s = facts_of(tmp_path / "x", wave[:4] + length + wave[8:40] + length + wave[44:])
        assert (note, duration_s) == (None, 1.0)
    au = made("au")
    assert facts_of(tmp_path / "x", au[:8] + b"\xff" * 4 + au[12:]) == (None, 1.0)
    caf = made("caf")
    place = caf.index(b"data") + 4
    note, duration_s = facts_of(tmp_path / "x", caf[:place] + b"\xff" * 8 + caf[place + 8 :])
    assert note is None
    assert duration_s == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("name", COUNTED)
def test_a_file_that_is_cut_off_has_nothing_behind_its_end(tmp_path: Path, name: str) -> None:
    whole = made(name)
    for keep in (0.3, 0.6, 0.98):
        (tmp_path / "x").write_bytes(whole[: int(keep * len(whole))])
        assert read(tmp_path / "x")[0].audio_note is None


@pytest.mark.fault(3)
def test_bytes_that_the_header_does_not_count_are_noted(tmp_path: Path) -> None:
    wave = bytearray(made("wav"))
    wave[4:8], wave[40:44] = struct.pack("<I", 88_236), struct.pack("<I", 88_200)
    note, duration_s = facts_of(tmp_path / "x", bytes(wave))
    assert note == "the last 88,200 bytes lie behind the end that the header gives, and were left out"
    assert duration_s == 0.5


def test_what_follows_the_samples_of_a_w64_is_not_played(tmp_path: Path) -> None:
    whole = made("w64")
    listed = b"list" + whole[4:16] + struct.pack("<Q", 24 + 8000) + b"x" * 8000
    whole = whole[:16] + struct.pack("<Q", len(whole) + len(listed)) + whole[24:] + listed
    (tmp_path / "x").write_bytes(whole)
    facts, _ = read(tmp_path / "x")
    assert (facts.duration_s, facts.declared_duration_s, facts.truncated, facts.audio_note) == (1.0, 1.0, False, None)
    assert len(read_audio(str(tmp_path / "x"), sample_rate_hz=RATE_HZ, start_s=0.5)) == RATE_HZ // 2


@pytest.mark.skipif(not AUDIO.exists(), reason="the recordings are not there")
def test_real_recordings_have_no_note() -> None:
    for path in sorted(AUDIO.glob("*.ogg")):
        assert read(path)[0].audio_note is None, path.name
