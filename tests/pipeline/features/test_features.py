from __future__ import annotations

from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from songbag_pipeline import read_audio, window_features
from songbag_pipeline.features.kernel import KernelWindower, mel_filters
from songbag_store import FeatureSpec
from songbag_store.errors import UsageError
from tests.support.audio import AUDIO, chirp, write

SPEC = FeatureSpec()
SMALL = FeatureSpec(window_s=0.25, window_hop_s=0.1, n_mels=40)
SHARING = FeatureSpec(window_s=2.0, window_hop_s=20 * 512 / 22050, n_mels=40)
"""Windows whose frames are, but for those at the ends, frames of the window before, too."""
RECORDINGS = sorted(AUDIO.glob("*.ogg"))


def reference(samples: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """The recipe of the reference: librosa, called on every window."""
    frames = librosa.util.frame(samples, frame_length=spec.window_samples, hop_length=spec.window_hop_samples)
    options: dict[str, Any] = {
        "sr": spec.sample_rate_hz,
        "hop_length": spec.hop_length,
        "n_fft": spec.n_fft,
        "n_mels": spec.n_mels,
    }
    if spec.kind == "mfcc":
        return np.stack([librosa.feature.mfcc(y=w, n_mfcc=spec.n_mfcc, **options) for w in frames.T])
    return np.stack([librosa.power_to_db(librosa.feature.melspectrogram(y=w, **options)) for w in frames.T])


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        SMALL,
        FeatureSpec(kind="logmel", n_mels=64, window_s=1.0),
        FeatureSpec(n_mfcc=40, n_fft=2048, hop_length=441, window_s=2.0),
        FeatureSpec(sample_rate_hz=16000, n_fft=400, hop_length=160, n_mels=23, window_s=1.0),
        SHARING,
    ],
)
@pytest.mark.parametrize("loud", [1.0, 1e-6])
def test_every_window_agrees_with_librosa_on_synthesised_audio(spec: FeatureSpec, loud: float) -> None:
    samples = chirp(11.7, spec.sample_rate_hz)[:, 0] * np.float32(loud)
    windows, expected = window_features(samples, spec), reference(samples, spec)
    assert windows.shape == expected.shape
    assert np.abs(windows - expected).max() < 1e-2


@pytest.mark.skipif(not RECORDINGS, reason="the real recordings are not beside this checkout")
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem[:20])
def test_every_window_of_a_real_recording_agrees_with_librosa_from_the_file_on(path: Path) -> None:
    samples, _ = librosa.load(path, sr=22050, duration=60)
    mine = read_audio(str(path), max_duration_s=60)
    assert len(mine) == len(samples)
    if len(samples) < SPEC.window_samples:
        mine, samples = (np.pad(y, (0, SPEC.window_samples - len(y))) for y in (mine, samples))
    assert np.abs(window_features(mine, SPEC) - reference(samples, SPEC)).max() < 1e-2


def test_a_minute_gives_23_windows() -> None:
    assert window_features(np.zeros(60 * 22050, np.float32), SPEC).shape == (23, 13, 216)


def test_samples_are_decimal_numbers_of_one_channel() -> None:
    samples = np.zeros(6 * 22050)
    assert window_features(samples, SPEC).shape == window_features(samples.tolist(), SPEC).shape  # type: ignore[arg-type]
    for wrong in (samples[:, None], samples[None], samples.astype(np.int16), samples.astype(complex)):
        with pytest.raises(UsageError, match="no mono audio"):
            window_features(wrong, SPEC)


def test_the_mel_filters_are_slaneys() -> None:
    expected = librosa.filters.mel(sr=22050, n_fft=1024, n_mels=128)
    np.testing.assert_allclose(mel_filters(SPEC), expected, atol=1e-7)


def test_deltas_are_those_of_librosa() -> None:
    windows = window_features(chirp(3)[:, 0], FeatureSpec(window_s=2.0, deltas=2))
    features = windows[0, :13]
    np.testing.assert_allclose(windows[0, 13:26], librosa.feature.delta(features), atol=1e-3)
    np.testing.assert_allclose(windows[0, 26:], librosa.feature.delta(features, order=2), atol=1e-3)


def test_a_sine_lights_its_own_band_and_no_other() -> None:
    spec = FeatureSpec(kind="logmel", n_mels=40, window_s=1.0)
    centre_hz = librosa.mel_frequencies(42, fmax=11025)[1:-1]
    for band in (10, 20, 30):
        samples = np.sin(2 * np.pi * centre_hz[band] * np.arange(22050) / 22050).astype(np.float32)
        assert window_features(samples, spec)[0].mean(axis=1).argmax() == band


def test_silence_is_finite_and_lies_on_the_floor() -> None:
    windows = window_features(np.zeros(22050 * 6, np.float32), FeatureSpec(kind="logmel"))
    np.testing.assert_allclose(windows, np.full_like(windows, -100), rtol=1e-6)


def test_a_shift_by_one_hop_moves_the_windows_by_one_row() -> None:
    samples = chirp(3)[:, 0]
    windows, moved = (window_features(y, SMALL) for y in (samples, samples[SMALL.window_hop_samples :]))
    np.testing.assert_array_equal(moved, windows[1:])


def test_a_frame_that_windows_share_is_as_good_as_one_of_their_own() -> None:
    samples = chirp(6)[:, 0] * np.linspace(1e-4, 1, 6 * 22050, dtype=np.float32)
    windows = window_features(samples, SHARING)
    alone = [window_features(samples[k * SHARING.window_hop_samples :], SHARING)[0] for k in range(len(windows))]
    assert len(windows) == 9
    np.testing.assert_allclose(windows, np.stack(alone), atol=1e-3)


def test_each_window_is_clamped_by_its_own_loudest_point() -> None:
    quiet, loud = chirp(5, seed=1)[:, 0] * np.float32(1e-4), chirp(5)[:, 0]
    together = window_features(np.concatenate([quiet, loud]), SPEC)
    np.testing.assert_array_equal(together[0], window_features(quiet, SPEC)[0])


@settings(max_examples=30)
@given(
    cuts=st.lists(st.integers(0, 22050), max_size=8),
    window_hop_s=st.sampled_from([0.05, 0.1, 0.25, 0.4, 2 * 512 / 22050]),
)
def test_a_stream_in_any_pieces_gives_the_very_windows_of_the_whole(cuts: list[int], window_hop_s: float) -> None:
    spec = FeatureSpec(window_s=0.25, window_hop_s=window_hop_s, n_mels=40)
    samples = chirp(1.0)[:, 0]
    windower = KernelWindower(spec)
    pieces = [windower.push(piece) for piece in np.split(samples, sorted(cuts))]
    np.testing.assert_array_equal(np.concatenate(pieces), window_features(samples, spec))
    assert windower.n_windows == 1 + (len(samples) - spec.window_samples) // spec.window_hop_samples


def test_reading_audio_gives_the_samples_of_librosa(tmp_path: Path) -> None:
    path = write(tmp_path / "x.flac", chirp(7.3, 44100, 2), 44100)
    expected, _ = librosa.load(path, sr=22050)
    samples = read_audio(str(path))
    assert samples.shape == expected.shape
    np.testing.assert_allclose(samples, expected, atol=1e-5)
