"""Lance: a song is a row with its int16 as bytes, taken at random, in an order of ours; a batch ahead of the reader."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from benchmarks.peers.streaming.songs import WORKERS, Batch, Streaming, bag_of_bytes, in_batches

_SCHEMA = pa.schema([("number", pa.int32()), ("windows", pa.large_binary())])


class Lance(Streaming):
    def write(self) -> None:
        lance.write_dataset(self._records(), self.folder / "songs.lance", _SCHEMA)

    def begin(self, epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng(epoch)
        songs = lance.dataset(self.folder / "songs.lance")
        with ThreadPoolExecutor(WORKERS) as threads:
            for rows in threads.map(songs.take, in_batches(rng.permutation(len(self.songs)))):
                windows = (value.as_buffer() for value in rows["windows"])
                yield rows["number"].to_pylist(), np.stack([bag_of_bytes(one, rng) for one in windows])

    def _records(self) -> Iterator[Any]:
        for numbers in in_batches(np.arange(len(self.songs))):
            data = [self.songs.song(number).tobytes() for number in numbers]
            yield pa.record_batch([pa.array(numbers, pa.int32()), pa.array(data, pa.large_binary())], schema=_SCHEMA)
