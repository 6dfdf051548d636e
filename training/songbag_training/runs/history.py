"""`History`: loss and accuracy of every epoch, the best epoch, and their file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from songbag_store.format.document import reason
from songbag_store.storage.files import replacing
from songbag_training.config import Monitor
from songbag_training.errors import DamagedRun

MONITORED: dict[Monitor, str] = {
    "loss": "val_loss",
    "balanced-accuracy": "val_balanced_accuracy",
    "macro-f1": "val_macro_f1",
    "average-precision": "val_average_precision",
}
"""The column of what `TrainConfig.monitor` names."""

_ALWAYS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds")
COLUMNS = (*_ALWAYS[:-1], *tuple(MONITORED.values())[1:], "seconds")

Row = dict[str, float]
"""One epoch: numbers for some of `COLUMNS`. Without validation songs there are no `val_` columns, and of the metrics to
monitor there is only the one that chooses the epoch."""


class History:
    """The finished epochs of a training.

    Parameters
    ----------
    rows : iterable of Row
        Epochs that an earlier process finished.
    monitor : str
        What chooses the best epoch, see `TrainConfig`.

    Attributes
    ----------
    rows : list of Row
        In the order of epochs, which count from 1.
    """

    def __init__(self, rows: Iterable[Row] = (), monitor: Monitor = "loss") -> None:
        self.rows = list(rows)
        self._monitor: Monitor = monitor

    def add(self, logs: Mapping[str, float], seconds: float) -> Row:
        """Add a finished epoch; only numbers in `COLUMNS` are kept."""
        own = {name: float(logs[name]) for name in COLUMNS if name in logs}
        row = {"epoch": len(self.rows) + 1, **own, "seconds": round(seconds, 3)}
        self.rows.append(row)
        return row

    @property
    def best_epoch(self) -> int | None:
        """The first epoch with the best value of what is monitored; without validation songs, the last epoch."""
        column = MONITORED[self._monitor]
        if not self.rows or column not in self.rows[-1]:
            return len(self.rows) or None
        values = [row[column] for row in self.rows]
        return values.index(min(values) if self._monitor == "loss" else max(values)) + 1

    @property
    def best_value(self) -> float | None:
        """The value of what is monitored in the best epoch; None without validation songs."""
        return self.rows[self.best_epoch - 1].get(MONITORED[self._monitor]) if self.best_epoch else None

    def has_waited(self, patience: int | None) -> bool:
        """Return whether the best epoch is at least `patience` epochs ago."""
        return patience is not None and len(self.rows) - (self.best_epoch or 0) >= patience

    def write(self, path: Path) -> None:
        """Write the epochs as CSV; an earlier file is replaced."""
        names = [name for name in COLUMNS if name in _ALWAYS or any(name in row for row in self.rows)]
        with replacing(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.rows)


def read_rows(path: Path) -> list[Row]:
    """Return the epochs of a file that `History.write` wrote; none if it is not there.

    Raises
    ------
    DamagedRun
        If it is not what songbag wrote.
    """
    try:
        with path.open(newline="") as file:
            return [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, AttributeError) as error:
        what, remedy = f"cannot be read ({reason(error)})", "Restore it from a copy, or delete the folder."
        raise DamagedRun(what, place=str(path), remedy=remedy) from error
