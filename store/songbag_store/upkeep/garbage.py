"""Garbage: what no snapshot that is kept can reach, and that is old by the store's own clocks.

docs/decisions/0020-what-gc-may-delete.md has the reasoning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from songbag_store.commits.history import Event, read_events, read_tags
from songbag_store.commits.parts import finished_parts
from songbag_store.errors import DamagedStore
from songbag_store.format import keys
from songbag_store.storage.storage import Storage, StoredObject, create_once
from songbag_store.store import SongStore, StoreLike
from songbag_store.writer import commit_parts

_NEWEST_KEPT = 10
_KEPT_FOR = timedelta(days=30)
_YOUNG = timedelta(days=7)


@dataclasses.dataclass(frozen=True, slots=True)
class Garbage:
    """What may be deleted.

    Attributes
    ----------
    snapshots : tuple of int
        Snapshots that are neither among the newest, nor young, nor tagged.
    objects : tuple of StoredObject
        Their files, and the objects of fragments, parts and half-written files that nothing reaches.
    n_young : int
        Objects that nothing reaches either, kept because they are young.
    """

    snapshots: tuple[int, ...]
    objects: tuple[StoredObject, ...]
    n_young: int

    @property
    def n_bytes(self) -> int:
        """Size of what may be deleted."""
        return sum(entry.n_bytes for entry in self.objects)


def gc(store: StoreLike, *, yes: bool = False) -> Garbage:
    """Delete what no kept snapshot reaches, or only say what that is.

    Kept are the last 10 snapshots, every tagged one and all of the last 30 days. Nothing younger than 7 days goes.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store.
    yes : bool
        Delete; without it nothing is touched.

    Returns
    -------
    garbage : Garbage
        What was deleted, or would be.

    Raises
    ------
    DamagedStore
        If a snapshot or a tag cannot be read: what it reaches is unknown, so that nothing may go.
    """
    opened = SongStore.open(store)
    return _collect(opened) if yes else _find_garbage(opened)


def _find_garbage(store: SongStore) -> Garbage:
    now = _Clocks(datetime.now(UTC), _stamp_of_now(store.inside.storage))
    # Listed before the snapshots are read: what is written meanwhile is not in question.
    listed = {entry.key: entry for entry in store.inside.storage.entries("")}
    events = read_events(store.inside.storage, store.uuid)
    kept = _kept(events, _tagged(store.inside.storage), listed, now)
    dropped = tuple(event.snapshot for event in events if event not in kept)
    objects, n_young = _unreached(store, kept, listed, now)
    return Garbage(dropped, (*(listed[keys.snapshot_key(number)] for number in dropped), *objects), n_young)


def _collect(store: SongStore) -> Garbage:
    """Delete what nothing reaches and what is old; return what that was.

    Parts that a run finished and did not commit are taken into the index first, as the next extract would do.
    Snapshots go first, then what none of those left reaches: a snapshot that was pinned at that moment is put back,
    and keeps what it reaches.
    """
    parts, _ = finished_parts(store.inside.storage, store.uuid, store.spec, store.inside.state.parts)
    store = commit_parts(store, parts)
    garbage = _find_garbage(store)
    dropped = {number for number in garbage.snapshots if _drop(store.inside.storage, number)}
    now = _Clocks(datetime.now(UTC), _stamp_of_now(store.inside.storage))
    listed = {entry.key: entry for entry in store.inside.storage.entries("")}
    objects, n_young = _unreached(store, read_events(store.inside.storage, store.uuid), listed, now)
    # A part goes before its fragment, so that nobody takes in a part whose windows are gone.
    for entry in sorted(objects, key=lambda entry: (entry.key.startswith(keys.ARRAYS), entry.key)):
        store.inside.storage.delete(entry.key)
    files = tuple(entry for entry in garbage.objects if entry.key in {keys.snapshot_key(number) for number in dropped})
    return Garbage(tuple(sorted(dropped)), (*files, *objects), n_young)


def _drop(storage: Storage, number: int) -> bool:
    """Delete a snapshot's file; put it back where a tag pins it by now, and tell whether it is gone.

    Whoever pins a snapshot looks for its file after that (`SongStore.tag`): either the tag is seen here, or its maker
    sees that the snapshot is gone.
    """
    key = keys.snapshot_key(number)
    data = storage.get(key)
    storage.delete(key)
    if number not in _tagged(storage):
        return True
    create_once(storage, key, data)
    return False


def _unreached(
    store: SongStore, kept: list[Event], listed: dict[str, StoredObject], now: _Clocks
) -> tuple[list[StoredObject], int]:
    """Return the old objects of fragments, parts and half-written files that no kept snapshot reaches.

    And the number of the young ones.
    """
    _refuse_damage(kept, store.address)
    # Finished work that no snapshot has taken in yet is the next run's to adopt, however old.
    waiting, _ = finished_parts(store.inside.storage, store.uuid, store.spec, store.inside.state.parts)
    reached = frozenset().union(*(event.fragments for event in kept), waiting)
    unreached = [entry for entry in listed.values() if (name := keys.owner_of(entry.key)) and name not in reached]
    groups: dict[str, list[StoredObject]] = {}
    for entry in [*unreached, *store.inside.storage.leftovers()]:
        groups.setdefault(keys.owner_of(entry.key) or entry.key, []).append(entry)
    old = [group for group in groups.values() if all(now.is_old(entry, _YOUNG) for entry in group)]
    return [entry for group in old for entry in group], sum(map(len, groups.values())) - sum(map(len, old))


@dataclasses.dataclass(frozen=True, slots=True)
class _Clocks:
    """Two clocks, each compared with itself alone: the writers' (in the facts) and the storage's (in its listings)."""

    writers: datetime
    storage: datetime | None

    def is_old(self, entry: StoredObject, age: timedelta) -> bool:
        known = self.storage is not None and entry.stamped_at is not None
        return known and self.storage - entry.stamped_at > age  # type: ignore[operator]

    def is_older(self, event: Event, entry: StoredObject, age: timedelta) -> bool:
        said = event.committed_at is not None and self.writers - event.committed_at > age
        return said and self.is_old(entry, age)


def _stamp_of_now(storage: Storage) -> datetime | None:
    """Ask the storage what time it is: by the stamp of an object made at this moment."""
    key = keys.scratch_key("clock")
    storage.create(key, b"what time is it?")
    try:
        return next((entry.stamped_at for entry in storage.entries(keys.PARTS) if entry.key == key), None)
    finally:
        storage.delete(key)


def _tagged(storage: Storage) -> set[int]:
    tags = read_tags(storage)
    broken = [tag.name for tag in tags if tag.snapshot is None]
    if broken:
        raise DamagedStore(
            "is damaged, so that the snapshot it pins is unknown",
            key=keys.tag_key(broken[0]),
            place=storage.address,
            remedy="Nothing was deleted. Restore the tag's file from a copy, or delete it if it is not needed.",
        )
    return {tag.snapshot for tag in tags if tag.snapshot is not None}


def _kept(events: list[Event], tagged: set[int], listed: dict[str, StoredObject], now: _Clocks) -> list[Event]:
    kept = []
    for position, event in enumerate(reversed(events)):
        # One committed since the listing is the newest of all.
        entry = listed.get(keys.snapshot_key(event.snapshot))
        old = entry is not None and now.is_older(event, entry, _KEPT_FOR)
        if position < _NEWEST_KEPT or event.snapshot in tagged or not old:
            kept.append(event)
    return kept


def _refuse_damage(kept: Iterable[Event], place: str) -> None:
    for event in kept:
        if not event.whole:
            raise DamagedStore(
                f"{event.change}, so that what it reaches is unknown",
                key=keys.snapshot_key(event.snapshot),
                place=place,
                remedy="Nothing was deleted. Restore the file from a copy; `songbag history` shows the others.",
            )
