"""A cache of packed chunks in memory, for songs that are read again and again."""

from __future__ import annotations

import threading

_PER_CHUNK_BYTES = 200
"""What a chunk takes besides its own bytes: the object, its key and its place in the table."""


class ChunkMemory:
    """Packed chunks, at most so many bytes of them: about two thirds of what windows take in int16. Safe for threads.

    The first chunks stay, and a chunk that finds no room is read again each time. Songs come in another order in every
    epoch: if they do not all fit, each would push out others before they are read again.

    Parameters
    ----------
    limit_bytes : int
        The most that all chunks and the table take together.

    Attributes
    ----------
    n_bytes : int
        What they take now.
    """

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
