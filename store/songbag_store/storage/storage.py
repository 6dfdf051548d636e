"""`Storage`: the few operations that a store needs of its place.

A key is a relative path with ``/``. songbag makes it of fixed words, numbers and uuids, never of a song id or a label.
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
    """When it was last written, by the clock of its place; None if that is unknown."""


class KeyExists(Exception):
    """The key is taken. The caller decides whether that is an error."""


class NewArray(Protocol):
    """An array that is being written."""

    @property
    def target(self) -> Path | Store:
        """The place that zarr-python writes the array into."""

    def finish(self) -> dict[str, ObjectFacts]:
        """Make everything that was written durable, and return size and digest of every object by its key."""


class Storage(Protocol):
    """The place of a store: a folder (`storage.folder`) or an object store (`storage.objects`)."""

    @property
    def address(self) -> str:
        """The store's address as a user would write it."""

    def create(self, key: str, data: bytes) -> None:
        """Write a whole new object, durable on return; raise `KeyExists` if there is one already."""

    def make_durable(self, key: str) -> None:
        """Force to disk an object whose writer may have died before it did so."""

    def get(self, key: str) -> bytes:
        """Read a whole object; raise `FileNotFoundError` if there is none."""

    def entries(self, prefix: str) -> list[StoredObject]:
        """Return every object below a folder, in any order; only an absent folder is an empty one.

        Raises
        ------
        StoreError
            If the listing failed, as a whole or in part.
        """

    def top_level(self) -> set[str]:
        """Return the names of the folders and objects in the store's root, without half-written ones.

        Errors are those of `entries`.
        """

    def leftovers(self) -> list[StoredObject]:
        """Return the half-written objects of killed writers, which `entries` leaves out, with the same errors."""

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""

    def new_array(self, key: str) -> NewArray:
        """Begin an array below a key that no other writer uses."""

    def local_path(self, key: str) -> Path | None:
        """Return the file or folder of a key on this machine; None for an object store."""

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Read some bytes of an object; a negative `start` and a `stop` of 0 mean the last ones.

        Fewer bytes come back if the object is shorter. Safe to call from several threads.
        """


def create_once(storage: Storage, key: str, data: bytes) -> None:
    """Create an object, and find out by reading what "already exists" means.

    If the object has these bytes, an earlier attempt succeeded and its answer was lost. If it is absent, the server
    reported a conflict of two requests (S3 answers 409), and the same is tried again.

    Parameters
    ----------
    data : bytes
        It holds a uuid of this attempt, or is the same for all writers.

    Raises
    ------
    KeyExists
        If another writer's object is there.
    """
    for attempt in range(_SETTLING_ATTEMPTS):
        try:
            storage.create(key, data)
            return
        except KeyExists:
            with suppress(FileNotFoundError):
                if storage.get(key) != data:
                    raise
                storage.make_durable(key)
                return
        time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))
    raise StoreError(
        f"{key} is reported as existing and as absent in turn",
        place=storage.address,
        remedy="Run the same command again; if the error stays, the place does not keep to put-if-absent.",
    )


def probe(storage: Storage) -> None:
    """Refuse a place that does not keep to put-if-absent, before anything is written to it.

    Raises
    ------
    BackendRefused
        If a second object replaces the first.
    """
    key = scratch_key("probe")
    create_once(storage, key, b"first")
    try:
        storage.create(key, b"second")
    except KeyExists:
        if storage.get(key) == b"first":
            return
    finally:
        # A probe that stays is litter, which gc deletes.
        with suppress(StoreError):
            storage.delete(key)
    raise BackendRefused(
        "there is no put-if-absent: a new object replaced one of the same name, so two writers would lose work",
        place=storage.address,
        remedy="Use a POSIX file system, S3, Google Cloud Storage, Azure Blob storage, or an S3 server that honours "
        "If-None-Match.",
    )
