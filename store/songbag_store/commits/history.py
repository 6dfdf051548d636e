"""The history of a store: its snapshots, and the tags that pin some of them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.commits.snapshots import read_sealed, snapshot_numbers
from songbag_store.errors import DamagedStore
from songbag_store.format import keys
from songbag_store.format.document import unseal_document
from songbag_store.format.facts import TagFacts
from songbag_store.storage.storage import Storage


@dataclasses.dataclass(frozen=True, slots=True)
class Tag:
    """A name that pins a snapshot against deletion.

    Attributes
    ----------
    name : str
        Its name.
    snapshot : int or None
        The snapshot that it pins; None if its file is damaged.
    sha256 : str
        Digest of the snapshot's file.
    said : dict
        What its maker says.
    is_sealed : bool
        Whether one changed bit of its file would be noticed; tags made before there were seals have none.
    """

    name: str
    snapshot: int | None
    sha256: str = ""
    said: dict[str, Any] = dataclasses.field(default_factory=dict)
    is_sealed: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """One snapshot as the history shows it.

    Attributes
    ----------
    snapshot : int
        Its number.
    committed_at : datetime or None
        Time of the commit, by the clock of its writer; None if the file is damaged.
    n_songs, n_failed : int
        Songs with features, and songs that failed.
    change : str
        What the commit did; for a damaged file, the damage.
    fragments : frozenset of str
        Fragments that its rows point at.
    whole : bool
        Whether the file is what was written.
    sha256 : str
        Digest of the file.
    run : str
        Run of `songbag extract` that committed it; empty for other commits.
    ended : bool
        Whether the run ended with it.
    """

    snapshot: int
    committed_at: datetime | None
    n_songs: int
    n_failed: int
    change: str
    fragments: frozenset[str]
    whole: bool = True
    sha256: str = ""
    run: str = ""
    ended: bool = False


def read_tags(storage: Storage) -> list[Tag]:
    """Return all tags by name, damaged ones too: gc must know that they pinned something."""
    tags = []
    for entry in storage.entries(keys.TAGS):
        name = keys.tag_name(entry.key)
        try:
            data = storage.get(entry.key)
            facts, (_, is_sealed) = TagFacts.from_json(data), unseal_document(data)
            tags.append(Tag(name, facts.snapshot, facts.sha256, facts.said, is_sealed))
        except FileNotFoundError:
            continue  # released since the listing
        except ValueError:
            tags.append(Tag(name, None))
    return sorted(tags, key=lambda tag: tag.name)


def read_events(storage: Storage, store_uuid: str) -> list[Event]:
    """Return every snapshot, oldest first, with one event for a damaged one too."""
    return [event for number in snapshot_numbers(storage) if (event := _read_event(storage, store_uuid, number))]


def _read_event(storage: Storage, store_uuid: str, number: int) -> Event | None:
    try:
        sealed, facts = read_sealed(storage, store_uuid, number)
        rows = sealed.read(["status", "fragment"])
    except FileNotFoundError:
        return None  # deleted by gc since the listing
    except DamagedStore as error:
        return Event(number, None, 0, 0, error.what, frozenset(), whole=False)
    n_songs = pc.sum(pc.equal(rows["status"], "ok")).as_py() or 0
    return Event(
        snapshot=number,
        committed_at=datetime.fromisoformat(facts.committed_at).astimezone(UTC),
        n_songs=n_songs,
        n_failed=rows.num_rows - n_songs,
        change=facts.change,
        fragments=frozenset(pc.unique(rows["fragment"]).to_pylist()),
        sha256=sealed.sha256,
        run=facts.run,
        ended=facts.ended,
    )


_HISTORY = pa.schema(
    [("snapshot", pa.int64()), ("committed_at", pa.timestamp("us", tz="UTC"))]
    + [(name, pa.int64()) for name in ("songs", "more", "failed")]
    + [(name, pa.string()) for name in ("change", "tags")]
)


def history_table(storage: Storage, store_uuid: str) -> pa.Table:
    """Return the history, newest first, as a table: snapshot, time, songs, failed, what changed, tags."""
    tags = read_tags(storage)
    rows: list[dict[str, Any]] = []
    n_before = 0
    for event in read_events(storage, store_uuid):
        names = ", ".join(tag.name for tag in tags if tag.snapshot == event.snapshot)
        counts = {"songs": event.n_songs, "more": event.n_songs - n_before, "failed": event.n_failed}
        row = {"snapshot": event.snapshot, "committed_at": event.committed_at, "change": event.change, "tags": names}
        rows.append(row | (counts if event.whole else {}))
        n_before = event.n_songs
    return pa.Table.from_pylist(rows[::-1], schema=_HISTORY)
