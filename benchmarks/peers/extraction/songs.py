"""What every contestant does: a folder of songs in, features in another folder out."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

RATE_HZ, WINDOW, WINDOW_HOP = 22050, 110250, 55125
WORKERS = os.cpu_count() or 1


class Extraction(ABC):
    """A way from files to features."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def extract(self, songs: str, out: str) -> None:
        """Compute what is not there yet, as far as the contestant knows what is there."""

    def stored(self, out: str) -> int:
        """Return the songs whose features are there and whole: by default a NumPy file each."""
        found = 0
        for path in Path(out).glob("*.npy"):
            try:
                found += len(np.load(path)) > 0
            except (ValueError, EOFError, OSError):
                path.rename(path.with_suffix(".torn"))
        return found


def files(songs: str) -> list[Path]:
    """Return the files of a folder."""
    return sorted(Path(songs).iterdir())


def first_recipe(path: Path, out: Path) -> None:
    """Compute one song as songbag's reference recipe says it, and store it."""
    import librosa

    samples, rate_hz = librosa.load(path, sr=RATE_HZ)
    windows = librosa.util.frame(samples, frame_length=WINDOW, hop_length=WINDOW_HOP).T
    values: list[Any] = [
        librosa.feature.mfcc(y=window, sr=rate_hz, n_mfcc=13, hop_length=512, n_fft=1024) for window in windows
    ]
    np.save(out / f"{path.stem}.npy", np.stack(values))
