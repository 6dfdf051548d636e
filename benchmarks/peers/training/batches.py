"""The bags that every contestant trains on, as files; needs NumPy alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

BAG, BATCH, STEPS, CLASSES = 16, 32, 4, 10
"""Windows of a bag, songs of a batch, steps that are timed at once, classes."""


class Batches:
    """All songs' bags: windows int16 (N, 16, 13, 216), masks, labels; mean and deviation of each coefficient."""

    def __init__(self, folder: Path) -> None:
        self.windows, self.mask, self.labels, self.mean, self.deviation = (
            np.load(folder / f"{name}.npy") for name in ("windows", "mask", "labels", "mean", "deviation")
        )

    @staticmethod
    def write(folder: Path, **arrays: Any) -> None:
        """Write the files."""
        for name, values in arrays.items():
            np.save(folder / f"{name}.npy", values)
