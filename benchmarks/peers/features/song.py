"""One song, its windows, and what librosa makes of them: the reference recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

RATE_HZ, N_FFT, HOP, N_MELS, N_MFCC = 22050, 1024, 512, 128, 13
WINDOW, WINDOW_HOP = 110250, 55125
DB_OF_LOG = 10 / np.log(10)
"""From the natural logarithm of a power to dB."""

Array = npt.NDArray[np.float32]


def framed(samples: Array, padding: int = 0) -> Array:
    """Return the windows, shape (N, 110250), with zeros before and after each for libraries that do not centre."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::WINDOW_HOP]
    return np.pad(windows, ((0, 0), (padding, padding)))


class Features(ABC):
    """A library. What it needs only once is made before the first call, and not timed."""

    def __init__(self, folder: Path, data: str) -> None:
        self.samples: Array = np.load(Path(data) / "samples.npy")
        self.reference = Path(data) / "reference.npy"
        self.prepare()

    def prepare(self) -> None:  # noqa: B027 (not all need it)
        """Make filters, and the like."""

    @abstractmethod
    def mfcc(self) -> Any:
        """Return the MFCC of every window, shape (N, 13, T)."""

    def compute(self) -> None:
        """Compute, and give the values to nobody."""
        self.mfcc()

    def compare(self) -> dict[str, float]:
        """Return how far the values are from the reference."""
        own, right = np.asarray(self.mfcc(), np.float64), np.load(self.reference).astype(np.float64)
        n_frames = min(own.shape[-1], right.shape[-1])
        own, right = own[..., :n_frames], right[..., :n_frames]
        # Of each coefficient over all frames: another scale of the logarithm does not matter.
        pairs = zip(own.swapaxes(0, 1).reshape(N_MFCC, -1), right.swapaxes(0, 1).reshape(N_MFCC, -1), strict=True)
        return {
            "difference": float(f"{np.abs(own - right).max():.3g}"),
            "correlation": round(min(float(np.corrcoef(a, b)[0, 1]) for a, b in pairs), 4),
        }
