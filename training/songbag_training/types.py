"""Type aliases of training."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]

TaskName = Literal["single-label", "multi-label", "pretraining"]
"""Name of a task in `run.json`: a song is of one class, of any number of classes, or labels are not looked at."""

Label = str | tuple[str, ...]
"""Class of a song; or, if it may be of several, its classes without repetition, in the order of the classes."""

Targets = npt.NDArray[Any]
"""Labels as numbers: see `songbag_training.songs.task.Task`."""

Metrics = dict[str, Any]
"""Metrics by name."""
