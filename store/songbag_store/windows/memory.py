"""What readers keep in memory: open files, packed chunks, and the memory of batches."""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Generic, TypeVar

import numpy as np

from songbag_store.machine import IS_LINUX
from songbag_store.types import Bytes

_T = TypeVar("_T")
_Place = tuple[threading.Lock, list[_T]]

_PER_CHUNK_BYTES = 200
"""What a chunk takes besides its own bytes: the object, its key and its entry in the table."""

_KEPT_BYTES = 128 << 20
_PAGE_BYTES = 4096


class KeptOpen(Generic[_T]):
    """Opens every name once, also if several threads ask for it at once, and keeps the names used last.

    Parameters
    ----------
    most : int
        How many are kept.
    """

    def __init__(self, most: int) -> None:
        self._lock = threading.Lock()
        self._places: Callable[[str], _Place[_T]] = lru_cache(most)(lambda _: (threading.Lock(), []))

    def get(self, name: str, open_it: Callable[[str], _T]) -> _T:
        """Return what `open_it` returns for this name, or has returned before. Its errors are raised and not kept."""
        # `lru_cache` alone would call its function twice if two threads ask at the same time.
        with self._lock:
            opening, opened = self._places(name)
        if not opened:
            with opening:
                if not opened:
                    opened.append(open_it(name))
        return opened[0]


class ChunkMemory:
    """Keeps packed chunks, which take about two thirds of their windows in int16. Safe for threads.

    The first chunks stay. A chunk that finds no room is read again each time.

    Parameters
    ----------
    limit_bytes : int
        The most that all chunks and the table take together.

    Attributes
    ----------
    n_bytes : int
        What they take now.
    """

    # No chunk is dropped for another one: songs come in another order in every epoch, so each chunk would be dropped
    # before it is read again.
    def __init__(self, limit_bytes: int) -> None:
        self.n_bytes = 0
        self._limit_bytes = limit_bytes
        self._chunks: dict[tuple[str, int], bytes] = {}
        self._lock = threading.Lock()

    def get(self, fragment: str, number: int) -> bytes | None:
        """Return a chunk of a fragment, or None if it is not kept."""
        return self._chunks.get((fragment, number))

    def keep(self, fragment: str, number: int, packed: bytes) -> None:
        """Keep a chunk if there is room."""
        wanted = len(packed) + _PER_CHUNK_BYTES
        with self._lock:
            if (fragment, number) not in self._chunks and self.n_bytes + wanted <= self._limit_bytes:
                self._chunks[fragment, number] = packed
                self.n_bytes += wanted


class BatchMemory:
    """Hands out memory that is not in use. Safe for threads.

    Memory is in use as long as an array, tensor or memoryview of it is alive. At most 128 MB are kept. They are in a
    file without a name that is only in memory, so that other processes can write into it; only Linux has such files.
    All other memory is new.
    """

    # New memory takes time of reading, because the system clears each of its pages.
    def __init__(self) -> None:
        self._free: list[memoryview] = []
        self._n_kept_bytes = 0
        self._lock = threading.Lock()

    @cached_property
    def file(self) -> int:
        """Descriptor of the file that holds the memory."""
        descriptor = os.memfd_create("songbag-batches")
        weakref.finalize(self, os.close, descriptor)
        os.ftruncate(descriptor, _KEPT_BYTES)
        return descriptor

    @cached_property
    def _shared(self) -> Bytes:
        return np.frombuffer(mmap.mmap(self.file if IS_LINUX else -1, _KEPT_BYTES), np.uint8)

    def take(self, n_bytes: int) -> Bytes:
        """Return memory with any content. It is aligned to 64 bytes, so TensorFlow takes it without a copy."""
        with self._lock:
            block = self._block(n_bytes)
        if block is None:
            return np.frombuffer(mmap.mmap(-1, n_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)
        # Every array or tensor of this memory keeps this array alive, because the base of this array is not an array.
        memory = np.frombuffer(block, np.uint8, n_bytes)
        # Without the lock: garbage may be collected in a thread that holds it.
        weakref.finalize(memory, self._free.append, block).atexit = False
        return memory

    def _block(self, n_bytes: int) -> memoryview | None:
        """Return a block that is free, or a new one; None if there is no room for it."""
        for number, block in enumerate(self._free):
            if n_bytes <= block.nbytes <= 2 * n_bytes + _PAGE_BYTES:
                return self._free.pop(number)
        start = self._n_kept_bytes
        stop = start - (-n_bytes // _PAGE_BYTES) * _PAGE_BYTES
        if stop > _KEPT_BYTES:
            return None
        self._n_kept_bytes = stop
        return self._shared.data[start:stop]

    def place(self, memory: Bytes) -> int | None:
        """Return the offset in the file of memory that was taken; None if it is not in the file."""
        place = memory.ctypes.data - self._shared.ctypes.data
        return place if 0 <= place < _KEPT_BYTES else None
