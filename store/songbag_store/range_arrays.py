"""Arrays of windows read by byte ranges: of a shard, its list of chunks and then the chunks that are asked for.

tensorstore reads local files, S3 and Google Cloud Storage, but not Azure, and S3 only with credentials from the
environment or a file. This reads through any `Storage`, with that one's credentials, retries and errors.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
import threading
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs import blosc

from songbag_store.storage import Storage

_ABSENT = 2**64 - 1
_MOST_BYTES = 1 << 33
_INNER = ["bytes", "blosc", "crc32c"]
_DTYPES = ("int16", "float32")


@dataclasses.dataclass(frozen=True, slots=True)
class _Layout:
    shape: tuple[int, int, int]
    dtype: str
    shard: int
    chunk: int

    @property
    def chunks_per_shard(self) -> int:
        return self.shard // self.chunk

    @property
    def index_bytes(self) -> int:
        return 16 * self.chunks_per_shard + 4


class RangeArray:
    """A fragment's array, of which only what is asked for is fetched.

    Attributes
    ----------
    shape : tuple of int
        (rows, C, T).
    dtype_name : str
        ``int16`` or ``float32``.

    Raises
    ------
    FileNotFoundError
        If there is no array at this key.
    ValueError
        If it is not one that songbag writes.
    """

    def __init__(self, storage: Storage, key: str, metadata: bytes) -> None:
        self._storage = storage
        self._key = key
        self._layout = _parse(metadata)
        self.shape = self._layout.shape
        self.dtype_name = self._layout.dtype
        self._indices: dict[int, npt.NDArray[np.uint64]] = {}
        self._locks = [threading.Lock() for _ in range(8)]

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Return rows `start` to `stop`.

        Raises
        ------
        FileNotFoundError
            If a shard is missing.
        ValueError
            If a shard is cut off or changed.
        """
        rows = np.empty((stop - start, *self.shape[1:]), self.dtype_name)
        for shard in range(start // self._layout.shard, (stop - 1) // self._layout.shard + 1):
            first = shard * self._layout.shard
            low, high = max(start, first), min(stop, first + self._layout.shard)
            self._read_shard(shard, low - first, high - first, rows[low - start : high - start])
        return rows

    def _read_shard(self, shard: int, start: int, stop: int, rows: npt.NDArray[Any]) -> None:
        """Read rows of one shard: neighbouring chunks in one request."""
        chunk = self._layout.chunk
        numbers = range(start // chunk, (stop - 1) // chunk + 1)
        places = self._index(shard)[numbers.start : numbers.stop]
        if (places[:, 0] == _ABSENT).any():
            raise ValueError("a chunk is missing from its shard")
        begin, end = int(places[:, 0].min()), int((places[:, 0] + places[:, 1]).max())
        if end - begin > _MOST_BYTES:
            raise ValueError("the list of chunks points beyond any shard")
        data = self._storage.read_range(self._shard_key(shard), begin, end)
        for number, (offset, size) in zip(numbers, places.tolist(), strict=True):
            windows = self._decode(data[offset - begin : offset - begin + size])
            low, high = max(start, number * chunk), min(stop, (number + 1) * chunk)
            rows[low - start : high - start] = windows[low - number * chunk : high - number * chunk]

    def _index(self, shard: int) -> npt.NDArray[np.uint64]:
        """Return offset and size of the chunks of a shard, shape (chunks, 2); fetched once."""
        with self._locks[shard % len(self._locks)]:
            if shard not in self._indices:
                wanted = self._layout.index_bytes
                data = _checked(self._storage.read_range(self._shard_key(shard), -wanted, 0), wanted)
                self._indices[shard] = np.frombuffer(data, "<u8").reshape(-1, 2)
            return self._indices[shard]

    def _shard_key(self, shard: int) -> str:
        return f"{self._key}/c/{shard}/0/0"

    def _decode(self, data: bytes) -> npt.NDArray[Any]:
        packed = _checked(data)
        shape = (self._layout.chunk, *self.shape[1:])
        expected = math.prod(shape) * np.dtype(self.dtype_name).itemsize
        # Blosc's header says how much would be allocated: a chunk of another size is refused before it is unpacked.
        if len(packed) < 16 or struct.unpack_from("<I", packed, 4)[0] != expected:
            raise ValueError("a chunk has another size than the array's")
        try:
            return np.frombuffer(blosc.decompress(packed), np.dtype(self.dtype_name).newbyteorder("<")).reshape(shape)
        except RuntimeError as error:
            raise ValueError(f"a chunk cannot be unpacked ({error})") from error


def _checked(data: bytes, n_bytes: int | None = None) -> bytes:
    """Return data without the checksum at their end, after comparing it."""
    if len(data) < 4 or (n_bytes is not None and len(data) != n_bytes):
        raise ValueError("a shard is cut off")
    if google_crc32c.value(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise ValueError("a checksum does not match: the shard was changed or cut off")
    return data[:-4]


def _parse(text: bytes) -> _Layout:
    """Read an array's zarr.json; anything but what songbag writes is refused."""
    try:
        document = json.loads(text)
        (sharding,) = document["codecs"]
        inner = sharding["configuration"]
        layout = _Layout(
            shape=tuple(map(_size, document["shape"])),  # type: ignore[arg-type]  # three, or the next check fails
            dtype=document["data_type"],
            shard=_size(document["chunk_grid"]["configuration"]["chunk_shape"][0]),
            chunk=_size(inner["chunk_shape"][0]),
        )
        fits = (
            document["zarr_format"] == 3
            and document["node_type"] == "array"
            and sharding["name"] == "sharding_indexed"
            and inner["index_location"] == "end"
            and [codec["name"] for codec in inner["codecs"]] == _INNER
            and [codec["name"] for codec in inner["index_codecs"]] == ["bytes", "crc32c"]
            and document["chunk_key_encoding"]["name"] == "default"
            and layout.dtype in _DTYPES
            and len(layout.shape) == 3
            and layout.shard % layout.chunk == 0
            and layout.chunks_per_shard < 1 << 24
            and all(list(part[1:]) == list(layout.shape[1:]) for part in _chunk_shapes(document, inner))
        )
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ValueError(f"its zarr.json is not what songbag writes ({type(error).__name__})") from error
    if not fits:
        raise ValueError("its zarr.json is not what songbag writes")
    return layout


def _chunk_shapes(document: dict[str, Any], inner: dict[str, Any]) -> tuple[list[int], list[int]]:
    return document["chunk_grid"]["configuration"]["chunk_shape"], inner["chunk_shape"]


def _size(value: object) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{value!r} is not a length")
    return value
