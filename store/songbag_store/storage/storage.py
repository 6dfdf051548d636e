"""Where a store's objects lie: a `Storage` of a few operations.

`songbag_store.storage.folder` has the one on a local folder, `songbag_store.storage.objects` the one on object stores.

A key is a relative path with ``/`` between its parts. Keys are made by songbag alone, of fixed words, numbers and
uuids: never of a song id, a label or a file name.
"""

from __future__ import annotations

import dataclasses
import random
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from songbag_store.errors import BackendRefused, StoreError
from songbag_store.format.facts import ObjectFacts
from songbag_store.format.keys import scratch_key

if TYPE_CHECKING:
    from zarr.abc.store import Store

_SETTLING_ATTEMPTS = 12


@dataclasses.dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as a listing shows it."""

    key: str
    n_bytes: int
    stamped_at: datetime | None = None
    """When it was last written, by the clock of the place it lies in; None where the place does not say."""


class KeyExists(Exception):
    """Put-if-absent found the key taken; the caller decides whether that is good or bad."""


class NewArray(Protocol):
    """An array that is being written."""

    @property
    def target(self) -> Path | Store:
        """What zarr-python writes the array into."""
        ...

    def finish(self) -> dict[str, ObjectFacts]:
        """Make everything that was written durable; return size and digest of every object, by key."""
        ...


class Storage(Protocol):
    """What songbag asks of the place a store lies in."""

    @property
    def address(self) -> str:
        """The store's address as a user would write it."""
        ...

    def create(self, key: str, data: bytes) -> None:
        """Write a whole new object, durable on return; raise `KeyExists` where there is one."""
        ...

    def make_durable(self, key: str) -> None:
        """Force an object to disk that is seen here but may be unsynced: its writer died, or never got its answer."""
        ...

    def get(self, key: str) -> bytes:
        """Read a whole object; raise `FileNotFoundError` where there is none."""
        ...

    def entries(self, prefix: str) -> list[StoredObject]:
        """Return every object below a folder, in no order; an absent folder is an empty one."""
        ...

    def top_level(self) -> set[str]:
        """Return the names right below the store's root, folders and objects alike; not the halves of objects."""
        ...

    def leftovers(self) -> list[StoredObject]:
        """Return what killed writers left and `entries` does not show: the halves of objects."""
        ...

    def delete(self, key: str) -> None:
        """Delete an object; one that is gone already is no error."""
        ...

    def new_array(self, key: str) -> NewArray:
        """Begin an array whose objects will lie below a key that nobody else writes to."""
        ...

    def local_path(self, key: str) -> Path | None:
        """Return the file or folder of a key on this machine; None where it can only be read through this storage."""
        ...

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Read some bytes of an object, or the last ones with a negative `start` and a `stop` of 0.

        Fewer bytes come back where the object is shorter. Safe to call from several threads.
        """
        ...


def create_once(storage: Storage, key: str, data: bytes) -> None:
    """Create an object and settle the ambiguous "already exists" by reading again.

    Found with these very bytes, it is ours and the answer of an earlier attempt was lost. Found absent, the backend
    spoke of a conflict (S3 answers 409 while two requests are under way), and the same is tried again.

    Parameters
    ----------
    data : bytes
        Something that no other writer would write: it holds a uuid of this attempt, or is the same for all.

    Raises
    ------
    KeyExists
        If the object is there and is somebody else's.
    """
    for attempt in range(_SETTLING_ATTEMPTS):
        try:
            storage.create(key, data)
        except KeyExists:
            try:
                held = storage.get(key)
            except FileNotFoundError:
                time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))
                continue
            if held != data:
                raise
            storage.make_durable(key)
        return
    raise StoreError(
        f"{key} is reported as existing and as absent in turn",
        place=storage.address,
        remedy="Run the same command again; if it stays so, the place does not keep to put-if-absent.",
    )


def probe(storage: Storage) -> None:
    """Refuse a place that does not honour put-if-absent, before anything is entrusted to it.

    Raises
    ------
    BackendRefused
        If a second object could be put over the first.
    """
    key = scratch_key("probe")
    create_once(storage, key, b"first")
    try:
        storage.create(key, b"second")
    except KeyExists:
        if storage.get(key) == b"first":
            return
    finally:
        # What cannot be deleted is litter, and no reason to refuse the place.
        with suppress(StoreError):
            storage.delete(key)
    raise BackendRefused(
        "there is no put-if-absent: a new object silently replaced one of the same name, so that two writers would "
        "lose each other's work",
        place=storage.address,
        remedy="Use a POSIX file system, S3, Google Cloud Storage or Azure Blob storage; "
        "of the servers that speak S3, one that honours If-None-Match.",
    )
