"""zarr-python on an array with songbag's chunks, shards and codecs: a song read whole, threads ahead of the reader."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from benchmarks.peers.streaming.songs import WINDOW, WORKERS, Batch, Streaming, bag, in_batches

_CHUNK, _SHARD = 23, 23 * 500


class ZarrPython(Streaming):
    def write(self) -> None:
        array = zarr.create_array(
            self.folder / "songs.zarr",
            shape=self.songs.stored.shape,
            dtype="int16",
            chunks=(_CHUNK, *WINDOW),
            shards=(_SHARD, *WINDOW),
            compressors=BloscCodec(cname="lz4", shuffle="bitshuffle"),
        )
        for first in range(0, len(self.songs.stored), _SHARD):
            array[first : first + _SHARD] = self.songs.stored[first : first + _SHARD]

    def begin(self, epoch: int) -> Iterator[Batch]:
        rng, starts = np.random.default_rng(epoch), self.songs.starts
        array = zarr.open_array(self.folder / "songs.zarr", mode="r")
        with ThreadPoolExecutor(WORKERS) as threads:
            for numbers in in_batches(rng.permutation(len(self.songs))):
                songs = threads.map(lambda n: array[starts[n] : starts[n + 1]], numbers)
                yield numbers, np.stack([bag(np.asarray(song), rng) for song in songs])
