"""Snapshots: the committed states of a store, and the commit that creates the next one."""

from __future__ import annotations

import dataclasses
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property

import pyarrow as pa
import pyarrow.dataset as ds

from songbag_store.errors import DamagedStore, StoreError, StoreNotFound
from songbag_store.format import keys
from songbag_store.format.facts import SnapshotFacts
from songbag_store.format.index import empty_index
from songbag_store.format.index_check import check_index
from songbag_store.format.sealed import Rows, Sealed, seal
from songbag_store.storage.storage import KeyExists, Storage, create_once

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


def snapshot_numbers(storage: Storage) -> list[int]:
    """Return the numbers of all snapshots, ascending."""
    numbers = (keys.snapshot_number(entry.key) for entry in storage.entries(keys.INDEX))
    return sorted(number for number in numbers if number is not None)


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
        raise StoreNotFound(f"there is no snapshot {number} (there are: {known})", place=storage.address)
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
    sealed, facts = read_sealed(storage, store_uuid, number)
    check_index(sealed, key=keys.snapshot_key(number), place=storage.address)
    return Snapshot(number, sealed, frozenset(facts.parts), sealed.sha256)


def read_sealed(storage: Storage, store_uuid: str, number: int) -> tuple[Sealed, SnapshotFacts]:
    """Read a snapshot's file and what its seal says; its rows are not looked at.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    DamagedStore
        If it is not what was written, or was written for another store or number.
    """
    key = keys.snapshot_key(number)
    sealed = Sealed(storage.get(key), key=key, place=storage.address)
    facts = sealed.read_facts(SnapshotFacts)
    if (facts.store, facts.snapshot) != (store_uuid, number):
        raise DamagedStore("belongs to another store or has another number", key=key, place=storage.address)
    return sealed, facts


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
            make_snapshot_durable(storage, base.number)
            return base
        index, parts = changed
        facts = SnapshotFacts(
            store=store_uuid,
            snapshot=base.number + 1,
            token=uuid.uuid4().hex,
            parts=sorted(parts),
            committed_at=datetime.now(UTC).isoformat(timespec="seconds"),
            change=note,
        )
        data, key = seal(index, dataclasses.asdict(facts)), keys.snapshot_key(facts.snapshot)
        with suppress(KeyExists):
            create_once(storage, key, data)
            sealed = Sealed(data, key=key, place=storage.address)
            return Snapshot(facts.snapshot, sealed, parts, sealed.sha256)
        base = read_snapshot(storage, store_uuid)
        # Writers that collided once would collide again in step.
        time.sleep(random.uniform(0, min(1.0, 0.01 * 2 ** min(attempt, 7))))
    raise StoreError(
        f"other writers won {_ATTEMPTS} commits in a row",
        place=storage.address,
        remedy="Run the same command again: its finished songs are kept as parts and will be taken in.",
    )


def make_snapshot_durable(storage: Storage, number: int) -> None:
    """Force a snapshot to disk that somebody relies on: its writer may have died before its name was there."""
    if number:
        storage.make_durable(keys.snapshot_key(number))
