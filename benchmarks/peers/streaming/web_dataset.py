"""WebDataset: int16 without compression in tar files, shuffled within a buffer, PyTorch's workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import webdataset
from torch.utils.data import DataLoader

from benchmarks.peers.streaming.songs import BATCH, BUFFER, WORKERS, Batch, Streaming, collate

_FILES = 8


class WebDataset(Streaming):
    _loader: Any = None

    def write(self) -> None:
        most = -(-len(self.songs) // _FILES)
        with webdataset.ShardWriter(f"{self.folder}/%04d.tar", maxcount=most, verbose=0) as writer:
            for number in range(len(self.songs)):
                writer.write({"__key__": f"{number:06}", "windows": self.songs.song(number).tobytes()})

    def begin(self, epoch: int) -> Iterator[Batch]:
        if self._loader is None:
            shards = [str(path) for path in sorted(self.folder.glob("*.tar"))]
            songs = webdataset.WebDataset(shards, shardshuffle=len(shards)).shuffle(BUFFER).map(_numbered)
            batches = songs.batched(BATCH, collation_fn=collate)
            self._loader = DataLoader(batches, None, num_workers=WORKERS, persistent_workers=True)
        return iter(self._loader)


def _numbered(sample: dict[str, Any]) -> dict[str, Any]:
    return {"number": np.int64(sample["__key__"]), "windows": sample["windows"]}
