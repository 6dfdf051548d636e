"""What is opened once and kept for those who come after."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

_T = TypeVar("_T")


class KeptOpen(Generic[_T]):
    """Opens every name once, for whichever thread comes first, and keeps those that were used last.

    Parameters
    ----------
    most : int
        How many are kept. One that is let go lives on for as long as somebody uses it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[str, _T] = OrderedDict()
        self._opening: dict[str, Future[_T]] = {}
        self._lock = threading.Lock()

    def get(self, name: str, open_it: Callable[[str], _T]) -> _T:
        """Return what `open_it` made of this name, now or before; what it raises is raised, and not kept."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
            theirs = self._opening.get(name)
            if theirs is None:
                mine = self._opening[name] = Future()
        if theirs is not None:
            return theirs.result()
        try:
            opened = open_it(name)
        except BaseException as error:
            with self._lock:
                del self._opening[name]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._opening[name]
            self._kept[name] = opened
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        mine.set_result(opened)
        return opened
