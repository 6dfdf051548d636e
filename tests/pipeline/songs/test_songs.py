from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from songbag_pipeline.errors import SongError
from songbag_pipeline.songs.facts import SongFacts, failures_of
from songbag_pipeline.songs.song import read_song
from songbag_store import FeatureSpec
from songbag_store.format.array import UnencodableFeatures
from songbag_store.types import StoredWindows
from tests.support.audio import ENCODINGS, chirp, write, write_aac
from tests.support.broken_audio import broken_flac, cut, header_only, id3_only, patched_wav, with_samples
from tests.support.extractors import Mute
from tests.support.song_reader import SPEC, failing, read

LENIENT = {"wav": 0, "flac": 0, "ogg": 0, "opus": 0, "mp3": 2400}
"""Frames by which a format may differ in length: MP3 pads."""


@pytest.mark.parametrize("suffix", ENCODINGS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_of_libsndfile_is_read_with_its_facts(tmp_path: Path, suffix: str, channels: int) -> None:
    rate_hz = 48000 if suffix == "opus" else 44100
    facts, windows = read(write(tmp_path / f"x.{suffix}", chirp(3.2, rate_hz, channels), rate_hz))
    assert (facts.status, facts.error) == ("ok", None)
    assert (facts.source_sample_rate_hz, facts.channels, facts.truncated, facts.padded) == (
        rate_hz,
        channels,
        False,
        False,
    )
    assert facts.duration_s == pytest.approx(3.2, abs=LENIENT[suffix] / rate_hz + 1e-9)
    assert sum(map(len, windows)) == facts.n_windows == 11
    assert len(facts.content_sha256 or "") == 64


def test_m4a_is_read_through_ffmpeg(tmp_path: Path) -> None:
    facts, _ = read(write_aac(tmp_path / "x.m4a", chirp(3.2, 44100, 2)))
    assert (facts.status, facts.source_format, facts.channels) == ("ok", "mp4", 2)
    assert facts.duration_s == pytest.approx(3.2, abs=0.1)


def test_bare_aac_frames_are_read_and_not_taken_for_cut_off(tmp_path: Path) -> None:
    facts, _ = read(write_aac(tmp_path / "x.aac", chirp(12.0, 44100, 2), container_format="adts"))
    assert (facts.status, facts.source_format) == ("ok", "aac")
    assert (facts.declared_duration_s, facts.truncated) == (None, False)


def test_all_formats_give_nearly_the_same_features(tmp_path: Path) -> None:
    samples = chirp(3.2, 48000, 2)
    expected = np.concatenate(read(write(tmp_path / "x.wav", samples, 48000))[1])
    for suffix in ("flac", "ogg", "opus", "mp3"):
        windows = np.concatenate(read(write(tmp_path / f"x.{suffix}", samples, 48000))[1])
        # A lossy codec moves frames and noise: the mean spectrum stays.
        np.testing.assert_allclose(windows.mean(axis=(0, 2)), expected.mean(axis=(0, 2)), atol=40 * 16)


@pytest.mark.parametrize("channels", [2, 3, 8])
def test_channels_are_mixed_to_their_mean(tmp_path: Path, channels: int) -> None:
    samples = chirp(1.0, 22050, channels)
    together = read(write(tmp_path / "many.wav", samples))[1]
    mixed = read(write(tmp_path / "one.wav", samples.mean(axis=1, keepdims=True)))[1]
    assert np.abs(np.concatenate(together) - np.concatenate(mixed)).max() <= 16


@pytest.mark.parametrize(
    ("rate_hz", "subtype"), [(8000, "PCM_16"), (192000, "PCM_24"), (22050, "PCM_32"), (44100, "FLOAT")]
)
def test_odd_rates_and_sample_formats_are_read_with_the_right_duration(
    tmp_path: Path, rate_hz: int, subtype: str
) -> None:
    soundfile.write(tmp_path / "x.wav", chirp(2.0, rate_hz), rate_hz, subtype=subtype)
    facts, _ = read(tmp_path / "x.wav")
    assert (facts.status, facts.duration_s, facts.n_windows) == ("ok", 2.0, 7)


def test_the_format_is_told_by_content_and_not_by_name(tmp_path: Path) -> None:
    for name, encoding, form in (("a.mp3", "flac", "flac"), ("b.wav", "mp3", "mp3"), ("c.ogg", "wav", "wav")):
        assert read(write(tmp_path / name, chirp(1.0), encoding=encoding))[0].source_format == form


def test_tags_before_the_audio_are_skipped_however_many_and_large(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mp3", chirp(1.0))
    small, large = (b"ID3\x04\0\0" + size + bytes(n) for size, n in ((b"\0\0\0\x20", 32), (b"\0\x08\0\0", 131072)))
    path.write_bytes(small + large + path.read_bytes())
    assert read(path)[0].source_format == "mp3"


def test_a_song_shorter_than_one_window_is_padded_and_flagged(tmp_path: Path) -> None:
    facts, windows = read(write(tmp_path / "x.wav", chirp(0.3)))
    assert (facts.status, facts.padded, facts.n_windows) == ("ok", True, 1)
    assert np.concatenate(windows).shape == (1, *SPEC.window_shape)


def test_a_song_shorter_than_one_window_is_rejected_if_the_spec_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", chirp(0.3))
    assert failing(path, FeatureSpec(window_s=0.5, n_mels=40, short_songs="reject")) == "too-short"


def test_a_song_shorter_than_one_frame_is_too_short(tmp_path: Path) -> None:
    assert failing(write(tmp_path / "x.wav", chirp(0.01))) == "too-short"


def test_only_the_start_is_read_if_the_spec_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mp3", chirp(10.0, 44100, 2), 44100)
    facts, _ = read(path, FeatureSpec(window_s=0.5, n_mels=40, max_duration_s=2.0))
    assert (facts.duration_s, facts.n_windows, facts.truncated) == (2.0, 7, False)
    assert facts.declared_duration_s == pytest.approx(10, abs=0.1)


def test_digital_silence_is_a_song_like_any_other(tmp_path: Path) -> None:
    facts, windows = read(write(tmp_path / "x.wav", np.zeros((22050, 1), np.float32)))
    assert facts.status == "ok"
    assert np.isfinite(np.concatenate(windows)).all()


def test_sums_are_those_of_the_stored_values(tmp_path: Path) -> None:
    facts, windows = read(write(tmp_path / "x.wav", chirp(3.0)))
    values = np.concatenate(windows).astype(np.float64) / 16
    np.testing.assert_allclose(facts.feature_sum or [], values.sum(axis=(0, 2)), rtol=1e-12)
    np.testing.assert_allclose(facts.feature_sumsq or [], np.square(values).sum(axis=(0, 2)), rtol=1e-12)


@pytest.mark.parametrize("suffix", ENCODINGS)
def test_a_file_cut_off_in_the_middle_is_used_and_flagged(tmp_path: Path, suffix: str) -> None:
    path = cut(write(tmp_path / f"x.{suffix}", chirp(20.0, 48000, 2), 48000), 0.6)
    facts, _ = read(path)
    assert (facts.status, facts.truncated) == ("ok", True)
    assert 5 < (facts.duration_s or 0) < 16


def test_an_m4a_cut_off_before_its_table_fails(tmp_path: Path) -> None:
    assert failing(cut(write_aac(tmp_path / "x.m4a", chirp(3.2, 44100, 2)), 0.5)) == "unreadable-header"


@pytest.mark.parametrize("suffix", ENCODINGS)
def test_a_header_cut_off_is_unreadable(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"x.{suffix}", chirp(1.0, 48000), 48000)
    path.write_bytes(path.read_bytes()[:20])
    assert failing(path) == "unreadable-header"


def test_a_recorder_that_never_wrote_the_length_is_no_truncation(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", chirp(2.0))
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    facts, _ = read(path)
    assert (facts.status, facts.truncated, facts.duration_s) == ("ok", False, 2.0)


def test_a_flac_with_one_damaged_place_is_used_and_keeps_its_length(tmp_path: Path) -> None:
    broken_flac(tmp_path / "x.flac", holes=1)
    facts, windows = read(tmp_path / "x.flac")
    whole_facts, whole = read(write(tmp_path / "whole.flac", chirp(20.0)))
    assert (facts.status, facts.error) == ("ok", None)
    assert facts.duration_s == whole_facts.duration_s == 20
    assert facts.n_windows == sum(map(len, windows))
    before = 4 * 4 - 4
    for stretch in (slice(before), slice(-40, None)):
        np.testing.assert_array_equal(np.concatenate(windows)[stretch], np.concatenate(whole)[stretch])
    values = np.concatenate(windows).astype(np.float64) / 16
    np.testing.assert_allclose(facts.feature_sum or [], values.sum(axis=(0, 2)), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "make", "code"),
    [
        ("empty.mp3", lambda p: p.write_bytes(b""), "empty-file"),
        ("text.mp3", lambda p: p.write_text("dear diary, " * 500), "not-audio"),
        ("page.m4a", lambda p: p.write_text("<html>" * 500), "not-audio"),
        ("playlist.mp3", lambda p: p.write_text("ffconcat version 1.0\nfile '/etc/passwd'\n"), "not-audio"),
        ("tag.mp3", id3_only, "no-audio"),
        ("header.wav", header_only, "no-audio"),
        ("rate0.wav", patched_wav(24, b"\0\0\0\0"), "unreadable-header"),
        ("rate.wav", patched_wav(24, b"\xff\xff\xff\x7f"), "bad-sample-rate"),
        ("nan.wav", with_samples(float("nan")), "non-finite"),
        ("infinite.wav", with_samples(float("inf")), "non-finite"),
        ("huge.wav", with_samples(1e30), "out-of-range"),
        ("broken.flac", broken_flac, "corrupt"),
        ("absent.wav", lambda p: None, "missing"),
        ("folder.wav", lambda p: p.mkdir(), "not-a-file"),
        ("pipe.wav", lambda p: os.mkfifo(p), "not-a-file"),
    ],
)
def test_a_file_that_cannot_be_used_fails_with_its_own_code(
    tmp_path: Path, name: str, make: Callable[[Path], object], code: str
) -> None:
    make(tmp_path / name)
    assert failing(tmp_path / name) == code


def test_too_many_channels_are_refused(tmp_path: Path) -> None:
    assert failing(write(tmp_path / "x.wav", chirp(0.1, 22050, 100))) == "too-many-channels"


def test_a_file_written_to_while_it_is_read_fails(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", chirp(30.0))

    def touch(windows: StoredWindows) -> None:
        os.utime(path, (1, 1))

    assert read_song(str(path), SPEC, touch).error_code == "changed-while-read"


@pytest.mark.fault(34)
def test_a_file_that_may_not_be_read_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)
    facts = SongFacts()
    facts = read_song(str(tmp_path / "x.wav"), SPEC, lambda windows: None)
    assert facts.error_code == "permission-denied"


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (SongError("corrupt", "a tag says \udcff"), "corrupt", "a tag says \\udcff"),
        (OSError("no \udcff.wav"), "unreadable-file", "reading failed (no \\udcff.wav)"),
        (UnencodableFeatures("no \ud800"), "out-of-range", "no \\ud800"),
        (KeyError("\udc80\x1b"), "internal-error", r"KeyError: '\udc80\x1b'"),
        (RuntimeError("x" * 1_000_000), "internal-error", f"RuntimeError: {'x' * 483}..."),
        (Mute(), "internal-error", "Mute: Mute"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_went_wrong_with_a_song_fits_into_the_index(error: Exception, code: str, says: str) -> None:
    facts = SongFacts()
    with failures_of(facts):
        raise error
    assert (facts.status, facts.error_code, facts.error) == ("failed", code, says)
    assert pa.array([facts.error], pa.string()).to_pylist() == [says]
