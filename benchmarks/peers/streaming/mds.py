"""MosaicML's MDS: int16 without compression, its own global shuffle, PyTorch's workers."""

from __future__ import annotations

from typing import Any

from streaming import MDSWriter, StreamingDataLoader, StreamingDataset
from streaming.base.util import clean_stale_shared_memory

from benchmarks.peers.streaming.loader import Loader
from benchmarks.peers.streaming.songs import BATCH, WORKERS, collate


class Mds(Loader):
    def write(self) -> None:
        with MDSWriter(out=str(self.folder / "mds"), columns={"number": "int", "windows": "bytes"}) as writer:
            for number in range(len(self.songs)):
                writer.write({"number": number, "windows": self.songs.song(number).tobytes()})

    def _open(self) -> Any:
        clean_stale_shared_memory()
        place = str(self.folder / "mds")
        songs = StreamingDataset(local=place, shuffle=True, batch_size=BATCH, num_canonical_nodes=1)
        return StreamingDataLoader(
            songs, batch_size=BATCH, num_workers=WORKERS, collate_fn=collate, persistent_workers=True
        )
