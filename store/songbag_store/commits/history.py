"""The past of a store: its snapshots with what each changed, and the tags that pin some of them."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.commits.snapshots import snapshot_key, snapshot_numbers
from songbag_store.errors import DamagedStore
from songbag_store.format.sealed import Sealed
from songbag_store.storage.storage import Storage


@dataclasses.dataclass(frozen=True, slots=True)
class Tag:
    """A name that pins a snapshot against deletion.

    Attributes
    ----------
    name : str
        Its name.
    snapshot : int or None
        What it pins; None if its file is damaged and nobody can tell.
    """

    name: str
    snapshot: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """One snapshot as the history shows it.

    Attributes
    ----------
    snapshot : int
        Its number.
    committed_at : datetime or None
        When, by the clock of whoever committed it; None if the file is damaged.
    n_songs, n_failed : int
        Songs with features, and songs that failed.
    change : str
        What the commit did; for a damaged file, what is wrong with it.
    fragments : frozenset of str
        Fragments and parts that its rows point at.
    whole : bool
        Whether the file is what was written.
    """

    snapshot: int
    committed_at: datetime | None
    n_songs: int
    n_failed: int
    change: str
    fragments: frozenset[str]
    whole: bool = True


def read_tags(storage: Storage) -> list[Tag]:
    """Return all tags by name; one whose file is damaged too, for what it pinned must not be forgotten."""
    tags = []
    for entry in storage.entries("tags"):
        name = entry.key.removeprefix("tags/").removesuffix(".json")
        tags.append(Tag(name, _pinned(storage, entry.key)))
    return sorted(tags, key=lambda tag: tag.name)


def _pinned(storage: Storage, key: str) -> int | None:
    try:
        snapshot = json.loads(storage.get(key))["snapshot"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return snapshot if isinstance(snapshot, int) and snapshot >= 0 else None


def read_events(storage: Storage, store_uuid: str) -> list[Event]:
    """Return every snapshot, oldest first; a damaged one is listed as such and hides no other."""
    return [event for number in snapshot_numbers(storage) if (event := _read_event(storage, store_uuid, number))]


def _read_event(storage: Storage, store_uuid: str, number: int) -> Event | None:
    key = snapshot_key(number)
    try:
        data = storage.get(key)
    except FileNotFoundError:
        return None  # collected since the listing
    try:
        sealed = Sealed(data, key=key, place=storage.location)
        if sealed.facts.get("store") != store_uuid or sealed.facts.get("snapshot") != number:
            raise DamagedStore("belongs to another store or bears another number", key=key, place=storage.location)
        return _event(number, sealed.read(["status", "fragment"]), sealed.facts)
    except DamagedStore as error:
        return Event(number, None, 0, 0, error.what, frozenset(), whole=False)


def _event(number: int, rows: pa.Table, facts: dict[str, Any]) -> Event:
    n_songs = pc.sum(pc.equal(rows["status"], "ok")).as_py() or 0
    return Event(
        snapshot=number,
        committed_at=_time(facts.get("committed_at")),
        n_songs=n_songs,
        n_failed=rows.num_rows - n_songs,
        change=str(facts.get("change", "")),
        fragments=frozenset(pc.unique(rows["fragment"]).to_pylist()),
    )


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return None


def history_table(storage: Storage, store_uuid: str) -> pa.Table:
    """Return the history, newest first, as a table: snapshot, time, songs, failed, what changed, tags."""
    names: dict[int | None, list[str]] = {}
    for tag in read_tags(storage):
        names.setdefault(tag.snapshot, []).append(tag.name)
    events = read_events(storage, store_uuid)
    before = [0, *(event.n_songs for event in events)]
    rows = [
        {
            "snapshot": event.snapshot,
            "committed_at": event.committed_at,
            "songs": event.n_songs if event.whole else None,
            "more": event.n_songs - n_before if event.whole else None,
            "failed": event.n_failed if event.whole else None,
            "change": event.change,
            "tags": ", ".join(names.get(event.snapshot, [])),
        }
        for event, n_before in zip(events, before, strict=False)
    ]
    return pa.Table.from_pylist(rows[::-1], schema=_HISTORY)


_HISTORY = pa.schema(
    [
        ("snapshot", pa.int64()),
        ("committed_at", pa.timestamp("us", tz="UTC")),
        ("songs", pa.int64()),
        ("more", pa.int64()),
        ("failed", pa.int64()),
        ("change", pa.string()),
        ("tags", pa.string()),
    ]
)
