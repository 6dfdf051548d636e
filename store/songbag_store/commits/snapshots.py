"""Snapshots: the committed states of a store, and the commit that creates the next one."""

from __future__ import annotations

import dataclasses
import random
import re
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cached_property

import pyarrow as pa
import pyarrow.dataset as ds

from songbag_store.errors import DamagedStore, StoreError, StoreNotFound
from songbag_store.format.index import empty_index
from songbag_store.format.index_check import check_index
from songbag_store.format.sealed import Rows, Sealed, seal
from songbag_store.storage.storage import KeyExists, Storage, create_once

_NAME = re.compile(r"index/(\d{20})\.parquet")
_ATTEMPTS = 100


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """One committed state of a store.

    Attributes
    ----------
    number : int
        Counts from 1; 0 is the empty state of a store before its first commit.
    content : Sealed or pyarrow.Table
        One row a song: the checked file, or a table without rows where there is none.
    parts : frozenset of str
        Every part that this snapshot or one before it has taken in.
    sha256 : str
        Digest of the snapshot's file; empty for number 0.
    """

    number: int
    content: Sealed | pa.Table
    parts: frozenset[str]
    sha256: str = ""

    @cached_property
    def index(self) -> pa.Table:
        """Every column, decoded once: of a million songs they take a second and half a gigabyte."""
        return self.content.read() if isinstance(self.content, Sealed) else self.content

    @property
    def schema(self) -> pa.Schema:
        """The columns of the index; nothing is decoded."""
        return self.content.schema

    def columns(self, names: list[str]) -> pa.Table:
        """Return some columns of the index."""
        if isinstance(self.content, Sealed) and "index" not in self.__dict__:
            return self.content.read(names)
        return self.index.select(names)

    def pieces(self, names: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield some columns of the index, or all, a few thousand rows at a time, in its order."""
        if isinstance(self.content, Sealed) and "index" not in self.__dict__:
            yield from self.content.pieces(names)
        else:
            yield self.index.select(names or self.schema.names)

    @property
    def n_rows(self) -> int:
        """Songs of the index."""
        n_rows: int = self.content.n_rows if isinstance(self.content, Sealed) else self.content.num_rows
        return n_rows

    def dataset(self) -> ds.Dataset:
        """Return the index for an engine that takes the columns a question needs, and no others."""
        return self.content.dataset() if isinstance(self.content, Sealed) else ds.dataset(self.content)


Change = Callable[[Snapshot], tuple[pa.Table | Rows, frozenset[str]] | None]
"""From the newest snapshot to the next index and its parts, or None where nothing is left to change."""


def snapshot_key(number: int) -> str:
    """Return the key of a snapshot: 20 digits, so that names sort as numbers do."""
    return f"index/{number:020d}.parquet"


def snapshot_numbers(storage: Storage) -> list[int]:
    """Return the numbers of all snapshots, ascending."""
    matches = (_NAME.fullmatch(entry.key) for entry in storage.entries("index"))
    return sorted(int(match[1]) for match in matches if match)


def read_snapshot(storage: Storage, store_uuid: str, number: int | None = None) -> Snapshot:
    """Read one snapshot, by default the newest.

    Raises
    ------
    StoreNotFound
        If there is no snapshot of this number.
    DamagedStore
        If its file is not what was written; the message names the last good snapshot before it.
    """
    numbers = snapshot_numbers(storage)
    if number is None:
        number = numbers[-1] if numbers else 0
    if number == 0:
        return Snapshot(0, empty_index(), frozenset())
    if number not in numbers:
        known = f"{numbers[0]} to {numbers[-1]}" if numbers else "none"
        raise StoreNotFound(f"there is no snapshot {number} (there are: {known})", place=storage.location)
    try:
        return _read(storage, store_uuid, number)
    except DamagedStore as error:
        good = _last_good(storage, store_uuid, [n for n in numbers if n < number])
        error.remedy = (
            f"The last good snapshot is {good}: read it with `snapshot={good}`, and restore this file from a copy."
            if good
            else "No snapshot before it is whole; restore this file from a copy."
        )
        raise


def _read(storage: Storage, store_uuid: str, number: int) -> Snapshot:
    key = snapshot_key(number)
    data = storage.get(key)
    sealed = Sealed(data, key=key, place=storage.location)
    if sealed.facts.get("store") != store_uuid or sealed.facts.get("snapshot") != number:
        raise DamagedStore("belongs to another store or bears another number", key=key, place=storage.location)
    check_index(sealed, key=key, place=storage.location)
    return Snapshot(number, sealed, frozenset(sealed.facts["parts"]), sealed.sha256)


def _last_good(storage: Storage, store_uuid: str, numbers: list[int]) -> int | None:
    for number in reversed(numbers):
        try:
            return _read(storage, store_uuid, number).number
        except (DamagedStore, FileNotFoundError):
            continue
    return None


def commit(storage: Storage, store_uuid: str, change: Change, *, note: str = "extract") -> Snapshot:
    """Create the next snapshot: put-if-absent of its file is the commit.

    "Already exists" is ambiguous, see `create_once`: every attempt bears a token of its own, so
    its bytes tell whose snapshot is there. Where another writer won, `change` is asked anew on top of that one's.

    Parameters
    ----------
    change : callable
        Called with the newest snapshot; may be called several times.
    note : str
        What the snapshot's history says of this commit.

    Returns
    -------
    snapshot : Snapshot
        The one that was created, or the newest where `change` had nothing to do.
    """
    base = read_snapshot(storage, store_uuid)
    for attempt in range(_ATTEMPTS):
        changed = change(base)
        if changed is None:
            # Somebody else took the parts in, and may have died before the name of the snapshot was on disk.
            if base.number:
                storage.make_durable(snapshot_key(base.number))
            return base
        index, parts = changed
        facts = {
            "store": store_uuid,
            "snapshot": base.number + 1,
            "token": uuid.uuid4().hex,
            "parts": sorted(parts),
            "committed_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "change": note,
        }
        data = seal(index, facts)
        if _put(storage, base.number + 1, data):
            sealed = Sealed(data, key=snapshot_key(base.number + 1), place=storage.location)
            return Snapshot(base.number + 1, sealed, parts, sealed.sha256)
        base = read_snapshot(storage, store_uuid)
        # Writers that collided once would collide again in step.
        time.sleep(random.uniform(0, min(1.0, 0.01 * 2 ** min(attempt, 7))))
    raise StoreError(
        f"other writers won {_ATTEMPTS} commits in a row",
        place=storage.location,
        remedy="Run the same command again: its finished songs are kept as parts and will be taken in.",
    )


def _put(storage: Storage, number: int, data: bytes) -> bool:
    """Create one snapshot file; tell whether it is ours."""
    try:
        create_once(storage, snapshot_key(number), data)
    except KeyExists:
        return False
    return True
