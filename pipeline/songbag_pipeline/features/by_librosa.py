"""Kinds of features that librosa computes, window by window."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from songbag_pipeline.types import Blocks, FloatArray
from songbag_store import FeatureSpec


@lru_cache(maxsize=8)
def by_librosa(spec: FeatureSpec) -> Blocks:
    """Return the function that computes the features of a spec by librosa, each part above the one before it.

    The import takes a second, and compiles functions where that was not done before.
    """
    from librosa import feature

    calls: dict[str, Callable[..., Any]] = {
        "chroma": partial(feature.chroma_stft, n_fft=spec.n_fft),
        "contrast": partial(feature.spectral_contrast, n_fft=spec.n_fft),
        "tonnetz": feature.tonnetz,
        "tempogram": feature.tempogram,
    }
    numbers = {"sr": spec.sample_rate_hz, "hop_length": spec.hop_length}
    parts = [calls[part] for part in spec.kind.split("+")]

    def compute(windows: FloatArray) -> FloatArray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a window of 2 s is short for the lowest octave, for every window
            features = [np.concatenate([part(y=window, **numbers) for part in parts]) for window in windows]
        return np.stack(features).astype(np.float32, copy=False)

    return compute
