"""Memory of batches, used again for later ones: having the system clear new pages for each takes time of reading."""

from __future__ import annotations

import mmap
import os
import sys
import threading
from functools import cached_property

import numpy as np
import numpy.typing as npt

Memory = npt.NDArray[np.uint8]

_KEPT_BYTES = 128 << 20
_PAGE_BYTES = 4096


def _references(memories: list[Memory]) -> list[int]:
    return [sys.getrefcount(memory) for memory in memories]


_FREE = _references([np.empty(1, np.uint8)])[0]
"""References to a memory in a list that nobody else knows, in this version of Python."""


class BatchMemory:
    """Hands out memory that is not in use. Safe for threads.

    A memory is in use for as long as any array, tensor or memoryview on it is alive, all of which hold a reference to
    it: Python counts these. At most 128 MB are kept, where the system can in a file without a name that lies in memory
    alone, so that other processes can write into it; what is larger or more is left to Python.
    """

    def __init__(self) -> None:
        self._kept: list[Memory] = []
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
        """Return memory with anything in it, at a multiple of 64 bytes: TensorFlow takes it over without a copy."""
        with self._lock:
            for number, n_references in enumerate(_references(self._kept)):
                if n_references == _FREE and n_bytes <= self._kept[number].nbytes <= 2 * n_bytes + _PAGE_BYTES:
                    return self._kept[number][:n_bytes]
            return self._new(-(-n_bytes // _PAGE_BYTES) * _PAGE_BYTES)[:n_bytes]

    def _new(self, n_bytes: int) -> Memory:
        start, stop = self._n_kept_bytes, self._n_kept_bytes + n_bytes
        kept = stop <= _KEPT_BYTES
        if kept and self._shared is not None:
            # Through a memoryview, for what is cut from an array holds a reference to whatever that was cut from.
            memory = np.frombuffer(self._shared.data[start:stop], np.uint8)
        else:
            memory = np.frombuffer(mmap.mmap(-1, n_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)
        if kept:
            self._n_kept_bytes = stop
            self._kept.append(memory)
        return memory

    def place(self, memory: Memory) -> int | None:
        """Return where in the file a memory begins that was taken; None if it lies elsewhere."""
        if self._shared is None:
            return None
        place = _address(memory) - _address(self._shared)
        return place if 0 <= place < _KEPT_BYTES else None


def _address(memory: Memory) -> int:
    address: int = memory.__array_interface__["data"][0]
    return address
