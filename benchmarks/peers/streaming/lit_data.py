"""LitData: int16 without compression in its chunks, its own global shuffle, PyTorch's workers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import litdata

from benchmarks.peers.streaming.songs import BATCH, WORKERS, Batch, Songs, Streaming, collate


class LitData(Streaming):
    _loader: Any = None

    def write(self) -> None:
        litdata.optimize(
            fn=partial(_sample, self.songs),
            inputs=list(range(len(self.songs))),
            output_dir=str(self.folder / "litdata"),
            chunk_bytes="64MB",
            num_workers=1,
        )

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
            songs = litdata.StreamingDataset(str(self.folder / "litdata"), shuffle=True)
            self._loader = litdata.StreamingDataLoader(
                songs, batch_size=BATCH, num_workers=WORKERS, collate_fn=collate, persistent_workers=True
            )
        return self._loader


def _sample(songs: Songs, number: int) -> dict[str, Any]:
    return {"number": number, "windows": songs.song(number).tobytes()}
