"""Windows as numbers and windows as stored: the two encodings, for those who need no Zarr."""

from __future__ import annotations

import numpy as np

from songbag_store.format.spec import INT16_STEP, FeatureSpec
from songbag_store.types import FloatWindows, StoredWindows


class UnencodableFeatures(ValueError):
    """Windows that are not finite, or beyond the range of the int16 encoding."""


def encode(windows: FloatWindows, spec: FeatureSpec) -> StoredWindows:
    """Return windows as they are stored: float32 unchanged, or int16 in steps of 1/16 (error at most 1/32).

    Raises
    ------
    UnencodableFeatures
        If a value is not finite, or beyond +-2047.9 with the int16 encoding.
    """
    if not np.isfinite(windows).all():
        raise UnencodableFeatures("the features are not finite")
    if spec.encoding == "float32":
        return windows
    steps = np.rint(windows * np.float32(1 / INT16_STEP))
    if steps.size and np.abs(steps).max() > np.iinfo(np.int16).max:
        raise UnencodableFeatures(f"the features reach {np.abs(windows).max():.0f}, beyond the int16 encoding's 2047")
    stored: StoredWindows = steps.astype(np.int16)
    return stored


def decode(stored: StoredWindows) -> FloatWindows:
    """Return stored windows as float32; exact for both encodings."""
    if stored.dtype == np.float32:
        return stored.astype(np.float32, copy=False)
    return stored.astype(np.float32) * np.float32(INT16_STEP)
