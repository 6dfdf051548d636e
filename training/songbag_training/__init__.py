"""songbag's training: who learns from the store.

`BagDataset` draws bags of windows; `window_model` and `song_model` build networks; `train` makes a run folder, and
`predict` applies one to a store or to audio.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from songbag_training.apply.export import export
    from songbag_training.apply.predict import predict
    from songbag_training.config import TrainConfig
    from songbag_training.fit.train import resume, train
    from songbag_training.models.model import song_model, window_model
    from songbag_training.runs.evaluate import evaluate
    from songbag_training.songs.bags import BagDataset
    from songbag_training.songs.task import Task

__all__ = [
    "BagDataset",
    "Task",
    "TrainConfig",
    "evaluate",
    "export",
    "predict",
    "resume",
    "song_model",
    "train",
    "window_model",
]

_HOMES = {
    "BagDataset": "songs.bags",
    "Task": "songs.task",
    "TrainConfig": "config",
    "evaluate": "runs.evaluate",
    "export": "apply.export",
    "predict": "apply.predict",
    "resume": "fit.train",
    "song_model": "models.model",
    "train": "fit.train",
    "window_model": "models.model",
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
