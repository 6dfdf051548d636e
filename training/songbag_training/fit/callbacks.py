"""Validate after each epoch, and save checkpoints, weights and history.

Keras calls them in the order given: `Validation`, then `songbag_training.fit.guard.LossGuard`, then `Keeper`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from songbag_store.progress import Progress
from songbag_store.storage.files import is_there
from songbag_training.config import TrainConfig
from songbag_training.evaluation.metrics import song_metrics
from songbag_training.evaluation.score import SongScorer
from songbag_training.fit.material import Material
from songbag_training.models.contrast import ContrastLoss, told_apart
from songbag_training.runs.checkpoints import NAME, Reached, load_checkpoint, save_checkpoint
from songbag_training.runs.history import MONITORED, History
from songbag_training.runs.weights import save_weights
from songbag_training.songs.bags import BagDataset
from songbag_training.songs.pieces import stored_pieces

_PLAIN_LINES = 8

Logs = Mapping[str, float]


class Validation(keras.callbacks.Callback):
    """Adds `val_loss`, `val_accuracy` and what is monitored to the logs of an epoch.

    Every window of the validation songs is scored. The classes weigh in the loss as they do in training.
    """

    def __init__(self, material: Material, scorer: SongScorer) -> None:
        super().__init__()
        self._store, self._task = material.store, material.labels.task
        self._weights, self._monitor = material.class_weights, material.config.monitor
        self._songs, self._true = material.subset("validation")
        self._scorer = scorer

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Validate."""
        scores = self._scorer.score(stored_pieces(self._store, self._songs, self._scorer.chunk_windows))
        shares = np.array([score.probabilities for score in scores])
        logs["val_loss"] = float(self._task.losses(self._true, shares, self._weights).mean())
        logs["val_accuracy"] = float(self._task.right(self._true, shares).mean())
        if self._monitor != "loss":
            value = song_metrics(self._task, self._true, shares)[self._monitor.replace("-", "_")]
            assert value is not None  # such a metric is refused before the training
            logs[MONITORED[self._monitor]] = value


class HeldOut(keras.callbacks.Callback):
    """Adds `val_loss` and `val_accuracy` to the logs of an epoch: how well songs that were kept aside are told apart.

    Each epoch sees the same windows of the same songs in the same batches, changed in the same way.
    """

    def __init__(self, model: keras.Model, bags: BagDataset, batches: Callable[[], tf.data.Dataset]) -> None:
        super().__init__()
        self._bags, self._batches = bags, batches
        loss = ContrastLoss(reduction="sum")

        def judge(features: Any, recordings: Any) -> tuple[Any, Any]:
            logits = model(features, training=False)
            return loss(recordings, logits), told_apart(recordings, logits)

        self._judge = tf.function(judge, autograph=False, reduce_retracing=True)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Judge the model."""
        sums = np.zeros(3)
        for features, recordings in self._batches():
            loss, right = self._judge(features, recordings)
            sums += float(loss), float(np.sum(right)), len(recordings)
        logs["val_loss"], logs["val_accuracy"] = sums[0] / sums[2], sums[1] / sums[2]


class Keeper(keras.callbacks.Callback):
    """Saves checkpoints, the weights of the best epoch and the history, and stops the training early.

    A checkpoint is written at the end of each epoch and inside long epochs. The files that follow from it are written
    after it: if the process dies between two of them, the checkpoint is enough to write the others again.

    Parameters
    ----------
    folder : pathlib.Path
        The run folder.
    reached : Reached
        Where the training begins; the first step is the one after it.
    bags : BagDataset
        What the model is fitted to.
    config : TrainConfig
        How many epochs there are, how many to wait for a better one, and what chooses the best.
    every_s : float
        Seconds between checkpoints inside an epoch.
    progress : Progress
        Where to show epochs and checkpoints.
    """

    def __init__(
        self, folder: Path, reached: Reached, bags: BagDataset, config: TrainConfig, every_s: float, progress: Progress
    ) -> None:
        super().__init__()
        self.history = History(reached.rows, config.monitor)
        self._folder = folder
        self._path = folder / NAME
        self._reached = reached
        self._bags = bags
        self._config = config
        self._every_s = every_s
        self._progress = progress
        self._steps_before = 0

    def restore(self, model: keras.Model) -> None:
        """Put a model into the state of the checkpoint, if there is one, and write the files that follow from it."""
        if not is_there(self._path):
            return
        load_checkpoint(self._path, model, self._reached, self._bags.labels)
        if self._reached.step == 0 and self._reached.rows:
            self._keep(model)

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Start the clock."""
        began_before = self._reached.step and epoch == self._reached.epoch
        if began_before:
            # Keras has just set the sums of loss and accuracy to zero.
            load_checkpoint(self._path, self.model, self._reached, self._bags.labels)
        self._steps_before = self._reached.step if began_before else 0
        now = time.perf_counter()
        self._began = now - self._reached.seconds if began_before else now
        self._next_s = now + self._every_s

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Write a checkpoint if it is time."""
        step, n_steps = self._steps_before + batch + 1, self._bags.n_steps
        if time.perf_counter() < self._next_s or step >= n_steps:
            return
        self._save(step)
        self._next_s = time.perf_counter() + self._every_s
        n_epochs = len(self.history.rows)
        line = self._line(n_epochs + 1, logs, f"  step {step:,} of {n_steps:,}")
        self._progress.advance(n_epochs + step / n_steps, line, line)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Save the state, and decide whether to go on."""
        row = self.history.add(logs, time.perf_counter() - self._began)
        self._save(0)
        self._keep(self.model)
        done, n_epochs = epoch + 1, self._config.epochs
        stops = self.history.has_waited(self._config.early_stopping)
        line = self._line(done, row)
        # Of the first epoch, the last and some between a line stays, on a terminal too, where the bar shows every one.
        if done in (1, n_epochs) or stops or done % max(1, n_epochs // _PLAIN_LINES) == 0:
            self._progress.note(line)
        self._progress.advance(done, line)
        if stops:
            self.model.stop_training = True

    def _line(self, epoch: int, logs: Logs, place: str = "") -> str:
        line = f"epoch {epoch:>3}/{self._config.epochs}{place}"
        if "loss" in logs:
            line += f"  loss {logs['loss']:.3f}  accuracy {logs['accuracy']:.2f}"
        if "val_loss" in logs:
            line += f"  validation loss {logs['val_loss']:.3f}  accuracy {logs['val_accuracy']:.2f}"
        monitored = MONITORED[self._config.monitor]
        if self._config.monitor != "loss" and monitored in logs:
            line += f"  {self._config.monitor.replace('-', ' ')} {logs[monitored]:.2f}"
        return line

    def _keep(self, model: keras.Model) -> None:
        """Write the files that follow from a checkpoint at the end of an epoch."""
        if self.history.best_epoch == len(self.history.rows):
            save_weights(model, self._folder / "weights.safetensors")
        self.history.write(self._folder / "history.csv")

    def _save(self, step: int) -> None:
        seconds = time.perf_counter() - self._began if step else 0.0
        save_checkpoint(self._path, self.model, Reached(rows=self.history.rows, step=step, seconds=seconds))
