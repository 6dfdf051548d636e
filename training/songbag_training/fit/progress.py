"""The lines that a training shows of its epochs."""

from __future__ import annotations

from collections.abc import Mapping

from songbag_store.progress import Progress

_PLAIN_LINES = 8


class EpochProgress:
    """Tells of epoch after epoch.

    Parameters
    ----------
    n_epochs : int
        How many there will be at most.
    progress : Progress
        Where to show it.
    """

    def __init__(self, n_epochs: int, progress: Progress) -> None:
        self._n_epochs = n_epochs
        self._progress = progress

    def show(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Tell of a finished epoch, counted from 1. A line is due for the first, the last and some between."""
        line = f"epoch {epoch:>3}/{self._n_epochs}  loss {logs['loss']:.3f}  accuracy {logs['accuracy']:.2f}"
        if "val_loss" in logs:
            line += f"  validation loss {logs['val_loss']:.3f}  accuracy {logs['val_accuracy']:.2f}"
        due = epoch in (1, self._n_epochs) or epoch % max(1, self._n_epochs // _PLAIN_LINES) == 0
        self._progress.advance(epoch, line, line if due else None)

    def show_step(self, epoch: int, step: int, n_steps: int, logs: Mapping[str, float]) -> None:
        """Tell how far a long epoch has come; epoch and step counted from 1."""
        line = f"epoch {epoch:>3}/{self._n_epochs}  step {step:,} of {n_steps:,}"
        line += f"  loss {logs['loss']:.3f}  accuracy {logs['accuracy']:.2f}" if "loss" in logs else ""
        self._progress.advance(epoch - 1 + step / n_steps, line, line)
