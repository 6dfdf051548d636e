"""The feature kernel beside its peers: MFCC of one minute at 22.05 kHz, 23 windows of 5 s, 13 coefficients.

    python -m benchmarks.kernel

Lhotse takes part where it and torch are installed (pip install torch lhotse).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import librosa
import numpy as np
import numpy.typing as npt

from benchmarks.measuring import measure, music, pin_to_one_core
from songbag_pipeline import window_features
from songbag_store import FeatureSpec

ROUNDS = 15
SPEC = FeatureSpec()
Samples = npt.NDArray[np.float32]


def main() -> None:
    """Print times and ratio of every contestant."""
    pin_to_one_core()
    samples = np.ascontiguousarray(music(60, SPEC.sample_rate_hz, 1)[:, 0])
    contestants: dict[str, Callable[[], object]] = {
        "songbag": lambda: window_features(samples, SPEC),
        "librosa, per window": lambda: [librosa_mfcc(window) for window in framed(samples)],
        "librosa, batched": lambda: librosa_mfcc(framed(samples)),
    }
    if importlib.util.find_spec("torch") and importlib.util.find_spec("lhotse"):
        contestants["Lhotse Mfcc, batched"] = lhotse_mfcc(samples)
    times = measure(contestants, ROUNDS)
    expected = np.stack([librosa_mfcc(window) for window in framed(samples)])
    print(f"largest difference from librosa, per window: {np.abs(window_features(samples, SPEC) - expected).max():.1e}")
    print("                       processor (wall clock)   ratio")
    for name, own in times.items():
        print(f"{name:22} {own.milliseconds():>20}  {own.over(times['songbag']):6.2f} x")


def framed(samples: Samples) -> Samples:
    """Cut into windows, shape (N, window_samples)."""
    windows: Samples = librosa.util.frame(
        samples, frame_length=SPEC.window_samples, hop_length=SPEC.window_hop_samples
    ).T
    return windows


def librosa_mfcc(samples: Samples) -> Samples:
    """Compute the reference."""
    mfcc: Samples = librosa.feature.mfcc(y=samples, sr=SPEC.sample_rate_hz, n_mfcc=13, hop_length=512, n_fft=1024)
    return mfcc


def lhotse_mfcc(samples: Samples) -> Callable[[], object]:
    """Return Lhotse's extractor at the nearest setting it has, over all windows in one call."""
    import torch
    from lhotse.features.kaldi.layers import Wav2MFCC

    torch.set_num_threads(1)
    rate_hz = SPEC.sample_rate_hz
    layer = Wav2MFCC(
        sampling_rate=rate_hz, frame_length=1024 / rate_hz, frame_shift=512 / rate_hz, num_filters=128, num_ceps=13
    )
    windows = torch.from_numpy(np.ascontiguousarray(framed(samples)))

    def run() -> object:
        with torch.inference_mode():
            return layer(windows)

    return run


if __name__ == "__main__":
    main()
