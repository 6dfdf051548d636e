"""A progress that follows the epochs of a training."""

from __future__ import annotations

from songbag_store.progress import Silent


class Epochs(Silent):
    """Calls `begun` and `reached` for the epochs, and not for what comes before them, such as the search for copies."""

    _are_epochs = False

    def begin(self, total: float, unit: str) -> None:
        self._are_epochs = unit == "epochs"
        if self._are_epochs:
            self.begun()

    def advance(self, done: float, state: str, line: str | None = None) -> None:
        if self._are_epochs:
            self.reached(done)

    def begun(self) -> None:
        """The first epoch begins."""

    def reached(self, done: float) -> None:
        """So many epochs are done, and a checkpoint is written."""
