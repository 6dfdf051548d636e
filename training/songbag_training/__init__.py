"""songbag's training: who learns from the store.

`BagDataset` draws bags of windows; `window_model` and `song_model` build networks; `train` makes a run folder, and
`predict` applies one to a store or to audio.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from songbag_store.door import attach
from songbag_store.loading import quiet as quietly  # noqa: F401 (the door asks for it)

if TYPE_CHECKING:
    from songbag_training.apply.export import export as export
    from songbag_training.apply.predict import predict as predict
    from songbag_training.config import (
        PretrainConfig as PretrainConfig,
        TrainConfig as TrainConfig,
    )
    from songbag_training.fit.pretraining import pretrain as pretrain
    from songbag_training.fit.train import resume as resume, train as train
    from songbag_training.models.model import song_model as song_model, window_model as window_model
    from songbag_training.runs.evaluate import evaluate as evaluate
    from songbag_training.songs.bags import BagDataset as BagDataset
    from songbag_training.songs.task import Task as Task
    from songbag_training.work import PredictConfig as PredictConfig, TeamConfig as TeamConfig

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "songbag_training.apply.export": ("export",),
        "songbag_training.apply.predict": ("predict",),
        "songbag_training.config": ("PretrainConfig", "TrainConfig"),
        "songbag_training.fit.pretraining": ("pretrain",),
        "songbag_training.fit.train": ("resume", "train"),
        "songbag_training.models.model": ("song_model", "window_model"),
        "songbag_training.runs.evaluate": ("evaluate",),
        "songbag_training.songs.bags": ("BagDataset",),
        "songbag_training.songs.task": ("Task",),
        "songbag_training.work": ("PredictConfig", "TeamConfig"),
    },
)

# Keras chooses its backend, and TensorFlow how much it logs, when they are imported, by whichever module is first.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
