"""Memory of batches, used again for later ones: having the system clear new pages for each takes time of reading."""

from __future__ import annotations

import sys
import threading

import numpy as np
import numpy.typing as npt

_KEPT_BYTES = 128 << 20
_ALIGNMENT = 64


def _references(memories: list[npt.NDArray[np.uint8]]) -> list[int]:
    return [sys.getrefcount(memory) for memory in memories]


_FREE = _references([np.empty(1, np.uint8)])[0]
"""References to a memory in a list that nobody else knows, in this version of Python."""


class BatchMemory:
    """Hands out memory that is not in use. Safe for threads.

    A memory is in use for as long as any array, tensor or memoryview on it is alive, all of which hold a reference to
    it: Python counts these. At most 128 MB are kept; what is larger or more is left to Python.
    """

    def __init__(self) -> None:
        self._kept: list[npt.NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def take(self, n_bytes: int) -> npt.NDArray[np.uint8]:
        """Return memory with anything in it, at a multiple of 64 bytes: TensorFlow takes it over without a copy."""
        with self._lock:
            found = None
            for number, n_references in enumerate(_references(self._kept)):
                fits = n_bytes + _ALIGNMENT <= self._kept[number].nbytes <= 2 * (n_bytes + _ALIGNMENT)
                if fits and n_references == _FREE:
                    found = self._kept[number]
                    break
            if found is None:
                found = np.empty(n_bytes + _ALIGNMENT, np.uint8)
                if sum(one.nbytes for one in self._kept) + found.nbytes <= _KEPT_BYTES:
                    self._kept.append(found)
            first = -found.__array_interface__["data"][0] % _ALIGNMENT
            return found[first : first + n_bytes]
