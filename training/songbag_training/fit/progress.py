"""How a training reports its epochs: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from songbag_training.types import Report

_PLAIN_LINES = 8


class EpochProgress:
    """Reports epoch after epoch; use as a context manager.

    Parameters
    ----------
    n_epochs : int
        How many there will be at most.
    report : callable
        Takes a line. `print` on a terminal is replaced by a bar.
    """

    def __init__(self, n_epochs: int, report: Report) -> None:
        self._n_epochs = n_epochs
        self._report = report
        self._bar: Progress | None = None
        if report is print and sys.stdout.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, transient=True)
            self._task = self._bar.add_task("training", total=n_epochs)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Report a finished epoch, counted from 1."""
        line = f"epoch {epoch:>3}/{self._n_epochs}  loss {logs['loss']:.3f}  accuracy {logs['accuracy']:.2f}"
        if "val_loss" in logs:
            line += f"  validation loss {logs['val_loss']:.3f}  accuracy {logs['val_accuracy']:.2f}"
        if self._bar:
            self._bar.update(self._task, completed=epoch, description=line)
        elif epoch in (1, self._n_epochs) or epoch % max(1, self._n_epochs // _PLAIN_LINES) == 0:
            self._report(line)

    def show_step(self, epoch: int, step: int, n_steps: int, logs: Mapping[str, float]) -> None:
        """Report how far a long epoch has come; epoch and step counted from 1."""
        line = f"epoch {epoch:>3}/{self._n_epochs}  step {step:,} of {n_steps:,}"
        line += f"  loss {logs['loss']:.3f}  accuracy {logs['accuracy']:.2f}" if "loss" in logs else ""
        if self._bar:
            self._bar.update(self._task, completed=epoch - 1 + step / n_steps, description=line)
        else:
            self._report(line)
