"""What loaders that keep and load a state of their own have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from benchmarks.peers.streaming.songs import Batch, Streaming


class Loader(Streaming):
    _loader: Any = None

    def begin(self, epoch: int) -> Iterator[Batch]:
        return iter(self._opened())

    def state(self, batches: Iterator[Batch]) -> Any:
        return self._opened().state_dict()

    def resume(self, state: Any) -> Iterator[Batch]:
        loader = self._opened()
        loader.load_state_dict(state)
        return iter(loader)

    @abstractmethod
    def _open(self) -> Any:
        """Return a loader of shuffled batches, as PyTorch has them."""

    def _opened(self) -> Any:
        if self._loader is None:
            self._loader = self._open()
        return self._loader
