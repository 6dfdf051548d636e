"""A storage in memory that behaves as badly as real ones may: it loses, fails, repeats and lies on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Literal

from songbag_store.errors import StoreUnavailable
from songbag_store.storage.storage import KeyExists, ObjectFacts, StoredObject

Fault = Literal[
    "none",
    "fails",  # nothing is written, and the caller is told so
    "conflict",  # an absent object is said to exist: S3's 409
    "answer-lost",  # written and not synced; a repeated request finds the object and says so
    "broken-off",  # written, and the caller is told of a failure
    "twice",  # the request is carried out twice, the second answer counts
    "crash-before",  # the writer dies, nothing is written
    "crash-unsynced",  # the writer dies when others can see the object but a power loss would take it
    "crash-after",  # the writer dies with the object written
    "overtaken",  # before this request, another writer does its own
]
FAULTS: tuple[Fault, ...] = (
    "none", "fails", "conflict", "answer-lost", "broken-off", "twice",
    "crash-before", "crash-unsynced", "crash-after", "overtaken",
)  # fmt: skip


class Crash(Exception):
    """The process that made this call is no more."""


class LossyStorage:
    """Implements `songbag_store.storage.storage.Storage`, all writers sharing one.

    Attributes
    ----------
    visible : dict
        What readers see.
    synced : dict
        What a power loss leaves.
    faults : list
        What befalls the next calls of `create`, the first of them first.
    fail_gets : int
        So many calls of `get` fail.
    overtake : callable
        What another writer does where the fault is ``overtaken``.
    """

    address = "memory"

    def __init__(self) -> None:
        self.visible: dict[str, bytes] = {}
        self.synced: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.fail_gets = 0
        self.overtake: Callable[[], None] = lambda: None

    def create(self, key: str, data: bytes) -> None:
        fault = self.faults.pop(0) if self.faults else "none"
        if fault == "overtaken":
            self.overtake()
        elif fault == "fails":
            raise StoreUnavailable("failed", place=key)
        elif fault == "crash-before":
            raise Crash(key)
        elif fault == "conflict" and key not in self.visible:
            raise KeyExists(key)
        if key in self.visible:
            raise KeyExists(key)
        self.visible[key] = data
        if fault == "crash-unsynced":
            raise Crash(key)
        if fault == "answer-lost":
            raise KeyExists(key)
        self.make_durable(key)
        if fault == "twice":
            raise KeyExists(key)
        if fault == "broken-off":
            raise StoreUnavailable("connection lost", place=key)
        if fault == "crash-after":
            raise Crash(key)

    def make_durable(self, key: str) -> None:
        """Make an object durable, and with its folder every other name in it, as fsync does."""
        folder = key.rpartition("/")[0]
        self.synced |= {other: data for other, data in self.visible.items() if other.rpartition("/")[0] == folder}

    def get(self, key: str) -> bytes:
        if self.fail_gets:
            self.fail_gets -= 1
            raise StoreUnavailable("failed", place=key)
        if key not in self.visible:
            raise FileNotFoundError(key)
        return self.visible[key]

    def entries(self, prefix: str) -> list[StoredObject]:
        found = [StoredObject(key, len(data)) for key, data in self.visible.items() if key.startswith(f"{prefix}/")]
        return sorted(found, key=lambda entry: hash(entry.key))

    def leftovers(self) -> list[StoredObject]:
        return []

    def top_level(self) -> set[str]:
        return {key.partition("/")[0] for key in self.visible}

    def delete(self, key: str) -> None:
        self.visible.pop(key, None)
        self.synced.pop(key, None)

    def new_array(self, key: str) -> LossyArray:
        return LossyArray(self, key)

    def local_path(self, key: str) -> None:
        return

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        return self.get(key)[start : stop or None]

    def lose_power(self) -> None:
        """Forget what was not forced to disk."""
        self.visible = dict(self.synced)


class LossyArray:
    """An array whose objects are lost unless it is finished; `put` stands in for zarr-python."""

    def __init__(self, storage: LossyStorage, key: str) -> None:
        self._storage = storage
        self._prefix = f"{key}/"

    def put(self, name: str, data: bytes) -> None:
        self._storage.visible[self._prefix + name] = data

    @property
    def target(self) -> LossyArray:  # type: ignore[override]
        return self

    def finish(self) -> dict[str, ObjectFacts]:
        mine = {key: data for key, data in self._storage.visible.items() if key.startswith(self._prefix)}
        self._storage.synced |= mine
        return {key: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for key, data in mine.items()}
