"""Snapshots: the committed states of a store, and the commit that creates the next one."""

from __future__ import annotations

import dataclasses
import random
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property

import pyarrow as pa

from songbag_store.errors import DamagedStore, StoreError, StoreNotFound
from songbag_store.format import keys
from songbag_store.format.check import check_index
from songbag_store.format.facts import SnapshotFacts
from songbag_store.format.index import empty_index
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
    content : Sealed
        The checked file, one row a song.
    parts : frozenset of str
        Every part that this snapshot or an earlier one has taken in.
    sha256 : str
        Digest of the snapshot's file; empty for number 0.
    """

    number: int
    content: Sealed
    parts: frozenset[str]
    sha256: str = ""

    @cached_property
    def index(self) -> pa.Table:
        """Every column, decoded once: a million songs take a second and half a gigabyte."""
        return self.content.read()

    def columns(self, names: list[str]) -> pa.Table:
        """Return some columns of the index."""
        return self.index.select(names) if "index" in self.__dict__ else self.content.read(names)


def empty_state() -> Snapshot:
    """Return the state of a store before its first commit."""
    return Snapshot(0, Sealed(seal(empty_index(), {}), key="", place=""), frozenset())


Change = Callable[[Snapshot], tuple[pa.Table | Rows, frozenset[str]] | None]
"""From the newest snapshot to the next index and its parts, or None if there is nothing to change."""


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
    number = max(numbers, default=0) if number is None else number
    if number == 0:
        return empty_state()
    if number not in numbers:
        known = f"{numbers[0]} to {numbers[-1]}" if numbers else "none"
        raise StoreNotFound(f"there is no snapshot {number} (there are: {known})", place=storage.address)
    try:
        return _read(storage, store_uuid, number)
    except DamagedStore as error:
        good = _last_good(storage, store_uuid, [n for n in numbers if n < number])
        other = f"The last good snapshot is {good}: read it with `snapshot={good}`, and" if good else "None is whole:"
        error.remedy = f"{other} restore this file from a copy."
        raise


def _read(storage: Storage, store_uuid: str, number: int) -> Snapshot:
    sealed, facts = read_sealed(storage, store_uuid, number)
    check_index(sealed, key=keys.snapshot_key(number), place=storage.address)
    return Snapshot(number, sealed, frozenset(facts.parts), sealed.sha256)


def read_sealed(storage: Storage, store_uuid: str, number: int) -> tuple[Sealed, SnapshotFacts]:
    """Read a snapshot's file and the facts of its seal, without a check of its rows.

    Raises
    ------
    FileNotFoundError
        If it is missing.
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
        with suppress(DamagedStore, FileNotFoundError):
            return _read(storage, store_uuid, number).number
    return None


def commit(
    storage: Storage, store_uuid: str, change: Change, *, note: str = "extract", run: str = "", ended: bool = False
) -> Snapshot:
    """Create the next snapshot: put-if-absent of its file is the commit.

    If another writer was first, `change` is called again with that one's snapshot.

    Parameters
    ----------
    change : callable
        Called with the newest snapshot; may be called several times.
    note : str
        Description of the commit in the history.
    run : str
        Run of `songbag extract` that commits.
    ended : bool
        Whether the run ends with this commit: gc then needs none of its earlier snapshots.

    Returns
    -------
    snapshot : Snapshot
        The one that was created, or the newest if `change` had nothing to do.
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
            token=uuid.uuid4().hex,  # so that the bytes tell this attempt from all others, see `create_once`
            parts=sorted(parts),
            committed_at=datetime.now(UTC).isoformat(timespec="seconds"),
            change=note,
            base=base.sha256,
            run=run,
            ended=ended,
        )
        data, key = seal(index, dataclasses.asdict(facts)), keys.snapshot_key(facts.snapshot)
        with suppress(KeyExists):
            create_once(storage, key, data)
            sealed = Sealed(data, key=key, place=storage.address)
            if _follows_the_newest(storage, store_uuid, facts.snapshot, sealed.sha256):
                return Snapshot(facts.snapshot, sealed, parts, sealed.sha256)
        base = read_snapshot(storage, store_uuid)
        # A random pause, or writers that collided once would collide again.
        time.sleep(random.uniform(0, min(1.0, 0.01 * 2 ** min(attempt, 7))))
    remedy = "Run the same command again: its finished songs are kept as parts and will be taken in."
    raise StoreError(f"other writers won {_ATTEMPTS} commits in a row", place=storage.address, remedy=remedy)


def _follows_the_newest(storage: Storage, store_uuid: str, number: int, sha256: str) -> bool:
    """Return whether a new snapshot is the newest, or the next one was made from it.

    Otherwise others have committed several times since its base was read, and gc has deleted a snapshot of the same
    number: the new one is in a gap, and no reader sees it.
    """
    if max(snapshot_numbers(storage), default=0) <= number:
        return True
    with suppress(DamagedStore, FileNotFoundError):
        return read_sealed(storage, store_uuid, number + 1)[1].base == sha256
    return False


def make_snapshot_durable(storage: Storage, number: int) -> None:
    """Force a snapshot to disk: its writer may have died before it did so."""
    if not number:
        return
    try:
        storage.make_durable(keys.snapshot_key(number))
    except StoreError as error:
        # If gc has deleted it since it was read, there is a newer one.
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
