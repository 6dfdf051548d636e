"""annbatch: a song is a row of int16, with songbag's codecs; single rows drawn at random, 512 of them in memory.

Its rows have one length: songs of unequal length do not fit.
"""

from __future__ import annotations

from collections.abc import Iterator

import annbatch
import numpy as np
import zarr
from zarr.codecs import BloscCodec

from benchmarks.peers.streaming.songs import BATCH, BUFFER, WINDOW, Batch, Streaming, bag

_PER_SHARD = 512


class AnnBatch(Streaming):
    def write(self) -> None:
        if len(lengths := set(np.diff(self.songs.starts).tolist())) > 1:
            raise ValueError("its rows have one length: songs of unequal length do not fit")
        rows = self.songs.stored.reshape(len(self.songs), lengths.pop() * WINDOW[0] * WINDOW[1])
        array = zarr.create_array(
            self.folder / "songs.zarr",
            shape=rows.shape,
            dtype="int16",
            chunks=(1, rows.shape[1]),
            shards=(min(_PER_SHARD, len(rows)), rows.shape[1]),
            compressors=BloscCodec(cname="lz4", shuffle="bitshuffle"),
        )
        for first in range(0, len(rows), _PER_SHARD):
            array[first : first + _PER_SHARD] = rows[first : first + _PER_SHARD]

    def begin(self, epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng(epoch)
        loader = annbatch.Loader(
            batch_size=BATCH, chunk_size=1, preload_nchunks=BUFFER, shuffle=True, return_index=True, rng=rng
        )
        loader.add_dataset(zarr.open_array(self.folder / "songs.zarr", mode="r"))
        for batch in loader:
            songs = np.asarray(batch["X"]).reshape(len(batch["X"]), -1, *WINDOW)
            yield batch["index"].tolist(), np.stack([bag(song, rng) for song in songs])
