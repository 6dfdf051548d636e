"""A thread-safe LRU cache of what was opened."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Generic, TypeVar

_T = TypeVar("_T")


class KeptOpen(Generic[_T]):
    """Opens every name once, also if several threads ask for it, and keeps those that were used last.

    Parameters
    ----------
    most : int
        How many are kept. What is no longer kept lives on while somebody uses it.
    """

    def __init__(self, most: int) -> None:
        self._lock = threading.Lock()
        self._places: Callable[[str], tuple[threading.Lock, list[_T]]] = lru_cache(most)(
            lambda _: (threading.Lock(), [])
        )

    def get(self, name: str, open_it: Callable[[str], _T]) -> _T:
        """Return what `open_it` makes of this name, or made of it before; an error of it is raised and not kept."""
        # `lru_cache` alone calls its function twice where two threads meet.
        with self._lock:
            opening, opened = self._places(name)
        if not opened:
            with opening:
                if not opened:
                    opened.append(open_it(name))
        return opened[0]
