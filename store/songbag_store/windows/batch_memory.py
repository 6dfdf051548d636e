"""Memory of batches, used again for later batches: when the system clears new pages, this takes time of reading."""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from functools import cached_property

import numpy as np
import numpy.typing as npt

Memory = npt.NDArray[np.uint8]

_KEPT_BYTES = 128 << 20
_PAGE_BYTES = 4096


class BatchMemory:
    """Hands out memory that is not in use. Safe for threads.

    Memory is in use for as long as an array, tensor or memoryview on it is alive. At most 128 MB are kept, where the
    system has them in a file without a name that lies in memory only, so that other processes can write into it.
    Larger and further memory is left to Python.
    """

    def __init__(self) -> None:
        self._free: list[memoryview] = []
        self._n_kept_bytes = 0
        self._lock = threading.Lock()

    @cached_property
    def file(self) -> int | None:
        """Descriptor of the file that the memory lies in; None where the system has no such files."""
        try:
            descriptor = os.memfd_create("songbag-batches")
            os.ftruncate(descriptor, _KEPT_BYTES)
        except (AttributeError, OSError):
            return None
        return descriptor

    @cached_property
    def _shared(self) -> Memory | None:
        return None if self.file is None else np.frombuffer(mmap.mmap(self.file, _KEPT_BYTES), np.uint8)

    def __del__(self) -> None:
        descriptor = self.__dict__.get("file")
        if descriptor is not None:
            os.close(descriptor)

    def take(self, n_bytes: int) -> Memory:
        """Return memory with any content, at a multiple of 64 bytes: TensorFlow takes it over without a copy."""
        with self._lock:
            block = self._free_block(n_bytes) or self._new_block(-(-n_bytes // _PAGE_BYTES) * _PAGE_BYTES)
        if block is None:
            return np.frombuffer(_own_pages(n_bytes), np.uint8)
        # Every array or tensor on this memory refers to this array, because its own base is no array.
        memory = np.frombuffer(block, np.uint8, n_bytes)
        # Appending takes no lock: garbage may be collected in a thread that holds it.
        weakref.finalize(memory, self._free.append, block).atexit = False
        return memory

    def _free_block(self, n_bytes: int) -> memoryview | None:
        for number, block in enumerate(self._free):
            if n_bytes <= block.nbytes <= 2 * n_bytes + _PAGE_BYTES:
                return self._free.pop(number)
        return None

    def _new_block(self, n_bytes: int) -> memoryview | None:
        start, stop = self._n_kept_bytes, self._n_kept_bytes + n_bytes
        if stop > _KEPT_BYTES:
            return None
        self._n_kept_bytes = stop
        return _own_pages(n_bytes) if self._shared is None else self._shared.data[start:stop]

    def place(self, memory: Memory) -> int | None:
        """Return where in the file a memory begins that was taken; None if it lies elsewhere."""
        if self._shared is None:
            return None
        place = _address(memory) - _address(self._shared)
        return place if 0 <= place < _KEPT_BYTES else None


def _own_pages(n_bytes: int) -> memoryview:
    return memoryview(mmap.mmap(-1, n_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


def _address(memory: Memory) -> int:
    address: int = memory.__array_interface__["data"][0]
    return address
