"""Grain on array_record: int16 without compression, Grain's own global shuffle, threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grain
import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from benchmarks.peers.streaming.songs import BATCH, WORKERS, Batch, Streaming, bag_of_bytes

_AHEAD = 64


class Grain(Streaming):
    def write(self) -> None:
        writer = ArrayRecordWriter(str(self.folder / "songs.array_record"), "group_size:1,uncompressed")
        for number in range(len(self.songs)):
            writer.write(number.to_bytes(4, "little") + self.songs.song(number).tobytes())
        writer.close()

    def begin(self, epoch: int) -> Iterator[Batch]:
        songs = grain.MapDataset.source(grain.sources.ArrayRecordDataSource([str(self.folder / "songs.array_record")]))
        bags = songs.seed(epoch).shuffle().random_map(_bag).batch(BATCH)
        options = grain.ReadOptions(num_threads=WORKERS, prefetch_buffer_size=_AHEAD)
        return _Elements(epoch, iter(bags.to_iter_dataset(options)))

    def state(self, batches: Any) -> Any:
        return [batches.epoch, batches.iterator.get_state()]

    def resume(self, state: Any) -> Iterator[Batch]:
        epoch, place = state
        batches: Any = self.begin(epoch)
        batches.iterator.set_state(place)
        return iter(batches)


class _Elements:
    def __init__(self, epoch: int, iterator: Any) -> None:
        self.epoch, self.iterator = epoch, iterator

    def __iter__(self) -> _Elements:
        return self

    def __next__(self) -> Batch:
        numbers, windows = next(self.iterator)
        return numbers.tolist(), windows


def _bag(record: bytes, rng: np.random.Generator) -> Any:
    return np.int32(int.from_bytes(record[:4], "little")), bag_of_bytes(record[4:], rng)
