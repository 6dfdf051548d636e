"""`History`: loss and accuracy of every epoch, the best epoch, and their file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from songbag_store.storage.files import replacing

COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds")

Row = dict[str, float]
"""One epoch: a number for each of `COLUMNS`; without validation songs there are no `val_` columns."""


class History:
    """The finished epochs of a training.

    Parameters
    ----------
    rows : iterable of Row
        Epochs that an earlier process finished.

    Attributes
    ----------
    rows : list of Row
        In the order of epochs, which count from 1.
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.rows = list(rows)

    def add(self, logs: Mapping[str, float], seconds: float) -> Row:
        """Add a finished epoch; only numbers in `COLUMNS` are kept."""
        own = {name: float(logs[name]) for name in COLUMNS if name in logs}
        row = {"epoch": len(self.rows) + 1, **own, "seconds": round(seconds, 3)}
        self.rows.append(row)
        return row

    @property
    def best_epoch(self) -> int | None:
        """The first epoch with the lowest validation loss; without validation songs, the last epoch."""
        if not self.rows or "val_loss" not in self.rows[-1]:
            return len(self.rows) or None
        losses = [row["val_loss"] for row in self.rows]
        return losses.index(min(losses)) + 1

    def has_waited(self, patience: int | None) -> bool:
        """Return whether the best epoch is at least `patience` epochs ago."""
        return patience is not None and len(self.rows) - (self.best_epoch or 0) >= patience

    def write(self, path: Path) -> None:
        """Write the epochs as CSV; an earlier file is replaced."""
        with replacing(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)
