"""MosaicML's MDS: int16 without compression, its own global shuffle, PyTorch's workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from streaming import MDSWriter, StreamingDataLoader, StreamingDataset
from streaming.base.util import clean_stale_shared_memory

from benchmarks.peers.streaming.songs import BATCH, WORKERS, Batch, Streaming, collate


class Mds(Streaming):
    _loader: Any = None

    def write(self) -> None:
        with MDSWriter(out=str(self.folder / "mds"), columns={"number": "int", "windows": "bytes"}) as writer:
            for number in range(len(self.songs)):
                writer.write({"number": number, "windows": self.songs.song(number).tobytes()})

    def begin(self, epoch: int) -> Iterator[Batch]:
        return iter(self._opened())

    def state(self, batches: Iterator[Batch]) -> Any:
        return self._opened().state_dict()

    def resume(self, state: Any) -> Iterator[Batch]:
        loader = self._opened()
        loader.load_state_dict(state)
        return iter(loader)

    def _opened(self) -> Any:
        if self._loader is None:
            clean_stale_shared_memory()
            place = str(self.folder / "mds")
            songs = StreamingDataset(local=place, shuffle=True, batch_size=BATCH, num_canonical_nodes=1)
            self._loader = StreamingDataLoader(
                songs, batch_size=BATCH, num_workers=WORKERS, collate_fn=collate, persistent_workers=True
            )
        return self._loader
