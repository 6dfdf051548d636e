"""Chroma, contrast, tonnetz and tempogram: librosa's own numbers, whatever the pieces in which samples come."""

from __future__ import annotations

import warnings
from pathlib import Path

import librosa
import numpy as np
import pytest

from songbag_pipeline import features_of, window_features
from songbag_pipeline.features.windower import windower
from songbag_pipeline.songs.containment import try_features
from songbag_pipeline.types import FloatArray
from songbag_store import FeatureSpec
from songbag_store.errors import SpecError, UsageError
from songbag_store.format.spec import features_of as fields_of
from tests.support.audio import chirp, write

SPEC = FeatureSpec(kind="chroma+contrast", window_s=1.0, window_hop_s=0.4)


def song(duration_s: float) -> FloatArray:
    return chirp(duration_s)[:, 0].astype(np.float32)


def reference(window: FloatArray, kind: str) -> FloatArray:
    calls = {
        "chroma": lambda: librosa.feature.chroma_stft(y=window, sr=22050, n_fft=1024, hop_length=512),
        "contrast": lambda: librosa.feature.spectral_contrast(y=window, sr=22050, n_fft=1024, hop_length=512),
        "tonnetz": lambda: librosa.feature.tonnetz(y=window, sr=22050, hop_length=512),
        "tempogram": lambda: librosa.feature.tempogram(y=window, sr=22050, hop_length=512),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a window of 2 s is short
        found: FloatArray = np.concatenate([calls[part]() for part in kind.split("+")]).astype(np.float32)
    return found


@pytest.mark.parametrize("kind", ["chroma", "tonnetz", "tempogram", "contrast+chroma"])
def test_each_window_is_what_librosa_gives_for_it(kind: str) -> None:
    spec, samples = FeatureSpec(kind=kind, window_s=2.0), song(5.0)
    windows = window_features(samples, spec)
    assert windows.shape == (4, *spec.window_shape)
    for window, samples_of in zip(
        windows, librosa.util.frame(samples, frame_length=44100, hop_length=22050).T, strict=True
    ):
        np.testing.assert_array_equal(window, reference(samples_of, kind))


@pytest.mark.parametrize("hop_s", [0.4, 1.0, 1.3])
def test_the_pieces_in_which_samples_come_do_not_matter(hop_s: float) -> None:
    spec, samples = FeatureSpec(kind="chroma", window_s=1.0, window_hop_s=hop_s), song(4.0)
    whole = window_features(samples, spec)
    assert len(whole) == 1 + (len(samples) - 22050) // spec.window_hop_samples
    for size in (1, 5000, 30_000):
        making = windower(spec)
        pieces = range(0, len(samples), size if size > 1 else 17_003)
        parts = [making.push(samples[start : start + (size if size > 1 else 17_003)]) for start in pieces]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        assert (making.n_samples, making.n_windows) == (len(samples), len(whole))


def test_a_short_song_is_padded_with_zeros() -> None:
    making, samples = windower(SPEC), song(0.5)
    assert len(making.push(samples)) == 0
    padded = np.concatenate([samples, np.zeros(22050 - len(samples), np.float32)])
    np.testing.assert_array_equal(making.pad()[0], reference(padded, SPEC.kind))


def test_songs_are_read_in_the_contained_process(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", chirp(3.0))
    write(tmp_path / "b.wav", chirp(0.5))
    long, short = features_of(tmp_path, SPEC)
    assert (long.error, short.error) == (None, None)
    assert long.windows is not None
    assert (long.windows.dtype, long.windows.shape) == (np.float32, (6, 19, 44))


def test_what_librosa_cannot_compute_is_refused_before_a_store_is_made() -> None:
    with pytest.raises(SpecError, match=r"cannot be computed of a window of noise \(ParameterError: "):
        try_features(FeatureSpec(kind="contrast", sample_rate_hz=8000, window_s=1.0))


@pytest.mark.parametrize("text", ["chroma+mfcc", "chroma+chroma", "mfcc+delta2", "chroma+delta", "", "+"])
def test_other_words_are_no_features(text: str) -> None:
    with pytest.raises(UsageError, match="there are no features"):
        fields_of(text)


def test_the_numbers_that_decide_nothing_are_not_in_the_fingerprint() -> None:
    assert SPEC.fingerprint == FeatureSpec(**SPEC.to_dict() | {"n_mels": 64, "n_mfcc": 20, "top_db": 60.0}).fingerprint
    assert SPEC.fingerprint != FeatureSpec(**SPEC.to_dict() | {"n_fft": 512}).fingerprint
    assert SPEC.fingerprint != FeatureSpec(**SPEC.to_dict() | {"kind": "contrast+chroma"}).fingerprint
    assert FeatureSpec().fingerprint == FeatureSpec(encoding="int16").fingerprint
    with pytest.raises(SpecError, match="encoding"):
        FeatureSpec(kind="chroma", encoding="int16")
