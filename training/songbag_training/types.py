"""Type aliases of training."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]

TaskName = Literal["single-label", "multi-label"]
"""Name of a task in `run.json`: whether a song is of exactly one class, or of any number of them."""

Label = str | tuple[str, ...]
"""Class of a song; where it may be of several, its classes, each once, in the order of the classes."""

Targets = npt.NDArray[Any]
"""Labels as numbers: see `songbag_training.songs.task.Task`."""

Metrics = dict[str, Any]
"""Metrics by name."""
