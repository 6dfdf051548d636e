"""Type aliases of training."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]

Task = Literal["single-label", "multi-label"]
"""Whether a song is of exactly one class, or of any number of them."""

Label = str | tuple[str, ...]
"""Class of a song; of a multi-label task its classes, each once, in the order of the classes."""

Targets = npt.NDArray[Any]
"""Labels as numbers: see `songbag_training.songs.labels.encode_labels`."""

Metrics = dict[str, Any]
"""Metrics by name."""
