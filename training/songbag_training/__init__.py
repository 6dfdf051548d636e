"""songbag's training: who learns from the store.

`BagDataset` draws bags of windows; `window_model` and `song_model` build networks; `train` makes a run folder, and
`predict` applies one to a store or to audio.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from songbag_training.bags import BagDataset
    from songbag_training.config import TrainConfig
    from songbag_training.evaluation import evaluate
    from songbag_training.exporting import export
    from songbag_training.model import song_model, window_model
    from songbag_training.prediction import predict, predict_to_file
    from songbag_training.training import resume, train

__all__ = [
    "BagDataset",
    "TrainConfig",
    "evaluate",
    "export",
    "predict",
    "predict_to_file",
    "resume",
    "song_model",
    "train",
    "window_model",
]

_HOMES = {
    "BagDataset": "bags",
    "TrainConfig": "config",
    "evaluate": "evaluation",
    "export": "exporting",
    "predict": "prediction",
    "predict_to_file": "prediction",
    "resume": "training",
    "song_model": "model",
    "train": "training",
    "window_model": "model",
}

# Keras chooses its backend, and TensorFlow how much it logs, when they are imported, by whichever module is first.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: the command line must answer before TensorFlow is loaded."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # No module bears the name of a function: importing it would put the module in the function's place.
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
