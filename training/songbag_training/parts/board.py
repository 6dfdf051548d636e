"""Event files for TensorBoard, written by TensorFlow alone, without TensorBoard."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import keras
import tensorflow as tf

from songbag_training.compat import first_event, scalars_event
from songbag_training.errors import RunError
from songbag_training.runs.history import COLUMNS, History, Row

FOLDER = "tensorboard"


class Board(keras.callbacks.Callback):
    """Writes the history of a training as scalars: ``tensorboard --logdir RUN`` shows them.

    Parameters
    ----------
    folder : pathlib.Path
        The run folder; the files go into a folder of their own.
    history : History
        Its finished epochs replace the files of an earlier process; later epochs are added when they end.
    """

    def __init__(self, folder: Path, history: History) -> None:
        super().__init__()
        self._history = history
        place = folder / FOLDER
        try:
            place.mkdir(exist_ok=True)
            for name in os.listdir(place):
                if name.startswith("events.out.tfevents."):
                    (place / name).unlink()
        except OSError as error:
            raise RunError(f"cannot be written ({error.strerror})", place=str(place)) from error
        self._writer = tf.io.TFRecordWriter(str(place / f"events.out.tfevents.{int(time.time())}.songbag"))
        self._write(first_event(time.time()))
        for row in history.rows:
            self._add(row)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write the last epoch of the history."""
        self._add(self._history.rows[-1])

    def _add(self, row: Row) -> None:
        values = {f"epoch_{name}": row[name] for name in COLUMNS[1:] if name in row}
        self._write(scalars_event(time.time(), int(row["epoch"]), values))

    def _write(self, event: bytes) -> None:
        self._writer.write(event)
        self._writer.flush()
