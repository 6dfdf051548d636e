"""`compute_for`: features of songs that are handed on batch by batch, and are then forgotten."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from songbag_pipeline.run.batch import run_batch
from songbag_pipeline.run.config import ExtractConfig, selection_of
from songbag_pipeline.run.coordinator import Coordinator, job_of
from songbag_pipeline.run.shares import expected_s, shares
from songbag_pipeline.run.summary import RunProgress, Summary
from songbag_pipeline.run.work import Work
from songbag_pipeline.songs.containment import folders_of, modules_of, try_features
from songbag_pipeline.sources.listing import Source
from songbag_pipeline.sources.source import read_source
from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import finished_parts
from songbag_store.errors import Interrupted, require_extra
from songbag_store.format import keys
from songbag_store.format.declaration import declarations
from songbag_store.format.index import REPLACES
from songbag_store.format.work import AudioConfig
from songbag_store.machine import require_linux
from songbag_store.progress import Progress, first_notes, shown_on, stretch
from songbag_store.stop import StopRequest, doing, stop_if_asked
from songbag_store.storage.location import Location, LocationLike
from songbag_store.writer import open_for_writing, without_index

HERE_S = 1200.0
"""So many seconds of audio are computed in the calling process: workers take as long to start."""


class Receiver(Protocol):
    """Takes features of songs, and knows which songs it has."""

    def wanted(self, songs: pa.Table) -> pa.BooleanArray:
        """Return which songs of a source it does not have yet.

        Parameters
        ----------
        songs : pyarrow.Table
            song_id, path, file_bytes, modified_at, start_s and end_s, in the order of the source.
        """

    def take(self, store: SongStore, rows: pa.Table) -> None:
        """Take songs, for good: their features are deleted afterwards.

        Parameters
        ----------
        store : SongStore
            Holds their windows; without an index.
        rows : pyarrow.Table
            Rows of the index, also of songs that failed.
        """


def compute_for(
    receiver: Receiver,
    source: LocationLike,
    spec: FeatureSpec,
    folder: Path,
    config: AudioConfig,
    *,
    progress: Progress | None = None,
) -> None:
    """Compute the features of every song of a source that a receiver does not have, and hand them on.

    Workers compute them as `extract` does, into a store that holds only what was not handed on yet. After a crash the
    same call goes on: batches that were finished are handed on first.

    Memory holds the list of songs; the disk holds two batches for each worker, of at most 384 MB each.

    Parameters
    ----------
    receiver : Receiver
        Gets the songs, a batch at a time, in any order.
    source : str, pathlib.Path or Location
        As for `extract`.
    spec : FeatureSpec
        What to compute. An extractor of own features is imported and run: only pass a spec that you trust.
    folder : pathlib.Path
        Where the store is made; all workers must see it. Nothing else may use it meanwhile.
    config : AudioConfig
        Who computes, and what is taken of a folder. Some minutes of audio are computed in the calling process.
    progress : Progress, optional
        Where to show what was left out of the source, and then progress; by default standard error.

    Raises
    ------
    SourceError, ManifestError, SongsMissing
        If the source cannot be used.
    SpecError
        If the features cannot be computed.
    ClusterError
        If the cluster cannot do the work, or was lost.
    Interrupted
        After SIGINT or SIGTERM, when what was finished was handed on.
    """
    require_linux("computing features")
    require_extra("pipeline", "distributed", place="computing features")
    shown, run_config = progress or shown_on(sys.stderr), _extract_config(config)
    with doing("the songs are listed"):
        found = read_source(source, selection_of(config))
    if config.on_this_machine:
        found.refuse_nowhere()
    for note in first_notes([*found.warnings, *filter(None, [found.missing()])]):
        shown.note(note)
    songs = found.songs.select(["song_id", "path", "file_bytes", "modified_at", "start_s", "end_s"])
    receiver.wanted(songs)  # before the store is made: it may refuse
    if not (folder / keys.IDENTITY).exists():
        try_features(spec, folders_of(config.upload), modules_of(config.upload))
    store = open_for_writing(Location(str(folder)).absolute(), spec)
    keeper = _HandedOn(receiver, store)
    keeper.take_over(songs)
    todo = songs.filter(receiver.wanted(songs))
    if todo.num_rows:
        _compute(todo, found, store, keeper, run_config, shown)


def _extract_config(config: AudioConfig) -> ExtractConfig:
    return ExtractConfig(**{name: getattr(config, name) for name in declarations(AudioConfig)})


def _compute(
    todo: pa.Table, found: Source, store: SongStore, keeper: _HandedOn, config: ExtractConfig, shown: Progress
) -> None:
    summary = Summary(n_known=0, n_failed_before=0, n_adopted=0, snapshot=0, n_duplicates=0)
    todo = todo.append_column(REPLACES, pa.nulls(todo.num_rows, pa.string()))
    work = Work(store, found.location, todo, config, summary)
    if config.on_this_machine and float(expected_s(todo, store.spec).sum()) <= HERE_S:
        _compute_here(work, keeper, shown)
    else:
        Coordinator(work, shown, keeper=keeper).execute()


def _compute_here(work: Work, keeper: _HandedOn, shown: Progress) -> None:
    """Compute songs in this process, as a worker does."""
    job, progress = job_of(work), RunProgress(work.todo.num_rows, work.summary, shown)

    def stop(number: int) -> None:
        raise Interrupted(number, f"stopped by a signal with {progress}")

    with (
        StopRequest(lambda line: shown.note(f"{line}. Songs under way are given up."), stop),
        stretch(shown, work.todo.num_rows, "songs"),
        doing("songs are computed"),
    ):
        for batch in shares(work.todo, job.spec, lambda: 1):
            for fragment, rows in run_batch(job, batch).items():
                stop_if_asked()
                keeper.add(fragment, rows)
                progress.advance(rows)


class _HandedOn:
    """Hands batches on to a receiver, and deletes their features."""

    def __init__(self, receiver: Receiver, store: SongStore) -> None:
        self._receiver, self._store = receiver, store
        self._storage = store.inside.storage

    def take_over(self, songs: pa.Table) -> None:
        """Hand on what an earlier call finished of these songs, and delete what it did not."""
        parts, damaged = finished_parts(self._storage, self._store.uuid, self._store.spec, frozenset())
        for fragment, rows in parts.items():
            # A worker of that call may have finished a batch that was then computed again.
            lacking = songs["song_id"].filter(self._receiver.wanted(songs)).combine_chunks()
            self.add(fragment, rows.filter(pc.is_in(rows["song_id"], value_set=lacking)))
        for fragment in damaged:
            self._storage.delete(keys.part_key(fragment))
        for left in Path(self._store.address, keys.ARRAYS).glob("*/"):
            shutil.rmtree(left, ignore_errors=True)

    def add(self, fragment: str, rows: pa.Table) -> None:
        """Hand on a batch."""
        # With a reader of its own, which would otherwise keep the deleted files open.
        if rows.num_rows:
            self._receiver.take(without_index(self._store), rows.drop_columns([REPLACES]))
        self._storage.delete(keys.part_key(fragment))
        # A worker that is thought to be dead may still write there; the next call deletes what is left.
        shutil.rmtree(Path(self._store.address, keys.fragment_key(fragment)), ignore_errors=True)

    def look(self) -> None:
        """Do nothing: what was handed on is durable."""

    def close(self) -> None:
        """Do nothing: what was handed on is durable."""

    def finish(self) -> None:
        """Do nothing."""
