"""Reading of a fragment's array from its shards: the list of chunks first, then only the chunks that are needed.

docs/decisions/0010 and 0030 say why songbag has its own reader.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Protocol, TypeAlias, TypeVar

import google_crc32c
import numpy as np
import numpy.typing as npt

from songbag_store.format.array import ArrayLayout
from songbag_store.types import Bytes, Ints, StoredWindows
from songbag_store.windows.blocks import copied_for_this_thread, memory_of_this_thread, unpack_windows
from songbag_store.windows.chunk_memory import ChunkMemory

_ABSENT = 2**64 - 1
_MOST_BYTES = 1 << 33
_GAP_BYTES = 256 << 10
"""Largest gap between two chunks that is read through instead of splitting the request."""
_REQUEST_BYTES = 8 << 20
_PACKING_BYTES = 1024
_CHECKED = 0x48674BC7
"""CRC-32C of any data that end in their own CRC-32C, little-endian: so they are checked in one piece."""


Place: TypeAlias = Sequence[int]
"""Offset and size of a chunk in its shard."""


class Shard(Protocol):
    """The bytes of one shard."""

    def read(self, start: int, stop: int) -> bytes:
        """Return some bytes, or the last ones with a negative `start` and a `stop` of 0; fewer where it ends."""
        ...

    def read_chunk(self, place: Place) -> Bytes:
        """Return what lies at a place, or less where the shard ends, in memory of this thread, always the same."""
        ...

    def read_chunks(self, places: Sequence[Place]) -> Iterator[Bytes]:
        """Yield what lies at some ascending places; each takes the memory of the one before."""
        ...


class FileShard:
    """A shard in a file, open while this object lives.

    It is not mapped into memory: if another process cut off a mapped file, SIGBUS would end this process.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._n_bytes = os.fstat(descriptor).st_size

    def __del__(self) -> None:
        os.close(self._descriptor)

    def read(self, start: int, stop: int) -> bytes:
        """Return some bytes."""
        if start < 0:
            start, stop = max(0, self._n_bytes + start), self._n_bytes + stop
        return os.pread(self._descriptor, stop - start, start)

    def read_chunk(self, place: Place) -> Bytes:
        """Return what lies at a place."""
        offset, size = place
        memory = memory_of_this_thread(size)
        return memory[: os.preadv(self._descriptor, [memory.data], offset)]

    def read_chunks(self, places: Sequence[Place]) -> Iterator[Bytes]:
        """Yield what lies at some places."""
        return map(self.read_chunk, places)


class MappedShard(FileShard):
    """A shard in a file that is mapped into memory, which takes a tenth less time for a song.

    SIGBUS ends the process if the file is cut off meanwhile, so only reading processes use it: see docs/decisions/0031.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._mapped = np.frombuffer(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ), np.uint8)

    def read_chunk(self, place: Place) -> Bytes:
        """Return what lies at a place."""
        offset, size = place
        return copied_for_this_thread(self._mapped[offset : offset + size])


class RemoteShard:
    """A shard in an object store, read by ranges; chunks that lie close together come in one request."""

    def __init__(self, read_range: Callable[[str, int, int], bytes], key: str) -> None:
        self._read_range = read_range
        self._key = key

    def read(self, start: int, stop: int) -> bytes:
        """Return some bytes."""
        return self._read_range(self._key, start, stop)

    def read_chunk(self, place: Place) -> Bytes:
        """Return what lies at a place."""
        return next(self.read_chunks([place]))

    def read_chunks(self, places: Sequence[Place]) -> Iterator[Bytes]:
        """Yield what lies at some places."""
        done = 0
        while done < len(places):
            end = _end_of_request(places, done)
            begin, stop = places[done][0], sum(places[end - 1])
            data = np.frombuffer(self.read(begin, stop), np.uint8)
            for offset, size in places[done:end]:
                yield copied_for_this_thread(data[offset - begin : offset - begin + size])
            done = end


def _end_of_request(places: Sequence[Place], done: int) -> int:
    """Return the chunk after the last one of the request that begins with chunk `done`."""
    begin, stop, end = places[done][0], sum(places[done]), done + 1
    while end < len(places):
        offset, size = places[end]
        if not 0 <= offset - stop <= _GAP_BYTES or offset + size - begin > _REQUEST_BYTES:
            break
        stop, end = offset + size, end + 1
    return end


class ShardedArray:
    """A fragment's array that fetches only what is asked for. Safe to use from several threads.

    Parameters
    ----------
    layout : ArrayLayout
        What the array's ``zarr.json`` says.
    open_shard : callable
        Returns the shard of a number, or raises `FileNotFoundError`.
    name : str
        Its name in the memory.
    memory : ChunkMemory, optional
        Keeps chunks that are read again.

    Attributes
    ----------
    shape : tuple of int
        (rows, C, T).
    dtype_name : str
        ``int16`` or ``float32``.
    """

    def __init__(
        self,
        layout: ArrayLayout,
        open_shard: Callable[[int], Shard],
        *,
        name: str = "",
        memory: ChunkMemory | None = None,
    ) -> None:
        self._layout = layout
        self._open_shard = open_shard
        self._name = name
        self._memory = memory
        self.shape = layout.shape
        self.dtype_name = layout.dtype
        self._chunks_per_shard = layout.chunks_per_shard
        self._most_bytes = layout.chunk_bytes + _PACKING_BYTES
        self._indices: dict[int, npt.NDArray[np.uint64]] = {}
        self._locks = [threading.Lock() for _ in range(8)]

    def read_span(self, start: int, out: StoredWindows) -> None:
        """Read the rows from `start` on into `out`, which decides how many.

        Raises
        ------
        FileNotFoundError
            If a shard is missing.
        ValueError
            If a shard is cut off or changed.
        """
        chunk, stop = self._layout.chunk, start + len(out)
        for number, packed in self._packed(range(start // chunk, (stop - 1) // chunk + 1)):
            base = number * chunk
            low, high = max(start, base), min(stop, base + chunk)
            unpack_windows(packed, np.arange(low - base, high - base), chunk, out[low - start : high - start])

    def read_rows(self, rows: Ints, out: StoredWindows) -> None:
        """Read some rows, in any order, into `out`; only chunks that hold them are read. Raises as `read_span`.

        Parameters
        ----------
        rows : int64, shape (K,)
            Inside the array.
        out : array, shape (K, C, T)
        """
        chunk, drawn = self._layout.chunk, rows.tolist()
        first, last = min(drawn) // chunk, max(drawn) // chunk
        if first == last:
            unpack_windows(self._one_packed(first), rows - first * chunk, chunk, out)
            return
        numbers = rows // chunk
        for number, packed in self._packed(np.unique(numbers).tolist()):
            (here,) = np.nonzero(numbers == number)
            in_a_row = slice(here[0], here[-1] + 1)
            side_by_side = len(here) == here[-1] + 1 - here[0]
            windows = out[in_a_row] if side_by_side else np.empty((len(here), *self.shape[1:]), self.dtype_name)
            unpack_windows(packed, rows[here] - number * chunk, chunk, windows)
            if not side_by_side:
                out[here] = windows

    def _one_packed(self, number: int) -> Bytes:
        """Return one chunk, faster than `_packed` does."""
        kept = None if self._memory is None else self._memory.get(self._name, number)
        if kept is not None:
            return copied_for_this_thread(np.frombuffer(kept, np.uint8))
        shard_number, number_there = divmod(number, self._chunks_per_shard)
        shard = self._open_shard(shard_number)
        place = self._index(shard_number, shard)[number_there].tolist()
        _check_place(place, self._most_bytes)
        packed = _checked(shard.read_chunk(place), place[1])
        if self._memory is not None:
            self._memory.keep(self._name, number, packed.tobytes())
        return packed

    def _packed(self, numbers: Sequence[int]) -> Iterator[tuple[int, Bytes]]:
        """Yield chunks as stored, first those that are kept; the next one takes the memory of the one before."""
        if self._memory is not None:
            kept = {number: self._memory.get(self._name, number) for number in numbers}
            for number, packed in kept.items():
                if packed is not None:
                    yield number, copied_for_this_thread(np.frombuffer(packed, np.uint8))
            numbers = [number for number, packed in kept.items() if packed is None]
        for shard_number, of_shard in groupby(numbers, lambda number: number // self._chunks_per_shard):
            here = list(of_shard)
            shard = self._open_shard(shard_number)
            index = self._index(shard_number, shard)
            places = [index[number % self._chunks_per_shard].tolist() for number in here]
            for place in places:
                _check_place(place, self._most_bytes)
            for number, (_, size), read in zip(here, places, shard.read_chunks(places), strict=True):
                checked = _checked(read, size)
                if self._memory is not None:
                    self._memory.keep(self._name, number, checked.tobytes())
                yield number, checked

    def _index(self, number: int, shard: Shard) -> npt.NDArray[np.uint64]:
        """Return offset and size of the chunks of a shard, shape (chunks, 2); read once."""
        known = self._indices.get(number)
        if known is not None:
            return known
        with self._locks[number % len(self._locks)]:
            if number not in self._indices:
                data = _checked(shard.read(-self._layout.index_bytes, 0), self._layout.index_bytes)
                self._indices[number] = np.frombuffer(data, "<u8", count=2 * self._layout.chunks_per_shard).reshape(
                    -1, 2
                )
            return self._indices[number]


def _check_place(place: Place, most_bytes: int) -> None:
    offset, size = place
    if offset == _ABSENT:
        raise ValueError("a chunk is missing from its shard")
    if size > most_bytes or offset + size > _MOST_BYTES:
        raise ValueError("the list of chunks points beyond any shard")


_Data = TypeVar("_Data", bytes, Bytes)


def _checked(data: _Data, n_bytes: int) -> _Data:
    """Check data that end in their checksum, and return them."""
    if len(data) != n_bytes or n_bytes < 4:
        raise ValueError("a shard is cut off")
    if google_crc32c.value(data) != _CHECKED:
        raise ValueError("a checksum does not match: the shard was changed or cut off")
    return data
