"""Type aliases of the store. Shapes are in the docstrings that use them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

FloatWindows = npt.NDArray[np.float32]
"""Windows as numbers, shape (N, C, T)."""

StoredWindows = npt.NDArray[Any]
"""Windows as stored: int16 or float32, as the spec's encoding says."""
