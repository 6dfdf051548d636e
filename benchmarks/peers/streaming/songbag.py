"""songbag's store and its bags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.peers.streaming.songs import BAG, BATCH, Batch, Streaming
from benchmarks.stores import write_store
from songbag_store import SongStore


class Songbag(Streaming):
    """Batches are a pure function of seed, epoch and step: the state of an epoch is a number."""

    _bags: Any = None

    def write(self) -> None:
        write_store(self.folder / "store", (self.songs.raw_song(number) for number in range(len(self.songs))))

    def begin(self, epoch: int) -> Iterator[Batch]:
        return _Steps(self._opened(), epoch, 0)

    def state(self, batches: Any) -> Any:
        return [batches.epoch, batches.step]

    def resume(self, state: Any) -> Iterator[Batch]:
        return _Steps(self._opened(), *state)

    def _opened(self) -> Any:
        if self._bags is None:
            store = SongStore.open(self.folder / "store")
            self._bags = store.bags(labels="label", bag_size=BAG, batch_size=BATCH)
        return self._bags


class _Steps:
    """Batches with the number of the next step."""

    def __init__(self, bags: Any, epoch: int, step: int) -> None:
        self.epoch, self.step = epoch, step
        self._batches = bags.batches((epoch, step), stop_epoch=epoch + 1)

    def __iter__(self) -> _Steps:
        return self

    def __next__(self) -> Batch:
        batch = next(self._batches)
        self.step += 1
        return batch.songs.tolist(), batch.windows
