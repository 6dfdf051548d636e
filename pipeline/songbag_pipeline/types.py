"""Type aliases of the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
"""Samples or features."""
Blocks: TypeAlias = Callable[[FloatArray], FloatArray]
"""From windows of samples, shape (W, S), to their features, shape (W, C, T)."""
