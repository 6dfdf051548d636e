"""Files that are damaged, or are not what they say: those that need more than a line in `test_songs`."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from songbag_pipeline.audio.decode import decode
from songbag_pipeline.audio.files import open_regular
from songbag_pipeline.audio.sniff import sniff
from songbag_pipeline.songs.direct import read_audio
from songbag_store import FeatureSpec
from tests.support.audio import chirp, mux, sf_write, sparse_wav, write, write_aac
from tests.support.broken_audio import broken_flac, cut, music_alone, write_claiming_4_gb
from tests.support.song_reader import SPEC, failing, read


@pytest.mark.fault(3)
@pytest.mark.parametrize(
    ("make", "declared_s"),
    [
        *((partial(sf_write, form=form), 6.0) for form in ("AIFF", "AU", "CAF", "RF64", "WAVEX")),
        (partial(sf_write, form="CAF", subtype="ALAC_16"), 6.0),
        (partial(sf_write, form="WAV", subtype="IMA_ADPCM"), 6.0),
        (partial(mux, codec="libopus", form="webm"), 6.0),
        (partial(mux, codec="libmp3lame", form="matroska"), 6.0),
        (partial(mux, codec="wmav2", form="asf"), 6.0),
        (partial(mux, codec="mp2", form="mp2"), None),
        (partial(mux, codec="aac", form="adts"), None),
    ],
    ids=lambda value: "-".join(value.keywords.values()) if isinstance(value, partial) else "",
)
def test_a_file_of_any_other_format_is_flagged_if_it_is_cut_off(
    tmp_path: Path, make: Callable[[Path], None], declared_s: float | None
) -> None:
    make(tmp_path / "x")
    facts, _ = read(tmp_path / "x")
    assert (facts.status, facts.truncated, facts.declared_duration_s) == ("ok", False, near(declared_s))
    assert facts.duration_s == near(6.0)
    facts, _ = read(cut(tmp_path / "x", 0.603))
    assert (facts.status, facts.truncated) == ("ok", True)
    assert 3 < (facts.duration_s or 0) < 4 < (facts.declared_duration_s or 6)


def near(duration_s: float | None) -> object:
    """The duration, give or take what an encoder pads."""
    return None if duration_s is None else pytest.approx(duration_s, abs=0.2)


@pytest.mark.fault(7)
@pytest.mark.parametrize("keep", [0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 0.999])
def test_an_m4a_cut_off_anywhere_fails_or_is_flagged(tmp_path: Path, keep: float) -> None:
    whole = write_aac(tmp_path / "x.m4a", chirp(5.0, 44100, 2))
    front = tmp_path / "front.m4a"
    with av.open(str(whole)) as old, av.open(str(front), "w", format="mp4", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.audio[0])
        for packet in old.demux(old.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    facts, _ = read(cut(front, keep))
    assert facts.status == "failed" or facts.truncated or keep > 0.99
    assert facts.error_code in (None, "unreadable-header", "no-audio", "too-short", "corrupt")


@pytest.mark.fault(9)
def test_an_m4a_with_many_damaged_packets_is_corrupt(tmp_path: Path) -> None:
    path = write_aac(tmp_path / "x.m4a", chirp(5.0, 44100, 2))
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 2000
    noise = np.random.default_rng(1).integers(0, 256, 30_000, np.uint8).tobytes()
    data[start : start + len(noise)] = noise[: len(data) - start]
    path.write_bytes(data)
    facts, _ = read(path)
    assert facts.error_code in ("corrupt", "unreadable-header")


@pytest.mark.fault(9)
def test_audio_of_a_damaged_flac_is_read_where_it_is_not_damaged_and_silent_there(tmp_path: Path) -> None:
    broken_flac(tmp_path / "x.flac", holes=0)
    whole = read_audio(str(tmp_path / "x.flac"))
    broken_flac(tmp_path / "x.flac", holes=1)
    samples = read_audio(str(tmp_path / "x.flac"))
    differs = np.flatnonzero(samples != whole)
    assert 0 < differs[-1] - differs[0] < 2 * 4096
    assert not samples[differs].any()
    facts, _ = read(tmp_path / "x.flac")
    begin_s, silent_s = differs[0] / 22050, (differs[-1] + 1 - differs[0]) / 22050
    assert facts.audio_note == f"{silent_s:.3f} s are missing or damaged, and silent here, the first at {begin_s:.1f} s"
    assert (facts.duration_s, facts.truncated) == (20.0, False)


@pytest.mark.fault(9)
def test_packets_of_an_m4a_that_are_left_out_are_noted(tmp_path: Path) -> None:
    path = write_aac(tmp_path / "x.m4a", chirp(20.0, 44100, 2))
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + len(data) // 2
    data[start : start + 600] = b"\xff" * 600
    path.write_bytes(data)
    facts, _ = read(path)
    assert re.fullmatch(r"\d packets? of 8\d\d could not be decoded and were left out", facts.audio_note or "")


@pytest.mark.fault(8)
@pytest.mark.parametrize("damage", [bytes(3000), bytes(range(256)) * 12])
def test_an_mp3_is_read_on_behind_a_damaged_place(tmp_path: Path, damage: bytes) -> None:
    path = write(tmp_path / "x.mp3", chirp(10.0, 44100, 2), 44100)
    whole, expected = read(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + len(damage)] = damage
    path.write_bytes(data)
    facts, windows = read(path)
    assert (facts.status, facts.n_windows) == ("ok", sum(map(len, windows)))
    assert 9.5 < (facts.duration_s or 0) < (whole.duration_s or 0)
    np.testing.assert_array_equal(np.concatenate(windows)[:10], np.concatenate(expected)[:10])
    values = np.concatenate(windows).astype(np.float64) / 16
    np.testing.assert_allclose(facts.feature_sum or [], values.sum(axis=(0, 2)), rtol=1e-12)


@pytest.mark.fault(4)
def test_an_mp3_that_does_not_count_its_frames_is_read_to_its_end_all_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mp3", np.concatenate([chirp(10.0) * 0, chirp(10.0)]))
    path.write_bytes(music_alone(path))
    facts, _ = read(path)
    assert (facts.status, facts.declared_duration_s, facts.truncated) == ("ok", None, False)
    assert facts.duration_s == pytest.approx(20, abs=0.1)
    facts, _ = read(cut(path, 0.8))
    assert (facts.status, facts.truncated) == ("ok", True)


def test_channels_that_change_within_a_file_are_mixed_as_they_come(tmp_path: Path) -> None:
    stereo = music_alone(write(tmp_path / "a.mp3", chirp(5.0, 44100, 2), 44100))
    mono = music_alone(write(tmp_path / "b.mp3", chirp(5.0, 44100), 44100))
    (tmp_path / "x.mp3").write_bytes(stereo + mono)
    facts, _ = read(tmp_path / "x.mp3")
    assert (facts.status, facts.channels, facts.duration_s) == ("ok", 2, near(10.0))


def ape_end(flags: int) -> bytes:
    return b"APETAGEX" + struct.pack("<IIII8x", 2000, 40, 0, flags)


ID3V1 = b"TAG" + bytes(125)
APE = ape_end(0xA0000000) + bytes(8) + ape_end(0x80000000)


@pytest.mark.parametrize("suffix", ["mp3", "flac"])
@pytest.mark.parametrize("tag", [ID3V1, APE, APE + ID3V1, bytes(700)], ids=["id3v1", "ape", "both", "zeros"])
def test_tags_behind_the_music_are_no_music(tmp_path: Path, suffix: str, tag: bytes) -> None:
    path = write(tmp_path / f"x.{suffix}", chirp(5.0, 44100, 2), 44100)
    expected = read_audio(str(path))
    path.write_bytes(path.read_bytes() + tag)
    facts, _ = read(path)
    assert (facts.status, facts.truncated, facts.duration_s) == ("ok", False, 5.0)
    np.testing.assert_array_equal(read_audio(str(path)), expected)


@pytest.mark.parametrize("suffix", ["mp3", "flac"])
def test_frames_given_many_at_once_are_decoded_as_one_by_one(tmp_path: Path, suffix: str) -> None:
    quiet = chirp(60.0, 44100, 2)
    quiet[44100 * 10 : 44100 * 50] = 0  # frames of FLAC that take 14 bytes
    path = write(tmp_path / f"x.{suffix}", quiet, 44100)
    decoded = []
    for decoder in ("frames", "ffmpeg"):
        with open_regular(str(path)) as file, decode(file, sniff(file), decoder) as (_, blocks):
            decoded.append(np.concatenate(list(blocks)))
    np.testing.assert_array_equal(*decoded)
    expected, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(decoded[0], expected.mean(axis=1), atol=1e-5)


@pytest.mark.fault(6)
@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_flac_cut_off_anywhere_is_flagged(tmp_path: Path, keep: float) -> None:
    facts, _ = read(cut(write(tmp_path / "x.flac", chirp(20.0, 44100, 2), 44100), keep))
    assert (facts.status, facts.truncated, facts.declared_duration_s) == ("ok", True, 20.0)


@pytest.mark.fault(10)
@pytest.mark.parametrize("suffix", ["ogg", "opus"])
def test_an_ogg_without_a_whole_packet_has_no_audio(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"x.{suffix}", chirp(10.0, 48000), 48000)
    data = bytearray(path.read_bytes())
    third_page = data.index(b"OggS", data.index(b"OggS", 1) + 1)
    data[third_page + 300 :] = bytes(len(data) - third_page - 300)
    path.write_bytes(data)
    assert failing(path) == "no-audio"


@pytest.mark.fault(16)
def test_silence_in_every_window_is_finite(tmp_path: Path) -> None:
    _, windows = read(sparse_wav(tmp_path / "x.wav", hours=0.01))
    assert np.isfinite(np.concatenate(windows)).all()


@pytest.mark.fault(23)
def test_a_header_that_claims_4_gb_is_not_believed(tmp_path: Path) -> None:
    write_claiming_4_gb(tmp_path / "x.wav")
    facts, _ = read(tmp_path / "x.wav")
    assert (facts.status, facts.duration_s, facts.truncated) == ("ok", 2.0, False)


@pytest.mark.fault(14)
def test_a_recorder_that_left_a_length_of_0_is_read_to_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", chirp(2.0))
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = bytes(4)
    path.write_bytes(data)
    facts, _ = read(path)
    assert (facts.status, facts.duration_s, facts.truncated) == ("ok", 2.0, False)


@pytest.mark.fault(24)
def test_of_a_ten_hour_file_only_the_seconds_asked_for_are_decoded(tmp_path: Path) -> None:
    path = sparse_wav(tmp_path / "x.wav", hours=10, rate_hz=22050, channels=1)
    facts, _ = read(path, FeatureSpec(window_s=0.5, n_mels=40, max_duration_s=60))
    assert (facts.status, facts.duration_s, facts.truncated) == ("ok", 60.0, False)
    assert facts.declared_duration_s == pytest.approx(36000, abs=1)


@pytest.mark.fault(26)
def test_a_playlist_never_leads_to_another_file(tmp_path: Path) -> None:
    write(tmp_path / "secret.wav", chirp(2.0))
    for name, text in (
        ("a.mp3", "ffconcat version 1.0\nfile 'secret.wav'\n"),
        ("b.m4a", "#EXTM3U\n#EXTINF:2,\nsecret.wav\n"),
        ("c.ogg", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=audio 0 RTP/AVP 0\n"),
    ):
        (tmp_path / name).write_text(text * 50)
        assert failing(tmp_path / name) == "not-audio"


@pytest.mark.fault(28)
def test_a_file_that_disappeared_after_it_was_listed_is_missing(tmp_path: Path) -> None:
    assert failing(tmp_path / "x.wav", SPEC) == "missing"
