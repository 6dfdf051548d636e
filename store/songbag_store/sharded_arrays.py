"""A fragment's array as its shards hold it: of a shard, the list of chunks and then the chunks that are asked for.

docs/decisions/0010 and 0030 say why songbag reads what it wrote itself.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import google_crc32c
import numpy as np
import numpy.typing as npt

from songbag_store.array_metadata import ArrayLayout
from songbag_store.chunk_memory import ChunkMemory
from songbag_store.drawing import Ints
from songbag_store.encoding import StoredWindows
from songbag_store.window_blocks import memory_of_this_thread, unpack_windows

_ABSENT = 2**64 - 1
_MOST_BYTES = 1 << 33
_REQUEST_BYTES = 8 << 20
_PACKING_BYTES = 1024
_CHECKED = 0x48674BC7
"""CRC-32C of any data with their own CRC-32C behind them, little-endian: so nothing is cut off to be compared."""


Packed: TypeAlias = Any
"""A chunk as stored: bytes, or an array of uint8."""


class Shard(Protocol):
    """The bytes of one shard."""

    gap_bytes: int
    """Bytes between two chunks that are read along rather than made a request of their own."""

    def read(self, start: int, stop: int) -> bytes:
        """Return some bytes, or the last ones with a negative `start` and a `stop` of 0; fewer where it ends."""
        ...

    def read_chunk(self, start: int, stop: int) -> Packed:
        """Return some bytes for as long as this thread reads no others."""
        ...


class FileShard:
    """A shard in a file, open for as long as somebody holds this object.

    Not mapped into memory: a file that another process cuts off would then end this one (SIGBUS).
    """

    gap_bytes = 0

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

    def read_chunk(self, start: int, stop: int) -> Packed:
        """Return some bytes in memory of this thread, which may be written."""
        packed = memory_of_this_thread(stop - start)
        return packed[: os.preadv(self._descriptor, [packed.data], start)]


class MappedShard(FileShard):
    """A shard in a file that is mapped into memory: a seventh less time for a song, and the end of the process (SIGBUS)
    if the file is cut off meanwhile. So it is for processes that may end: see docs/decisions/0031.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._mapped = np.frombuffer(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ), np.uint8)

    def read_chunk(self, start: int, stop: int) -> Packed:
        """Return some bytes, of which nothing is read before it is used."""
        return self._mapped[start:stop]


class RemoteShard:
    """A shard in an object store, read by ranges."""

    gap_bytes = 256 << 10

    def __init__(self, read_range: Callable[[str, int, int], bytes], key: str) -> None:
        self._read_range = read_range
        self._key = key

    def read(self, start: int, stop: int) -> bytes:
        """Return some bytes."""
        return self._read_range(self._key, start, stop)

    def read_chunk(self, start: int, stop: int) -> Packed:
        """Return some bytes."""
        return self.read(start, stop)


class ShardedArray:
    """A fragment's array, of which only what is asked for is fetched. Safe to use from several threads.

    Parameters
    ----------
    layout : ArrayLayout
        What the array's ``zarr.json`` says.
    open_shard : callable
        Returns the shard of a number, or raises `FileNotFoundError`.
    name : str
        Its name in the memory.
    memory : ChunkMemory, optional
        Where chunks are kept for those who ask again.

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
        """Read the rows from `start` on into `out`, as many as it has.

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
        """Read some rows, in any order, into `out`; chunks that hold none are left alone. Raises as `read_span`.

        Parameters
        ----------
        rows : int64, shape (K,)
            Inside the array.
        out : array, shape (K, C, T)
        """
        chunk, drawn = self._layout.chunk, rows.tolist()
        number = min(drawn) // chunk
        if max(drawn) // chunk == number:
            unpack_windows(self._one_packed(number), rows - number * chunk, chunk, out)
            return
        numbers = rows // chunk
        for number, packed in self._packed(np.unique(numbers).tolist()):
            (here,) = np.nonzero(numbers == number)
            windows = np.empty((len(here), *self.shape[1:]), self.dtype_name)
            unpack_windows(packed, rows[here] - number * chunk, chunk, windows)
            out[here] = windows

    def _one_packed(self, number: int) -> Packed:
        """Return one chunk as stored, for as long as this thread reads no other, in less time than `_packed` takes."""
        packed = None if self._memory is None else self._memory.get(self._name, number)
        if packed is not None:
            return packed
        shard_number, place = divmod(number, self._chunks_per_shard)
        shard = self._open_shard(shard_number)
        offset, size = self._index(shard_number, shard)[place].tolist()
        _check_place(offset, size, self._most_bytes)
        read = _checked(shard.read_chunk(offset, offset + size), size)
        if self._memory is not None:
            self._memory.keep(self._name, number, bytes(read))
        return read

    def _packed(self, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Yield chunks as stored, those that are kept first."""
        if self._memory is None:
            yield from self._read_packed(numbers)
            return
        missing = []
        for number in numbers:
            packed = self._memory.get(self._name, number)
            if packed is None:
                missing.append(number)
            else:
                yield number, packed
        for number, packed in self._read_packed(missing):
            self._memory.keep(self._name, number, packed)
            yield number, packed

    def _read_packed(self, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Yield chunks as stored, ascending: those that lie close together in a shard in one request."""
        per_shard = self._chunks_per_shard
        done = 0
        while done < len(numbers):
            shard_number = numbers[done] // per_shard
            shard = self._open_shard(shard_number)
            places = self._index(shard_number, shard)
            end = done + 1
            while end < len(numbers) and numbers[end] // per_shard == shard_number:
                end += 1
            wanted = [(n, *places[n % per_shard].tolist()) for n in numbers[done:end]]
            yield from _fetch(shard, wanted, self._most_bytes)
            done = end

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


def _fetch(shard: Shard, places: list[tuple[int, int, int]], most_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield the chunks at some (number, offset, size) of a shard."""
    for _, offset, size in places:
        _check_place(offset, size, most_bytes)
    done = 0
    while done < len(places):
        end = _end_of_request(shard.gap_bytes, places, done)
        begin, stop = places[done][1], places[end - 1][1] + places[end - 1][2]
        data = shard.read(begin, stop)
        for number, offset, size in places[done:end]:
            yield number, _checked(data[offset - begin : offset - begin + size], size)
        done = end


def _check_place(offset: int, size: int, most_bytes: int) -> None:
    if offset == _ABSENT:
        raise ValueError("a chunk is missing from its shard")
    if size > most_bytes or offset + size > _MOST_BYTES:
        raise ValueError("the list of chunks points beyond any shard")


def _end_of_request(gap_bytes: int, places: list[tuple[int, int, int]], done: int) -> int:
    """Return before which chunk the request ends that begins with chunk `done`."""
    begin, stop, end = places[done][1], places[done][1] + places[done][2], done + 1
    while end < len(places):
        offset, size = places[end][1:]
        if not 0 <= offset - stop <= gap_bytes or offset + size - begin > _REQUEST_BYTES:
            break
        stop, end = offset + size, end + 1
    return end


def _checked(data: Packed, n_bytes: int) -> Packed:
    """Return data with a checksum at their end, after comparing it."""
    if len(data) != n_bytes or n_bytes < 4:
        raise ValueError("a shard is cut off")
    if google_crc32c.value(data) != _CHECKED:
        raise ValueError("a checksum does not match: the shard was changed or cut off")
    return data
