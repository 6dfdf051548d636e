"""Stores as they would be some days later: the stamps of real files, and hand-made snapshots."""

from __future__ import annotations

import dataclasses
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from songbag_store import SongStore
from songbag_store.format.facts import SnapshotFacts
from songbag_store.format.keys import snapshot_key
from songbag_store.format.sealed import seal


def sealed_days_ago(store: SongStore, number: int, days: float, **more: Any) -> bytes:
    """Return a snapshot of this index as it would have been written some days ago."""
    facts = SnapshotFacts(
        store=store.uuid,
        snapshot=number,
        token="",
        parts=sorted(store.inside.state.parts),
        committed_at=(datetime.now(UTC) - timedelta(days=days)).isoformat(),
        change="extract",
        **more,
    )
    return seal(store.index(arrow=True), dataclasses.asdict(facts))


def commit_days_ago(store: SongStore, days: float, n: int = 1, **more: Any) -> SongStore:
    """Commit the same index again, as if that had been some days ago; `more` are facts of the snapshots."""
    for _ in range(n):
        number = store.snapshots()[-1] + 1
        store.inside.storage.create(snapshot_key(number), sealed_days_ago(store, number, days, **more))
    return store.at()


def stamp_days_ago(store: SongStore, days: float, pattern: str = "**/*") -> None:
    """Give files the stamps of some days ago."""
    then = datetime.now(UTC).timestamp() - days * 86400
    for path in Path(store.address).glob(pattern):
        os.utime(path, (then, then))


def rewrite_as_old(store: SongStore, numbers: list[int]) -> None:
    """Put the same snapshots in place as if committed 60 days ago."""
    for number in numbers:
        snapshot = SongStore.open(store.address, snapshot=number)
        Path(store.address, snapshot_key(number)).write_bytes(sealed_days_ago(snapshot, number, 60))
    stamp_days_ago(store, 100)
