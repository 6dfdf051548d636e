"""What happens between the steps and epochs of a training."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import keras

from songbag_training.bags import BagDataset
from songbag_training.errors import NonFiniteLoss
from songbag_training.files import replacing
from songbag_training.progress import EpochProgress
from songbag_training.weights import save_weights

HISTORY_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds")

Validate = Callable[[], tuple[float, float]]
"""Returns loss and accuracy on the validation songs with the model's present weights."""


class BestEpoch(keras.callbacks.Callback):
    """Validates after each epoch, keeps the weights of the best, and stops when it comes no more.

    Weights are written as soon as an epoch is the best so far, so that a training that dies leaves them. Where nothing
    validates, the last epoch counts as the best.

    Parameters
    ----------
    folder : pathlib.Path
        The run folder: weights.safetensors and history.csv.
    validate : callable, optional
        See `Validate`.
    patience : int, optional
        Epochs to wait for a lower validation loss.

    Attributes
    ----------
    best_epoch : int or None
        Counted from 1.
    """

    def __init__(self, folder: Path, validate: Validate | None, patience: int | None, progress: EpochProgress) -> None:
        super().__init__()
        self.best_epoch: int | None = None
        self._best_loss = math.inf
        self._folder = folder
        self._validate = validate
        self._patience = patience
        self._progress = progress
        self._rows: list[dict[str, Any]] = []

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Validate, note, keep, and decide whether to go on."""
        logs = {} if logs is None else logs
        loss = -math.inf
        if self._validate is not None:
            loss, accuracy = self._validate()
            logs |= {"val_loss": loss, "val_accuracy": accuracy}
        row = {"epoch": epoch + 1, **logs, "seconds": round(time.perf_counter() - self._began, 3)}
        self._rows.append(row)
        self._write_history()
        self._progress.show(epoch + 1, row)
        if loss < self._best_loss or self._validate is None:
            save_weights(self.model, self._folder / "weights.safetensors")
            self._best_loss, self.best_epoch = loss, epoch + 1
        waited = epoch + 1 - (self.best_epoch or 0)
        if self._patience is not None and waited >= self._patience:
            self.model.stop_training = True

    def _write_history(self) -> None:
        with replacing(self._folder / "history.csv") as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, HISTORY_COLUMNS)
            writer.writeheader()
            writer.writerows(self._rows)


class LossGuard(keras.callbacks.Callback):
    """Stops a training whose loss is not finite, naming the songs of the step; to stand behind `BestEpoch`.

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

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Note the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Look at the loss: Keras gives its mean over the epoch so far, which the first bad step spoils."""
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            self._stop(batch)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Look at the validation loss, which `BestEpoch` has just noted: the last step shows in it first."""
        if not math.isfinite((logs or {}).get("val_loss", 0.0)):
            self._stop(self._bags.n_steps - 1)

    def _stop(self, step: int) -> NoReturn:
        songs = [self._bags.song_ids[row] for row in self._bags.plan(self._epoch, step).songs]
        kept = (self._folder / "weights.safetensors").is_file()
        remedy = "Lower --learning-rate, or look at these songs' features."
        if kept:
            remedy += " The weights of the best epoch so far are kept in weights.safetensors."
        raise NonFiniteLoss(self._epoch + 1, step + 1, songs, where=str(self._folder), remedy=remedy)
