"""Pitch classes of a window by librosa, as features of your own: docs/how-to/songs/own-features.md."""

from __future__ import annotations

from typing import Any

import librosa
import numpy as np

import songbag


@songbag.extractor(sample_rate_hz=22050, shape=(12, 1), version="1", step=1 / 4096)
def chroma(windows: Any, *, tuning: float = 0.0) -> Any:
    """The mean energy of each pitch class: an embedding."""
    found = [librosa.feature.chroma_stft(y=window, sr=22050, tuning=tuning).mean(axis=1) for window in windows]
    return np.stack(found)[:, :, None]
