"""LitData: int16 without compression in its chunks, its own global shuffle, PyTorch's workers."""

from __future__ import annotations

from functools import partial
from typing import Any

import litdata

from benchmarks.peers.streaming.loader import Loader
from benchmarks.peers.streaming.songs import BATCH, WORKERS, Songs, collate


class LitData(Loader):
    def write(self) -> None:
        litdata.optimize(
            fn=partial(_sample, self.songs),
            inputs=list(range(len(self.songs))),
            output_dir=str(self.folder / "litdata"),
            chunk_bytes="64MB",
            num_workers=1,
        )

    def _open(self) -> Any:
        songs = litdata.StreamingDataset(str(self.folder / "litdata"), shuffle=True)
        return litdata.StreamingDataLoader(
            songs, batch_size=BATCH, num_workers=WORKERS, collate_fn=collate, persistent_workers=True
        )


def _sample(songs: Songs, number: int) -> dict[str, Any]:
    return {"number": number, "windows": songs.song(number).tobytes()}
