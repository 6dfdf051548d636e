"""A raw memory map of float32: nothing is unpacked, nothing is checked. What no format can be much faster than."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.peers.streaming.songs import BAG, Batch, Streaming, drawn, in_batches


class MemoryMap(Streaming):
    def write(self) -> None:
        np.save(self.folder / "raw.npy", self.songs.raw)

    def begin(self, epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng(epoch)
        mapped, starts = np.load(self.folder / "raw.npy", mmap_mode="r"), np.asarray(self.songs.starts)
        for numbers in in_batches(rng.permutation(len(self.songs))):
            rows = np.zeros((len(numbers), BAG), np.int64)
            real = np.zeros((len(numbers), BAG, 1, 1), bool)
            for place, number in enumerate(numbers):
                chosen = drawn(rng, starts[number + 1] - starts[number])
                rows[place, : len(chosen)] = starts[number] + chosen
                real[place, : len(chosen)] = True
            windows = mapped[rows]
            if not real.all():
                windows *= real
            yield numbers, windows
