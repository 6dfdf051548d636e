"""A place that tells a test of every request before it is carried out: to count it, to refuse it, or to overtake it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

from songbag_store.storage.location import Location
from songbag_store.storage.storage import Storage

Before = Callable[[str, str], None]
"""Takes the name of an operation of `Storage` and the key, which is empty where there is none."""


class _Watched:
    """A storage with all its operations, each of which is told first."""

    def __init__(self, storage: Storage, before: Before) -> None:
        self._storage, self._before = storage, before

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._storage, name)
        if not callable(found):
            return found

        def told(*arguments: Any) -> Any:
            self._before(name, str(arguments[0]) if arguments else "")
            return found(*arguments)

        return told


def _ignore(operation: str, key: str) -> None:
    """Let the request through."""


@dataclasses.dataclass(frozen=True, slots=True)
class WatchedPlace(Location):
    """A location whose storage calls `before` with every request; what that raises is the answer."""

    before: Before = _ignore

    def storage(self) -> Storage:
        return cast(Storage, _Watched(Location.storage(self), self.before))
