"""A batch of songs: what one Dask task does on a worker, from files to a durable part."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from songbag_pipeline.errors import SongError
from songbag_pipeline.songs.containment import ContainedReader, Containment, contained_reader
from songbag_pipeline.songs.facts import SongFacts
from songbag_store import FeatureSpec
from songbag_store.commits.parts import write_part
from songbag_store.format.index import OWN_FIELDS, REPLACES, index_schema, user_fields
from songbag_store.storage.location import Location
from songbag_store.windows.spill import WindowSpill
from songbag_store.windows.writer import write_fragment

LARGEST_FRAGMENT_BYTES = 384 << 20
"""Windows before compression after which a fragment ends, and the next song begins another."""


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """What a worker must know of the run: small enough to travel with every task."""

    store: Location
    store_uuid: str
    spec: FeatureSpec
    run_id: str
    containment: Containment = Containment()  # noqa: RUF009 (frozen)
    source_options: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """How songs in object stores are reached. May hold credentials, so it is never shown."""


def run_batch(job: Job, songs: pa.Table) -> dict[str, pa.Table]:
    """Compute a batch and make it durable: as one fragment, or as several where it became far larger than expected.

    Parameters
    ----------
    job : Job
        The run.
    songs : pyarrow.Table
        As `songbag_pipeline.run.plan.Plan.todo`.

    Returns
    -------
    rows : dict of str to pyarrow.Table
        By the name of fragment and part: index rows, ok and failed, with the column `replaces`.
    """
    done: dict[str, pa.Table] = {}
    n_done = 0
    with contained_reader(job.containment) as reader:
        while n_done < songs.num_rows:
            fragment, rows = _run_fragment(job, songs.slice(n_done), reader)
            done[fragment] = rows
            n_done += rows.num_rows
    return done


def _run_fragment(job: Job, songs: pa.Table, reader: ContainedReader) -> tuple[str, pa.Table]:
    """Do songs from the first on, until all are done or the fragment is large enough."""
    storage = job.store.storage()
    fragment = uuid.uuid4().hex
    facts: list[SongFacts] = []
    starts: list[int | None] = []
    with WindowSpill(job.spec) as spill:
        for path in songs["path"].to_pylist():
            start = spill.n_windows
            song = reader.read(path, spill, job.source_options)
            facts.append(song)
            starts.append(start if song.status == "ok" else None)
            if spill.n_windows * job.spec.window_bytes >= LARGEST_FRAGMENT_BYTES:
                break
        objects = write_fragment(storage, fragment, job.spec, spill) if spill.n_windows else {}
    rows = _rows(job, songs.slice(0, len(facts)), fragment, facts, starts)
    write_part(storage, job.store_uuid, job.spec, fragment, rows, objects)
    return fragment, rows


def fail_batch(job: Job, songs: pa.Table, reason: SongError) -> dict[str, pa.Table]:
    """Record songs as failed that no worker survived; returns what `run_batch` does."""
    storage = job.store.storage()
    fragment = uuid.uuid4().hex
    facts = [SongFacts(status="failed", error_code=reason.code, error=reason.what) for _ in range(songs.num_rows)]
    rows = _rows(job, songs, fragment, facts, [None] * songs.num_rows)
    # What the plan saw of the file stands in for what no worker could report: unchanged, it is not tried again.
    for name in ("file_bytes", "modified_at"):
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), songs[name])
    write_part(storage, job.store_uuid, job.spec, fragment, rows, {})
    return {fragment: rows}


def _rows(job: Job, songs: pa.Table, fragment: str, facts: list[SongFacts], starts: list[int | None]) -> pa.Table:
    now = datetime.now(UTC)
    records: list[dict[str, Any]] = [
        dataclasses.asdict(song) | {"fragment": fragment, "row_start": start, "run_id": job.run_id, "extracted_at": now}
        for song, start in zip(facts, starts, strict=True)
    ]
    given = ("song_id", "path")
    computed = pa.Table.from_pylist(records, schema=pa.schema([f for f in OWN_FIELDS if f.name not in given]))
    user = user_fields(songs.schema)
    for field in [songs.schema.field(name) for name in given] + user:
        computed = computed.append_column(field, songs[field.name])
    schema = index_schema(user)
    return computed.select(schema.names).cast(schema).append_column(REPLACES, songs[REPLACES])
