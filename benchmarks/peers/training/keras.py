"""Networks by Keras on TensorFlow: songbag's, from its store or from memory, and one in `TimeDistributed`."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.peers.training.batches import BATCH, STEPS, Batches
from benchmarks.training import bags_of, folded, steps, time_distributed
from songbag_store import SongStore
from songbag_training.songs.scaling import scaling_statistics


class Keras:
    """A network that is trained by `fit`, as songbag calls it."""

    def __init__(self, folder: Path, data: str, encoder: str = "compact", distributed: bool = False) -> None:
        self._data = Path(data)
        self._store = SongStore.open(self._data / "store")
        self._model = time_distributed(self._store) if distributed else folded(self._store, encoder)
        self._bags: Any = None
        self._starts = itertools.count()
        self._elements: dict[str, Any] = {}

    def parameters(self) -> int:
        """Return how many numbers are trained."""
        return sum(int(np.prod(weight.shape)) for weight in self._model.trainable_weights)

    def write(self) -> None:
        """Write the batches for the others."""
        batches = list(bags_of(self._store).batches(stop_epoch=1))
        windows, mask = (np.concatenate([getattr(one, name) for one in batches]) for name in ("windows", "mask"))
        labels = np.concatenate([bags_of(self._store).labels[one.songs] for one in batches])
        mean, deviation = scaling_statistics(self._store, self._store.songs(arrow=True)["song_id"])
        Batches.write(self._data, windows=windows, mask=mask, labels=labels, mean=mean, deviation=deviation)

    def step(self) -> None:
        """Take some steps on one batch."""
        if "step" not in self._elements:
            held = Batches(self._data)
            inputs = {"windows": held.windows[:BATCH], "mask": held.mask[:BATCH]}
            batch = tf.data.Dataset.from_tensors((inputs, held.labels[:BATCH]))
            self._elements["step"] = batch.cache().repeat(STEPS)
        steps(self._model, self._elements["step"])

    def epoch_from_store(self) -> None:
        """Train an epoch from the store."""
        if self._bags is None:
            self._bags = bags_of(self._store)
        start = next(self._starts)
        steps(self._model, self._bags.dataset((start, 0), stop_epoch=start + 1))

    def epoch_from_memory(self) -> None:
        """Train an epoch from tensors in memory, by tf.data without its tuner, as songbag's batches come."""
        if "epoch" not in self._elements:
            held = Batches(self._data)
            inputs = {"windows": tf.constant(held.windows), "mask": tf.constant(held.mask)}
            songs = tf.data.Dataset.from_tensor_slices((inputs, tf.constant(held.labels))).shuffle(len(held.labels))
            options = tf.data.Options()
            options.autotune.enabled = False
            self._elements["epoch"] = songs.batch(BATCH).prefetch(2).with_options(options)
        steps(self._model, self._elements["epoch"])
