"""`History`: what the epochs of a training came to, the best of them, and the file that lists them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from songbag_store.storage.files import replacing

COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds")

Row = dict[str, float]
"""One epoch: a number for each of `COLUMNS`; those of validation only where there are songs for it."""


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
        """Note a finished epoch; what `COLUMNS` does not name is left out."""
        own = {name: float(logs[name]) for name in COLUMNS if name in logs}
        row = {"epoch": len(self.rows) + 1, **own, "seconds": round(seconds, 3)}
        self.rows.append(row)
        return row

    @property
    def best_epoch(self) -> int | None:
        """The first epoch of the lowest validation loss; where nothing validates, the last one."""
        if not self.rows or "val_loss" not in self.rows[-1]:
            return len(self.rows) or None
        losses = [row["val_loss"] for row in self.rows]
        return losses.index(min(losses)) + 1

    def has_waited(self, patience: int | None) -> bool:
        """Tell whether the best epoch is so many epochs ago."""
        return patience is not None and len(self.rows) - (self.best_epoch or 0) >= patience

    def write(self, path: Path) -> None:
        """Write the epochs as CSV, in place of the file that is there."""
        with replacing(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)
