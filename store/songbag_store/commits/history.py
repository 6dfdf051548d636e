"""The past of a store: its snapshots with what each changed, and the tags that pin some of them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.commits.snapshots import read_sealed, snapshot_numbers
from songbag_store.errors import DamagedStore
from songbag_store.format import keys
from songbag_store.format.facts import SnapshotFacts, TagFacts
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
    tags = (Tag(keys.tag_name(entry.key), _pinned(storage, entry.key)) for entry in storage.entries(keys.TAGS))
    return sorted(tags, key=lambda tag: tag.name)


def _pinned(storage: Storage, key: str) -> int | None:
    try:
        return TagFacts.from_json(storage.get(key)).snapshot
    except ValueError:
        return None


def read_events(storage: Storage, store_uuid: str) -> list[Event]:
    """Return every snapshot, oldest first; a damaged one is listed as such and hides no other."""
    return [event for number in snapshot_numbers(storage) if (event := _read_event(storage, store_uuid, number))]


def _read_event(storage: Storage, store_uuid: str, number: int) -> Event | None:
    try:
        sealed, facts = read_sealed(storage, store_uuid, number)
        return _event(facts, sealed.read(["status", "fragment"]))
    except FileNotFoundError:
        return None  # collected since the listing
    except DamagedStore as error:
        return Event(number, None, 0, 0, error.what, frozenset(), whole=False)


def _event(facts: SnapshotFacts, rows: pa.Table) -> Event:
    n_songs = pc.sum(pc.equal(rows["status"], "ok")).as_py() or 0
    return Event(
        snapshot=facts.snapshot,
        committed_at=datetime.fromisoformat(facts.committed_at).astimezone(UTC),
        n_songs=n_songs,
        n_failed=rows.num_rows - n_songs,
        change=facts.change,
        fragments=frozenset(pc.unique(rows["fragment"]).to_pylist()),
    )


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
