"""`write_fragment`: write windows as an immutable Zarr v3 array, with zarr-python."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import blosc
from zarr.abc.buffer import Buffer
from zarr.abc.store import Store
from zarr.codecs import BloscCodec, Crc32cCodec

from songbag_store.errors import StoreError
from songbag_store.format.facts import ObjectFacts
from songbag_store.format.keys import fragment_key
from songbag_store.format.spec import FeatureSpec
from songbag_store.storage.storage import Storage
from songbag_store.windows.blocks import pack_by_window
from songbag_store.windows.spill import WindowSpill

SHARD_BYTES = 64 << 20
"""A shard stays below this size (raw); a writer needs about three times as much memory."""

_CHUNK_BYTES = 4 << 20


def write_fragment(
    storage: Storage, fragment: str, spec: FeatureSpec, spill: WindowSpill, *, shard_bytes: int = SHARD_BYTES
) -> dict[str, ObjectFacts]:
    """Write the windows of a batch of songs as one array and force them to disk.

    Parameters
    ----------
    storage : Storage
        The store's.
    fragment : str
        Its name, 32 hexadecimal digits, new for every attempt.
    spec : FeatureSpec
        What the windows are.
    spill : WindowSpill
        The windows; at least one.
    shard_bytes : int
        A shard stays below this size (raw), unless a single window is larger.

    Returns
    -------
    objects : dict
        Size and SHA-256 of every object written, by key.

    Raises
    ------
    StoreError
        If the disk is full or cannot be written.
    """
    key = fragment_key(fragment)
    windows = spill.windows()
    try:
        written = storage.new_array(key)
        array = _create_array(written.target, fragment, spill, shard_bytes)
        step = (array.shards or array.chunks)[0]
        for start in range(0, len(windows), step):
            array[start : start + step] = windows[start : start + step]
        return written.finish()
    except StoreError:
        raise
    except OSError as error:
        what = f"the features could not be written ({error.strerror or error})"
        remedy = "The store is unchanged. Make room or give access, and run the same again."
        raise StoreError(what, place=f"{storage.address}/{key}", remedy=remedy) from error


class _BloscByWindow(BloscCodec):
    """Packs chunks so that each window is a block; for zarr.json and every reader, it is Blosc."""

    async def encode(self, chunks_and_specs: Iterable[tuple[Buffer | None, Any]]) -> list[Buffer | None]:
        # Packed in this thread: zarr-python's threads would wait for each other after every window.
        codec = blosc.Blosc(self.cname.value, self.clevel, blosc.BITSHUFFLE, self.blocksize, typesize=self.typesize)
        return [
            None if chunk is None else spec.prototype.buffer.from_bytes(pack_by_window(chunk.as_numpy_array(), codec))
            for chunk, spec in chunks_and_specs
        ]


def _create_array(target: Path | Store, fragment: str, spill: WindowSpill, shard_bytes: int) -> zarr.Array[Any]:
    spec = spill.spec
    # A chunk is a typical song. It has a limit, because it is read as a whole for any of its windows.
    chunk = min(max(1, int(np.median(spill.songs))), max(1, _CHUNK_BYTES // spec.window_bytes))
    most_chunks = max(1, shard_bytes // spec.window_bytes) // chunk
    shard = chunk * max(1, min(most_chunks, math.ceil(spill.n_windows / chunk)))
    scale = {"scale_factor": spec.step, "add_offset": 0.0} if spec.encoding == "int16" else {}
    codec = _BloscByWindow(cname="lz4", shuffle="bitshuffle", clevel=9, blocksize=spec.window_bytes)
    # If zarr-python left out chunks of zeros, a lost chunk would look like one of them.
    with zarr.config.set({"array.write_empty_chunks": True}):
        return zarr.create_array(
            target,
            shape=(spill.n_windows, *spec.window_shape),
            dtype=spec.encoding,
            chunks=(chunk, *spec.window_shape),
            shards=(shard, *spec.window_shape),
            compressors=[codec, Crc32cCodec()],
            fill_value=0,
            zarr_format=3,
            # xarray opens the group as one dataset, in which a dimension has one length. So each fragment has its own.
            dimension_names=(f"window_{fragment}", "coefficient", "frame"),
            attributes={"fingerprint": spec.fingerprint, **scale},
        )
