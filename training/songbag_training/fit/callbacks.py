"""What happens between the steps and epochs of a training: it is validated, and what it has come to is kept.

Keras calls them in the order given: `Validation`, then `songbag_training.fit.guard.LossGuard`, then `Keeper`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import keras

from songbag_training.fit.progress import EpochProgress
from songbag_training.runs.checkpoints import NAME, Reached, load_checkpoint, save_checkpoint
from songbag_training.runs.history import History
from songbag_training.runs.weights import save_weights
from songbag_training.songs.bags import BagDataset

Validate = Callable[[], tuple[float, float]]
"""Returns loss and accuracy on the validation songs with the model's present weights."""

Logs = Mapping[str, float] | None


class Validation(keras.callbacks.Callback):
    """Adds `val_loss` and `val_accuracy` to what is known of an epoch."""

    def __init__(self, validate: Validate) -> None:
        super().__init__()
        self._validate = validate

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Validate."""
        loss, accuracy = self._validate()
        if logs is not None:
            logs |= {"val_loss": loss, "val_accuracy": accuracy}


class Keeper(keras.callbacks.Callback):
    """Keeps what a training has come to: checkpoints, the weights of the best epoch, the history; and ends it in time.

    A checkpoint is written at each epoch's end and inside long epochs. The files that follow from it are written after
    it, so that a process killed between two of them leaves nothing that the checkpoint does not make good.

    Parameters
    ----------
    folder : pathlib.Path
        The run folder.
    reached : Reached
        Where the training begins; the first step is the one after it.
    bags : BagDataset
        What the model is fitted to.
    patience : int, optional
        Epochs to wait for a lower validation loss.
    every_s : float
        Seconds between checkpoints inside an epoch.
    progress : EpochProgress
        Is told of epochs and checkpoints.
    """

    def __init__(
        self,
        folder: Path,
        reached: Reached,
        bags: BagDataset,
        patience: int | None,
        every_s: float,
        progress: EpochProgress,
    ) -> None:
        super().__init__()
        self.history = History(reached.rows)
        self._folder = folder
        self._path = folder / NAME
        self._reached = reached
        self._bags = bags
        self._patience = patience
        self._every_s = every_s
        self._progress = progress
        self._steps_before = 0

    def restore(self, model: keras.Model) -> None:
        """Put a model into the state of the checkpoint, if there is one, and the files that follow from it in order."""
        if not self._path.exists():
            return
        load_checkpoint(self._path, model, self._reached, self._bags.labels)
        if self._reached.step == 0:
            self._keep(model)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Start the clock."""
        began_before = self._reached.step and epoch == self._reached.epoch
        if began_before:
            # Keras has just set the sums of loss and accuracy to zero.
            load_checkpoint(self._path, self.model, self._reached, self._bags.labels)
        self._steps_before = self._reached.step if began_before else 0
        now = time.perf_counter()
        self._began = now - self._reached.seconds if began_before else now
        self._next_s = now + self._every_s

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Write a checkpoint if it is time."""
        step = self._steps_before + batch + 1
        if time.perf_counter() < self._next_s or step >= self._bags.n_steps:
            return
        self._save(step)
        self._next_s = time.perf_counter() + self._every_s
        self._progress.show_step(len(self.history.rows) + 1, step, self._bags.n_steps, logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Note, keep, and decide whether to go on."""
        row = self.history.add(logs or {}, time.perf_counter() - self._began)
        self._save(0)
        self._keep(self.model)
        self._progress.show(epoch + 1, row)
        if self.history.has_waited(self._patience):
            self.model.stop_training = True

    def _keep(self, model: keras.Model) -> None:
        """Write what follows from a checkpoint at an epoch's end."""
        if self.history.best_epoch == len(self.history.rows):
            save_weights(model, self._folder / "weights.safetensors")
        self.history.write(self._folder / "history.csv")

    def _save(self, step: int) -> None:
        seconds = time.perf_counter() - self._began if step else 0.0
        save_checkpoint(self._path, self.model, Reached(rows=self.history.rows, step=step, seconds=seconds))
