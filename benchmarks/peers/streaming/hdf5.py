"""HDF5 by h5py: one contiguous array of int16, a song read whole, in an order of ours."""

from __future__ import annotations

from collections.abc import Iterator

import h5py
import numpy as np

from benchmarks.peers.streaming.songs import Batch, Streaming, bag, in_batches


class Hdf5(Streaming):
    def write(self) -> None:
        with h5py.File(self.folder / "songs.h5", "w") as file:
            file.create_dataset("windows", data=self.songs.stored)

    def begin(self, epoch: int) -> Iterator[Batch]:
        rng, starts = np.random.default_rng(epoch), self.songs.starts
        with h5py.File(self.folder / "songs.h5") as file:
            windows = file["windows"]
            for numbers in in_batches(rng.permutation(len(self.songs))):
                yield numbers, np.stack([bag(windows[starts[n] : starts[n + 1]], rng) for n in numbers])
