"""What is in a store: `info`, `history` and `failures`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, overload

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.commits.history import history_table
from songbag_store.format.failure_codes import remedy_for
from songbag_store.format.index import user_fields
from songbag_store.format.spec import FeatureSpec
from songbag_store.sql.output import bytes_text
from songbag_store.store import SongStore, StoreLike
from songbag_store.terminal import plain_name, plain_text
from songbag_store.upkeep.classes import class_counts
from songbag_store.upkeep.notes import n_noted
from songbag_store.upkeep.sound import describe_sound, sound_counts
from songbag_store.words import counted
from songbag_store.writer import open_identity

if TYPE_CHECKING:
    import pandas as pd


def info(store: StoreLike) -> dict[str, Any]:
    """Return songs, windows, hours, bytes, sound, classes, spec and snapshots of a store, as JSON types."""
    store = SongStore.open(store)
    own = user_fields(store.inside.state.content.schema)
    songs = store.inside.songs(["n_windows", "duration_s", "truncated", "padded", *(field.name for field in own)])
    objects = store.inside.storage.entries("")
    return {
        "location": store.address,
        "uuid": store.uuid,
        "snapshot": store.snapshot,
        "snapshots": store.snapshots(),
        "songs": songs.num_rows,
        "failed": store.inside.state.content.n_rows - songs.num_rows,
        "windows": _sum(songs["n_windows"]),
        "hours": round(_sum(songs["duration_s"]) / 3600, 4),
        "truncated": _sum(songs["truncated"]),
        "padded": _sum(songs["padded"]),
        "bytes": sum(entry.n_bytes for entry in objects),
        "objects": len(objects),
        "sound": sound_counts(store.inside.state.content),
        "noted": n_noted(store.inside.state.content),
        "columns": [field.name for field in own],
        "column_types": {field.name: str(field.type) for field in own},
        "classes": {field.name: counts for field in own if (counts := class_counts(songs[field.name]))},
        "spec": store.spec.to_dict(),
        "fingerprint": store.spec.fingerprint,
    }


@overload
def history(store: StoreLike, *, arrow: Literal[False] = ...) -> pd.DataFrame: ...


@overload
def history(store: StoreLike, *, arrow: Literal[True]) -> pa.Table: ...


def history(store: StoreLike, *, arrow: bool = False) -> pd.DataFrame | pa.Table:
    """Return the snapshots of a store, newest first: number, time, songs, how many more, failed, change, tags."""
    # This reads one snapshot after the other, so the index of the newest need not be opened.
    opened = store if isinstance(store, SongStore) else open_identity(store)
    table = history_table(opened.inside.storage, opened.uuid)
    return table if arrow else table.to_pandas()


@overload
def failures(store: StoreLike, *, arrow: Literal[False] = ...) -> pd.DataFrame: ...


@overload
def failures(store: StoreLike, *, arrow: Literal[True]) -> pa.Table: ...


def failures(store: StoreLike, *, arrow: bool = False) -> pd.DataFrame | pa.Table:
    """Return the songs that failed: `song_id`, `error_code`, `error` (the reason) and `remedy` (what to do)."""
    columns = ["song_id", "error_code", "error"]
    rows = SongStore.open(store).index([*columns, "status"], arrow=True)
    failed = rows.filter(pc.equal(rows["status"], "failed")).select(columns)
    failed = failed.sort_by([("error_code", "ascending"), ("song_id", "ascending")])
    remedies = [remedy_for(code) for code in failed["error_code"].to_pylist()]
    table = failed.append_column("remedy", pa.array(remedies, pa.string()))
    return table if arrow else table.to_pandas()


def failures_text(table: pa.Table) -> str:
    """Return failed songs as text: each code with its remedy, each song with its reason."""
    if table.num_rows == 0:
        return "No song failed."
    lines = []
    for code, rows in groupby(table.to_pylist(), itemgetter("error_code")):
        songs = list(rows)
        lines.append(f"{code} ({len(songs)}): {songs[0]['remedy']}")
        lines += [f"  {plain_text(song['song_id'])}: {plain_text(song['error'])}" for song in songs]
    return "\n".join(lines)


def _sum(column: pa.ChunkedArray) -> Any:
    return pc.sum(column).as_py() or 0


def describe(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what `info` returned, as names and values to read."""
    spec = facts["spec"]
    yield "store", facts["location"]
    yield "songs", f"{facts['songs']:,} ({facts['failed']:,} more failed)" if facts["failed"] else f"{facts['songs']:,}"
    yield "audio", f"{facts['hours']:,.2f} hours"
    yield "windows", f"{facts['windows']:,} of {spec['window_s']:g} s every {spec['window_hop_s']:g} s"
    yield "features", FeatureSpec.from_dict(spec).in_words()
    yield "on disk", f"{bytes_text(facts['bytes'])} in {counted(facts['objects'], 'file')}"
    types = facts["column_types"]
    for column, counts in facts["classes"].items():
        is_text = "string" in types[column] or "bool" in types[column]
        shown = (f"{plain_name(name)}{' ' if is_text else ': '}{count:,}" for name, count in counts.items())
        yield column, f"{', '.join(shown)} ({types[column]})"
    if other := [name for name in facts["columns"] if name not in facts["classes"]]:
        yield "more columns", ", ".join(f"{name} ({types[name]})" for name in other)
    for flag in ("truncated", "padded"):
        if facts[flag]:
            yield flag, f"{counted(facts[flag], 'song')}"
    yield from describe_sound(facts["sound"])
    if facts["noted"]:
        yield "noted", f"{counted(facts['noted'], 'song')}; songbag failures gives the notes"
    numbers = facts["snapshots"]
    yield "snapshot", f"{facts['snapshot']} of {numbers[0]} to {numbers[-1]}" if numbers else "none yet"
    yield "fingerprint", facts["fingerprint"]
