"""`gc`: old objects that no kept snapshot reaches are deleted. docs/decisions/0020-what-gc-may-delete.md says why."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import pyarrow as pa

from songbag_store.commits.history import Event, Tag, read_events, read_tags
from songbag_store.commits.parts import finished_parts
from songbag_store.errors import DamagedStore, StoreError, UsageError
from songbag_store.format import keys
from songbag_store.storage.storage import Storage, StoredObject, create_once
from songbag_store.store import SongStore, StoreLike
from songbag_store.words import did_you_mean
from songbag_store.writer import commit_parts

_NEWEST_KEPT = 10
_KEPT_FOR = timedelta(days=30)
_YOUNG = timedelta(days=7)

Clocks: TypeAlias = tuple[datetime | None, ...]
"""The present time by the clock of this machine and, if something is to be deleted, by that of the storage."""


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


def gc(store: StoreLike, *, release: Collection[str] = (), yes: bool = False) -> Garbage:
    """Delete what no kept snapshot reaches, or only return what that is.

    The last 10 snapshots, every tagged one and all of the last 30 days are kept, and so is all that is younger than 7
    days. Of the snapshots that a run of `songbag extract` committed only the last counts, once the run has ended.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store.
    release : collection of str
        Tags that are not needed any more; `songbag history` lists those of runs that are gone. They are deleted first.
    yes : bool
        Delete; without it, nothing is written at all, and a store that cannot be written will do.

    Returns
    -------
    garbage : Garbage
        What was deleted, or what would be.

    Raises
    ------
    UsageError
        If there is no tag of a name in `release`.
    DamagedStore
        If a snapshot or a tag cannot be read: what it reaches is unknown, so nothing is deleted.
    StoreError
        If a listing failed, or lacks a snapshot that must be there: nothing is deleted.
    """
    store = SongStore.open(store)
    storage = store.inside.storage
    if yes:
        # The next extract would take these parts into the index too.
        store = commit_parts(store, _waiting_parts(store, adopt=True))
    clocks = (datetime.now(UTC), *([_stamp_of_now(storage)] if yes else []))
    found = _survey(store, release)
    needed = {store.snapshot, *_pinned(found.tags, storage.address)}
    _require_all(needed, found, storage.address)
    # With `yes` the waiting parts are one more snapshot by now.
    n_newest = _NEWEST_KEPT - (not yes and bool(found.waiting))
    dropped = [number for number in _spent(found, n_newest, clocks) if number not in needed]
    if yes:
        for name in release:
            storage.delete(keys.tag_key(name))
        # Snapshots go first. One that was pinned at that moment is put back, and keeps what it reaches.
        dropped = [number for number in dropped if _drop(storage, number)]
    objects, n_young = _unreached(found, frozenset(dropped), clocks)
    if yes:
        # A part goes before its fragment, so that no run takes in a part whose windows are gone.
        for entry in sorted(objects, key=lambda entry: (entry.key.startswith(keys.ARRAYS), entry.key)):
            storage.delete(entry.key)
    return Garbage(tuple(dropped), (*(found.listed[keys.snapshot_key(n)] for n in dropped), *objects), n_young)


@dataclasses.dataclass(frozen=True, slots=True)
class _Survey:
    """What is in a store, read before anything is deleted."""

    listed: dict[str, StoredObject]
    leftovers: list[StoredObject]
    tags: list[Tag]
    events: list[Event]
    waiting: frozenset[str]

    @property
    def numbers(self) -> set[int]:
        """The snapshots in the listing of everything."""
        return {number for key in self.listed if (number := keys.snapshot_number(key)) is not None}


def _survey(store: SongStore, release: Collection[str]) -> _Survey:
    storage = store.inside.storage
    # Listed before the snapshots are read: what is written after the listing is not judged.
    listed = {entry.key: entry for entry in storage.entries("")}
    tags, events = _tags_without(storage, release), _events(store)
    return _Survey(listed, storage.leftovers(), tags, events, frozenset(_waiting_parts(store, adopt=False)))


def _waiting_parts(store: SongStore, *, adopt: bool) -> dict[str, pa.Table]:
    """Return the parts that a run finished and no snapshot has taken in yet."""
    inside = store.inside
    return finished_parts(inside.storage, store.uuid, store.spec, inside.state.parts, adopt=adopt)[0]


def _require_all(needed: set[int], found: _Survey, address: str) -> None:
    """Refuse to go on if a snapshot that must be there is not in both listings: they may lack other things too."""
    # 0 is the state before the first commit, which has no file.
    lacking = (needed | found.numbers) - {0} - (found.numbers & {event.snapshot for event in found.events})
    if lacking:
        number, remedy = min(lacking), "Nothing was deleted. Run the same command again."
        pin = next((tag.name for tag in found.tags if tag.snapshot == number), None)
        if pin:
            remedy += f" If the snapshot is really gone, take its tag away: `release='{pin}'`."
        what = f"a listing lacks snapshot {number}, which {f'the tag {pin!r} pins' if pin else 'was there before'}"
        raise StoreError(what, place=address, remedy=remedy)


def _spent(found: _Survey, n_newest: int, clocks: Clocks) -> list[int]:
    """Return the snapshots that are not needed, if they are not tagged.

    They are all but the last of a run that has ended, and of the others those that are old and not among the newest.
    """
    events, listed = found.events, found.listed
    last = {event.run: event for event in events if event.run}
    # A run that was killed does not say that it ended.
    ended = {event.run for event in events if event.ended}
    ended |= {run for run, event in last.items() if _is_old(event, listed, _YOUNG, clocks)}
    inner = {event.snapshot for event in events if event.run in ended and event is not last[event.run]}
    others = [event for event in events if event.snapshot not in inner]
    old = [event for event in others[:-n_newest] if _is_old(event, listed, _KEPT_FOR, clocks)]
    return sorted(inner.union(event.snapshot for event in old))


def _drop(storage: Storage, number: int) -> bool:
    """Delete a snapshot's file, but put it back if a tag pins it now; return whether it is gone."""
    key = keys.snapshot_key(number)
    try:
        data = storage.get(key)
    except FileNotFoundError:
        return False  # another gc was faster
    storage.delete(key)
    is_pinned = True
    try:
        # `SongStore.tag` looks for the snapshot's file after it has written the tag. So either the tag is seen here,
        # or the writer of the tag sees that the snapshot is gone.
        is_pinned = number in _pinned(read_tags(storage), storage.address)
    finally:
        if is_pinned:  # or unknown, if the tags could not be listed
            create_once(storage, key, data)
    return not is_pinned


def _unreached(found: _Survey, dropped: frozenset[int], clocks: Clocks) -> tuple[list[StoredObject], int]:
    """Return the old objects that no kept snapshot reaches, and the number of the young ones."""
    kept = (event.fragments for event in found.events if event.snapshot not in dropped)
    # The next run takes in finished parts that no snapshot has, however old they are.
    reached = found.waiting.union(*kept)
    unreached = [entry for entry in found.listed.values() if (name := keys.owner_of(entry.key)) and name not in reached]
    groups: dict[str, list[StoredObject]] = {}
    for entry in [*unreached, *found.leftovers]:
        groups.setdefault(keys.owner_of(entry.key) or entry.key, []).append(entry)
    old = [group for group in groups.values() if all(_is_older(entry.stamped_at, _YOUNG, clocks) for entry in group)]
    return [entry for group in old for entry in group], sum(map(len, groups.values())) - sum(map(len, old))


def _is_older(stamp: datetime | None, age: timedelta, clocks: Clocks) -> bool:
    """Compare a stamp with the present time by every clock; an unknown time is not old."""
    return stamp is not None and all(now is not None and now - stamp > age for now in clocks)


def _stamp_of_now(storage: Storage) -> datetime | None:
    """Return the time by the storage's clock: the stamp of an object that is made now."""
    key = keys.scratch_key("clock")
    storage.create(key, b"what time is it?")
    try:
        return next((entry.stamped_at for entry in storage.entries(keys.PARTS) if entry.key == key), None)
    finally:
        storage.delete(key)


def _tags_without(storage: Storage, release: Collection[str]) -> list[Tag]:
    """Return the tags that are not to be released."""
    tags = read_tags(storage)
    if unknown := sorted(set(release) - {tag.name for tag in tags}):
        remedy = f"{did_you_mean(unknown[0], [tag.name for tag in tags])} `songbag history` lists the tags.".strip()
        raise UsageError(f"there is no tag {unknown[0]!r} in the store", place="release", remedy=remedy)
    return [tag for tag in tags if tag.name not in release]


def _pinned(tags: list[Tag], address: str) -> set[int]:
    pinned = set()
    for tag in tags:
        if tag.snapshot is None:
            what = "is damaged, so the snapshot it pins is unknown"
            remedy = f"Restore the tag's file from a copy, or release it if it is not needed: `release='{tag.name}'`."
            raise DamagedStore(what, key=keys.tag_key(tag.name), place=address, remedy=remedy)
        pinned.add(tag.snapshot)
    return pinned


def _is_old(event: Event, listed: dict[str, StoredObject], age: timedelta, clocks: Clocks) -> bool:
    """Return whether a snapshot is old, by the clock of the storage and by that of the writers."""
    # A snapshot that was committed after the listing is young.
    entry = listed.get(keys.snapshot_key(event.snapshot))
    stamp = None if entry is None else entry.stamped_at
    return _is_older(stamp, age, clocks) and _is_older(event.committed_at, age, clocks[:1])


def _events(store: SongStore) -> list[Event]:
    """Return every snapshot; refuse to go on if one is damaged."""
    events = read_events(store.inside.storage, store.uuid)
    for event in events:
        if not event.whole:
            what, key = f"{event.change}, so what it reaches is unknown", keys.snapshot_key(event.snapshot)
            remedy = "Restore the file from a copy; `songbag history` shows the others."
            raise DamagedStore(what, key=key, place=store.address, remedy=remedy)
    return events
