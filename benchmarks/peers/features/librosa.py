"""librosa, a window at a time as the reference recipe does it, and all windows in one call."""

from __future__ import annotations

from typing import Any

import librosa
import numpy as np

from benchmarks.peers.features.song import HOP, N_FFT, N_MFCC, RATE_HZ, Features, framed


class PerWindow(Features):
    def prepare(self) -> None:
        self._windows = framed(self.samples)

    def mfcc(self) -> Any:
        return np.stack([_mfcc(window) for window in self._windows])

    def write_reference(self) -> None:
        """Write what the others are compared with."""
        np.save(self.reference, self.mfcc())


class Batched(Features):
    def prepare(self) -> None:
        self._windows = framed(self.samples)

    def mfcc(self) -> Any:
        return _mfcc(self._windows)


def _mfcc(samples: Any) -> Any:
    return librosa.feature.mfcc(y=samples, sr=RATE_HZ, n_mfcc=N_MFCC, hop_length=HOP, n_fft=N_FFT)
