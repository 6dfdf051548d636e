"""A batch of songs: what one Dask task does on a worker, from files to a durable part."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

import songbag_store
from songbag_pipeline.errors import SongError
from songbag_pipeline.run.tags import tag_fields
from songbag_pipeline.run.tally import Teller
from songbag_pipeline.songs.containment import ContainedReader, Containment, contained_reader
from songbag_pipeline.songs.facts import SongFacts
from songbag_pipeline.sources.bucket import LocalCopies
from songbag_pipeline.sources.excerpts import excerpts_of
from songbag_store import FeatureSpec
from songbag_store.commits.parts import write_part
from songbag_store.format.facts import ObjectFacts
from songbag_store.format.index import END, OWN_FIELDS, REPLACES, START, index_schema, user_fields
from songbag_store.storage.location import Location
from songbag_store.windows.spill import WindowSpill
from songbag_store.windows.writer import write_fragment

_PACKAGES = ("numpy", "scipy", "soundfile", "soxr", "av", "zarr", "pyarrow", "dask", "distributed")


def software() -> dict[str, str]:
    """Return the versions that must be the same on every worker: they decide feature bytes, or talk to each other."""
    ours = {"Python": ".".join(platform.python_version_tuple()[:2]), "songbag": songbag_store.__version__}
    return ours | {name: importlib.metadata.version(name) for name in _PACKAGES}


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """What a worker must know of the run, and must have. It is small and travels with every task."""

    store: Location
    store_uuid: str
    spec: FeatureSpec
    run_id: str
    containment: Containment = Containment()  # noqa: RUF009 (frozen)
    source_options: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """How to reach songs in object stores. It may hold credentials, so it is never shown."""
    song: str | None = None
    """An audio file that the coordinator can read; the workers must be able to read it too."""
    versions: Mapping[str, str] = dataclasses.field(default_factory=software)
    fragment_bytes: int = 384 << 20
    """Size of the windows, before compression, at which a fragment ends."""
    tags: tuple[str, ...] = ()
    """Tags of the songs that become columns."""
    tries_features: bool = False
    """Whether a worker has to compute features of noise before the first song: its machine may lack a module."""
    tell_every_s: float = 1.0
    """Least time between two messages of a worker about its batch."""


def run_batch(job: Job, songs: pa.Table) -> dict[str, pa.Table]:
    """Compute a batch and make it durable.

    Parameters
    ----------
    job : Job
        The run.
    songs : pyarrow.Table
        As `songbag_pipeline.run.plan.Plan.todo`.

    Returns
    -------
    rows : dict of str to pyarrow.Table
        Index rows, ok and failed, with the column `replaces`, by the name of their fragment and part. There is one
        fragment, or several if the batch is far larger than expected.
    """
    done: dict[str, pa.Table] = {}
    n_done = 0
    teller = Teller(job.run_id, job.tell_every_s)
    with contained_reader(job.containment) as reader:
        while n_done < songs.num_rows:
            done |= _run_fragment(job, songs.slice(n_done), reader, teller)
            n_done = sum(rows.num_rows for rows in done.values())
    return done


def _run_fragment(job: Job, songs: pa.Table, reader: ContainedReader, teller: Teller) -> dict[str, pa.Table]:
    """Compute songs, the first ones first, until the fragment is large enough."""
    fragment, facts = uuid.uuid4().hex, list[dict[str, Any]]()
    with WindowSpill(job.spec) as spill, LocalCopies(job.source_options) as copies:
        for path, excerpt in zip(songs["path"].to_pylist(), excerpts_of(songs), strict=True):
            start = spill.n_windows
            song = reader.read(path, spill, copies, excerpt)
            teller.count(song)
            facts.append(dataclasses.asdict(song) | song.tags | {"row_start": start if song.status == "ok" else None})
            if spill.n_windows * job.spec.window_bytes >= job.fragment_bytes:
                break
        objects = write_fragment(job.store.storage(), fragment, job.spec, spill) if spill.n_windows else {}
    return _write_part(job, songs.slice(0, len(facts)), fragment, facts, objects)


def fail_batch(job: Job, songs: pa.Table, reason: SongError) -> dict[str, pa.Table]:
    """Record songs as failed that killed every worker; returns what `run_batch` does."""
    # Size and time are those that the plan saw: a file that stays as it is will not be tried again.
    seen = songs.select(["file_bytes", "modified_at"]).to_pylist()
    failed = SongFacts.of_failure(reason)
    return _write_part(job, songs, uuid.uuid4().hex, [dataclasses.asdict(failed) | file for file in seen], {})


def _write_part(
    job: Job, songs: pa.Table, fragment: str, facts: list[dict[str, Any]], objects: Mapping[str, ObjectFacts]
) -> dict[str, pa.Table]:
    """Create the part of a fragment; return its rows by the fragment's name."""
    of_run = {"fragment": fragment, "run_id": job.run_id, "extracted_at": datetime.now(UTC)}
    user, tags = user_fields(songs.schema), tag_fields(job.tags)
    given = ["song_id", "path", START, END, *(field.name for field in user)]
    own = pa.schema([*tags, *(field for field in OWN_FIELDS if field.name not in given)])
    schema = index_schema([*user, *tags])
    computed = pa.Table.from_pylist([song | of_run for song in facts], schema=own)
    columns = {name: (songs if name in given else computed)[name] for name in schema.names}
    rows = pa.table(columns).cast(schema).append_column(REPLACES, songs[REPLACES])
    write_part(job.store.storage(), job.store_uuid, job.spec, fragment, rows, objects)
    return {fragment: rows}
