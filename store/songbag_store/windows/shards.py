"""Shards of a fragment's array: read their list of chunks, then only the chunks that are needed.

docs/decisions/0010 and 0030 say why songbag has its own reader.
"""

from __future__ import annotations

import dataclasses
import mmap
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TypeAlias, TypeVar

import google_crc32c
import numpy as np
import numpy.typing as npt

from songbag_store.format.array import ArrayLayout
from songbag_store.types import Bytes, Ints, StoredWindows
from songbag_store.windows.blocks import copied_for_this_thread, memory_of_this_thread, unpack_windows
from songbag_store.windows.memory import ChunkMemory

_ABSENT = 2**64 - 1
_MOST_BYTES = 1 << 33
_GAP_BYTES = 256 << 10
"""Largest gap between two chunks that is read through instead of splitting the request."""
_REQUEST_BYTES = 8 << 20
_PACKING_BYTES = 1024
_CHECKED = 0x48674BC7
"""CRC-32C of any data that end in their own CRC-32C (little-endian). So data and checksum are read in one go."""


Place: TypeAlias = Sequence[int]
"""Offset and size of a chunk in its shard."""


class FileShard:
    """A shard in a file, which is open as long as this object lives."""

    # It is not mapped into memory: if another process cut off a mapped file, SIGBUS would end this process.
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._n_bytes = os.fstat(descriptor).st_size

    def __del__(self) -> None:
        os.close(self._descriptor)

    def read_end(self, n_bytes: int) -> bytes:
        """Return the last bytes of the shard, or all if it is shorter."""
        return os.pread(self._descriptor, n_bytes, max(0, self._n_bytes - n_bytes))

    def read_chunk(self, place: Place) -> Bytes:
        """Return the bytes at a place, or fewer where the shard ends; each call of a thread uses the same memory."""
        offset, size = place
        memory = memory_of_this_thread(size)
        return memory[: os.preadv(self._descriptor, [memory.data], offset)]

    def read_chunks(self, places: Sequence[Place]) -> Iterator[Bytes]:
        """Yield the bytes at some ascending places, as `read_chunk` returns them."""
        return map(self.read_chunk, places)


class MappedShard(FileShard):
    """A shard in a file that is mapped into memory: reading a song takes a tenth less time."""

    # Only reading processes use it: if the file is cut off, SIGBUS ends the process. See docs/decisions/0031.

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._mapped = np.frombuffer(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ), np.uint8)

    def read_chunk(self, place: Place) -> Bytes:
        """Return the bytes at a place."""
        offset, size = place
        return copied_for_this_thread(self._mapped[offset : offset + size])


class RemoteShard:
    """A shard in an object store; chunks that are close to each other come in one request."""

    def __init__(self, read_range: Callable[[str, int, int], bytes], key: str) -> None:
        self._read_range = read_range
        self._key = key

    def read_end(self, n_bytes: int) -> bytes:
        """Return the last bytes of the shard, or all if it is shorter."""
        return self._read_range(self._key, -n_bytes, 0)

    def read_chunk(self, place: Place) -> Bytes:
        """Return the bytes at a place."""
        return next(self.read_chunks([place]))

    def read_chunks(self, places: Sequence[Place]) -> Iterator[Bytes]:
        """Yield the bytes at some ascending places."""
        first = 0
        while first < len(places):
            (begin, _), stop, end = places[first], sum(places[first]), first + 1
            while end < len(places) and _is_near(places[end], begin, stop):
                stop, end = sum(places[end]), end + 1
            data = np.frombuffer(self._read_range(self._key, begin, stop), np.uint8)
            for offset, size in places[first:end]:
                yield copied_for_this_thread(data[offset - begin : offset - begin + size])
            first = end


def _is_near(place: Place, begin: int, stop: int) -> bool:
    """Return whether a chunk can be read with the request from `begin` to `stop`."""
    return 0 <= place[0] - stop <= _GAP_BYTES and sum(place) - begin <= _REQUEST_BYTES


Shard: TypeAlias = FileShard | RemoteShard


@dataclasses.dataclass(eq=False)
class ShardedArray:
    """A fragment's array, of which only the chunks needed are read. Safe for threads."""

    layout: ArrayLayout
    """What the array's ``zarr.json`` says."""
    open_shard: Callable[[int], Shard]
    """Returns the shard of a number, or raises `FileNotFoundError`."""
    name: str = ""
    """Its name in the memory."""
    memory: ChunkMemory | None = None
    """Keeps chunks for the next time."""

    def __post_init__(self) -> None:
        self.n_rows = self.layout.shape[0]
        self._chunks_per_shard = self.layout.chunks_per_shard
        self._most_bytes = self.layout.chunk_bytes + _PACKING_BYTES
        self._indices: dict[int, npt.NDArray[np.uint64]] = {}
        self._locks = [threading.Lock() for _ in range(8)]

    def read_rows(self, rows: Ints, out: StoredWindows) -> None:
        """Read some rows, in any order; only chunks that hold them are read.

        Parameters
        ----------
        rows : int64, shape (K,)
            Inside the array.
        out : array, shape (K, C, T)
            Filled with the rows.

        Raises
        ------
        FileNotFoundError
            If a shard is missing.
        ValueError
            If a shard is cut off or changed.
        """
        chunk, drawn = self.layout.chunk, rows.tolist()
        first, last = min(drawn) // chunk, max(drawn) // chunk
        if first == last:
            unpack_windows(self._one_packed(first), rows - first * chunk, chunk, out)
            return
        numbers = rows // chunk
        for number, packed in self._packed(np.unique(numbers).tolist()):
            (here,) = np.nonzero(numbers == number)
            in_a_row = slice(here[0], here[-1] + 1)
            side_by_side = len(here) == here[-1] + 1 - here[0]
            windows = out[in_a_row] if side_by_side else np.empty((len(here), *out.shape[1:]), out.dtype)
            unpack_windows(packed, rows[here] - number * chunk, chunk, windows)
            if not side_by_side:
                out[here] = windows

    def _one_packed(self, number: int) -> Bytes:
        """Return one chunk: most songs are in one, and this takes less time than `_packed`."""
        kept = None if self.memory is None else self.memory.get(self.name, number)
        if kept is not None:
            return copied_for_this_thread(np.frombuffer(kept, np.uint8))
        shard = self.open_shard(number // self._chunks_per_shard)
        place = self._place(shard, number)
        packed = _checked(shard.read_chunk(place), place[1])
        if self.memory is not None:
            self.memory.keep(self.name, number, packed.tobytes())
        return packed

    def _packed(self, numbers: Sequence[int]) -> Iterator[tuple[int, Bytes]]:
        """Yield chunks as stored, first those that are kept. Each uses the memory of the one before."""
        if self.memory is not None:
            kept = {number: self.memory.get(self.name, number) for number in numbers}
            for number, packed in kept.items():
                if packed is not None:
                    yield number, copied_for_this_thread(np.frombuffer(packed, np.uint8))
            numbers = [number for number, packed in kept.items() if packed is None]
        for shard_number, of_shard in groupby(numbers, lambda number: number // self._chunks_per_shard):
            here = list(of_shard)
            shard = self.open_shard(shard_number)
            places = [self._place(shard, number) for number in here]
            for number, (_, size), read in zip(here, places, shard.read_chunks(places), strict=True):
                checked = _checked(read, size)
                if self.memory is not None:
                    self.memory.keep(self.name, number, checked.tobytes())
                yield number, checked

    def _place(self, shard: Shard, number: int) -> Place:
        """Return the place of a chunk, by the list of chunks of its shard, which is read once."""
        shard_number, number_there = divmod(number, self._chunks_per_shard)
        if shard_number not in self._indices:
            with self._locks[shard_number % len(self._locks)]:
                if shard_number not in self._indices:
                    data = _checked(shard.read_end(self.layout.index_bytes), self.layout.index_bytes)
                    self._indices[shard_number] = np.frombuffer(data[:-4], "<u8").reshape(self._chunks_per_shard, 2)
        place: list[int] = self._indices[shard_number][number_there].tolist()
        offset, size = place
        if offset == _ABSENT:
            raise ValueError("a chunk is missing from its shard")
        if size > self._most_bytes or offset + size > _MOST_BYTES:
            raise ValueError("the list of chunks names a place outside the shard")
        return place


_Data = TypeVar("_Data", bytes, Bytes)


def _checked(data: _Data, n_bytes: int) -> _Data:
    """Return data that end in their checksum, after checking it."""
    if len(data) != n_bytes or n_bytes < 4:
        raise ValueError("a shard is cut off")
    if google_crc32c.value(data) != _CHECKED:
        raise ValueError("a checksum does not match: the shard was changed or cut off")
    return data
