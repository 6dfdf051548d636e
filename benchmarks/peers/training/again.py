"""A training of the same songs, the first and the second time: from songbag's store, or by the first recipe."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras
import numpy as np

from songbag_pipeline import ExtractConfig, extract
from songbag_store import FeatureSpec, SongStore
from songbag_store.progress import Silent
from songbag_training import TrainConfig, train
from songbag_training.models.loss import SongLoss
from songbag_training.models.model import song_model
from songbag_training.songs.task import Task

EPOCHS = 5


class Songbag:
    """Extracts once, trains from the store."""

    def __init__(self, folder: Path, songs: str) -> None:
        self._folder, self._songs = folder, songs

    def first(self) -> None:
        """Extract and train."""
        shutil.rmtree(self._folder / "store", ignore_errors=True)
        options = ExtractConfig(label_from_folder=True)
        extract(self._songs, self._folder / "store", FeatureSpec(), options, progress=Silent())
        self.second()

    def second(self) -> None:
        """Train: split, epochs, evaluation on every window, the run's documents."""
        shutil.rmtree(self._folder / "run", ignore_errors=True)
        store = SongStore.open(self._folder / "store")
        train(store, "label", self._folder / "run", config=TrainConfig(epochs=EPOCHS, members=1), progress=Silent())


class Recipe:
    """Computes every feature before every training, one file after the other; no split, no evaluation."""

    def __init__(self, folder: Path, songs: str) -> None:
        self._songs = songs

    def first(self) -> None:
        """Compute and train."""
        import librosa

        paths = sorted(Path(self._songs).glob("*/*"))
        classes = sorted({path.parent.name for path in paths})
        bags = []
        for path in paths:
            samples, rate_hz = librosa.load(path, sr=22050)
            windows = librosa.util.frame(samples, frame_length=110250, hop_length=55125).T
            bags.append(
                [librosa.feature.mfcc(y=one, sr=rate_hz, n_mfcc=13, hop_length=512, n_fft=1024) for one in windows]
            )
        values = np.array(bags, np.float32)
        spec, task = FeatureSpec(encoding="float32"), Task(tuple(classes))
        scaling = values.mean((0, 1, 3)), values.std((0, 1, 3))
        model = song_model(spec, task, bag_size=values.shape[1], scaling=scaling)
        model.compile(keras.optimizers.Adam(), loss=SongLoss(task.softmax))
        labels = np.array([classes.index(path.parent.name) for path in paths])
        inputs = {"windows": values, "mask": np.ones(values.shape[:2], np.float32)}
        model.fit(inputs, labels, batch_size=32, epochs=EPOCHS, verbose=0)

    def second(self) -> None:
        """Do it all again."""
        self.first()
