"""Songs whose windows follow from their id alone, so that any process can tell whether they are right."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from songbag_store import FeatureSpec

SPEC = FeatureSpec(window_s=0.5, n_mels=40)


def windows_of(song_id: str) -> npt.NDArray[np.float32]:
    """Return 1 to 6 windows of multiples of 1/16, shape (N, C, T)."""
    rng = np.random.default_rng(zlib.crc32(song_id.encode()))
    return (rng.integers(-800, 800, (rng.integers(1, 7), *SPEC.window_shape)) / 16).astype(np.float32)
