"""`gc`: old objects that no kept snapshot reaches are deleted. docs/decisions/0020-what-gc-may-delete.md says why."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pyarrow as pa

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
        Snapshots that are old, not tagged and not among the newest.
    objects : tuple of StoredObject
        Their files, and the objects of fragments, parts and half-written files that no snapshot reaches.
    n_young : int
        More such objects, which are kept because they are young.
    """

    snapshots: tuple[int, ...]
    objects: tuple[StoredObject, ...]
    n_young: int

    @property
    def n_bytes(self) -> int:
        """Size of what may be deleted."""
        return sum(entry.n_bytes for entry in self.objects)


def gc(store: StoreLike, *, yes: bool = False) -> Garbage:
    """Delete what no kept snapshot reaches, or only return what that is.

    The last 10 snapshots, every tagged one and all of the last 30 days are kept, and so is all that is younger than 7
    days.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store.
    yes : bool
        Delete; without it, nothing is changed.

    Returns
    -------
    garbage : Garbage
        What was deleted, or what would be.

    Raises
    ------
    DamagedStore
        If a snapshot or a tag cannot be read: what it reaches is unknown, so nothing is deleted.
    """
    store = SongStore.open(store)
    storage = store.inside.storage
    if yes:
        # The next extract would take these parts into the index too.
        store = commit_parts(store, _waiting_parts(store))
    now = _stamp_of_now(storage)
    # Listed before the snapshots are read: what is written after the listing is not judged.
    listed = {entry.key: entry for entry in storage.entries("")}
    events, tagged = _events(store), _tagged(storage)
    old = [event.snapshot for event in events[:-_NEWEST_KEPT] if _is_old(event, listed, now)]
    dropped = [number for number in old if number not in tagged]
    kept = [event for event in events if event.snapshot not in dropped]
    if yes:
        # Snapshots go first. One that was pinned at that moment is put back, and keeps what it reaches.
        dropped = [number for number in dropped if _drop(storage, number)]
        kept = _events(store)
    objects, n_young = _unreached(store, kept, listed, now)
    if yes:
        # A part goes before its fragment, so that no run takes in a part whose windows are gone.
        for entry in sorted(objects, key=lambda entry: (entry.key.startswith(keys.ARRAYS), entry.key)):
            storage.delete(entry.key)
    return Garbage(tuple(dropped), (*(listed[keys.snapshot_key(number)] for number in dropped), *objects), n_young)


def _waiting_parts(store: SongStore) -> dict[str, pa.Table]:
    """Return the parts that a run finished and no snapshot has taken in yet."""
    return finished_parts(store.inside.storage, store.uuid, store.spec, store.inside.state.parts)[0]


def _drop(storage: Storage, number: int) -> bool:
    """Delete a snapshot's file, but put it back if a tag pins it now; return whether it is gone."""
    key = keys.snapshot_key(number)
    data = storage.get(key)
    storage.delete(key)
    # `SongStore.tag` looks for the snapshot's file after it has written the tag. So either the tag is seen here, or
    # the writer of the tag sees that the snapshot is gone.
    if number not in _tagged(storage):
        return True
    create_once(storage, key, data)
    return False


def _unreached(
    store: SongStore, kept: list[Event], listed: dict[str, StoredObject], now: datetime | None
) -> tuple[list[StoredObject], int]:
    """Return the old objects that no kept snapshot reaches, and the number of the young ones."""
    # The next run takes in finished parts that no snapshot has, however old they are.
    reached = frozenset().union(*(event.fragments for event in kept), _waiting_parts(store))
    unreached = [entry for entry in listed.values() if (name := keys.owner_of(entry.key)) and name not in reached]
    groups: dict[str, list[StoredObject]] = {}
    for entry in [*unreached, *store.inside.storage.leftovers()]:
        groups.setdefault(keys.owner_of(entry.key) or entry.key, []).append(entry)
    old = [group for group in groups.values() if all(_is_older(entry.stamped_at, _YOUNG, now) for entry in group)]
    return [entry for group in old for entry in group], sum(map(len, groups.values())) - sum(map(len, old))


def _is_older(stamp: datetime | None, age: timedelta, now: datetime | None) -> bool:
    """Compare a stamp with the present time by the same clock; an unknown time is not old."""
    return stamp is not None and now is not None and now - stamp > age


def _stamp_of_now(storage: Storage) -> datetime | None:
    """Return the time by the storage's clock: the stamp of an object that is made now."""
    key = keys.scratch_key("clock")
    storage.create(key, b"what time is it?")
    try:
        return next((entry.stamped_at for entry in storage.entries(keys.PARTS) if entry.key == key), None)
    finally:
        storage.delete(key)


def _tagged(storage: Storage) -> set[int]:
    tagged = set()
    for tag in read_tags(storage):
        if tag.snapshot is None:
            what = "is damaged, so the snapshot it pins is unknown"
            remedy = "Nothing was deleted. Restore the tag's file from a copy, or delete it if it is not needed."
            raise DamagedStore(what, key=keys.tag_key(tag.name), place=storage.address, remedy=remedy)
        tagged.add(tag.snapshot)
    return tagged


def _is_old(event: Event, listed: dict[str, StoredObject], now: datetime | None) -> bool:
    """Return whether a snapshot is old, by the clock of the storage and by that of the writers."""
    # A snapshot that was committed after the listing is young.
    entry = listed.get(keys.snapshot_key(event.snapshot))
    stamp = None if entry is None else entry.stamped_at
    return _is_older(stamp, _KEPT_FOR, now) and _is_older(event.committed_at, _KEPT_FOR, datetime.now(UTC))


def _events(store: SongStore) -> list[Event]:
    """Return every snapshot; refuse to go on if one is damaged."""
    events = read_events(store.inside.storage, store.uuid)
    for event in events:
        if not event.whole:
            what, key = f"{event.change}, so what it reaches is unknown", keys.snapshot_key(event.snapshot)
            remedy = "Restore the file from a copy; `songbag history` shows the others."
            raise DamagedStore(what, key=key, place=store.address, remedy=remedy)
    return events
