"""The stop of a training whose loss is not finite, with the step and its songs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import keras
import tensorflow as tf
from keras import KerasTensor, ops

from songbag_store.stop import stop_if_asked
from songbag_training.errors import NonFiniteLoss
from songbag_training.songs.bags import BagDataset

Logs = Mapping[str, float] | None

FINITE_STEPS = "finite_steps"


class FiniteSteps(keras.metrics.Metric):
    """Steps of this epoch before the first one whose loss is not finite.

    TensorFlow counts them, because Python sees only the last of several steps in one execution.

    Parameters
    ----------
    loss : keras.losses.Loss
        Takes labels and logits.
    """

    def __init__(self, loss: keras.losses.Loss) -> None:
        super().__init__(name=FINITE_STEPS)
        self._loss = loss
        self._spoilt = self.add_variable((), "zeros", name="spoilt", dtype="float32")
        self._steps = self.add_variable((), "zeros", name="steps", dtype="float32")
        self._n_replicas = tf.distribute.get_strategy().num_replicas_in_sync

    def update_state(self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: Any = None) -> None:
        """Count one batch."""
        bad = ops.cast(ops.logical_not(ops.isfinite(self._loss(y_true, y_pred))), "float32")
        self._spoilt.assign(ops.maximum(self._spoilt, bad))
        self._steps.assign_add(1.0 - self._spoilt)

    def result(self) -> KerasTensor:
        """Return the count."""
        # Every device that shares the batch counts, and all stop within one step.
        return ops.floor(self._steps / self._n_replicas)


class LossGuard(keras.callbacks.Callback):
    """Stops a training whose loss is not finite before anything is saved, and names the songs of the step.

    Parameters
    ----------
    bags : BagDataset
        Says which songs a step had.
    folder : pathlib.Path
        The run folder, for the message.
    """

    def __init__(self, bags: BagDataset, folder: Path) -> None:
        super().__init__()
        self._bags = bags
        self._folder = folder
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Note the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Check the loss, and whether a signal asked to stop."""
        stop_if_asked()
        # Keras gives the mean over the epoch so far: after one bad step it is not finite.
        logs = logs or {}
        if not math.isfinite(logs.get("loss", 0.0)):
            self._stop(int(logs.get(FINITE_STEPS, batch)))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Check the validation loss, which `Validation` has just added."""
        # The weights of the last step are first used here.
        if not math.isfinite((logs or {}).get("val_loss", 0.0)):
            self._stop(self._bags.n_steps - 1)

    def _stop(self, step: int) -> NoReturn:
        step = min(step, self._bags.n_steps - 1)
        songs = [self._bags.song_ids[row] for row in self._bags.plan(self._epoch, step).songs]
        kept = (self._folder / "weights.safetensors").is_file()
        remedy = "Lower `learning_rate`, or look at these songs' features."
        if kept:
            remedy += " The weights of the best epoch so far are kept in weights.safetensors."
        raise NonFiniteLoss(self._epoch + 1, step + 1, songs, place=str(self._folder), remedy=remedy)
