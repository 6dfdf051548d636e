"""A run: from a source to a store, on a Dask cluster, committing what is finished again and again."""

from __future__ import annotations

import dataclasses
import os
import queue
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from songbag_pipeline.batches import Job, batches, fail_batch, run_batch
from songbag_pipeline.cluster import ClusterChoice, check_workers, connected, threads
from songbag_pipeline.errors import ClusterError, Interrupted, SongError, SongsChanged, TooManyFailures
from songbag_pipeline.planning import plan
from songbag_pipeline.progress import RunProgress
from songbag_pipeline.signals import StopRequest
from songbag_pipeline.sources import read_source
from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import SongbagError, StoreError, StoreNotFound
from songbag_store.index import REPLACES, join_rows
from songbag_store.parts import finished_parts

COMMIT_EVERY_S = 120.0
_IN_FLIGHT_PER_WORKER = 2
_POLL_S = 0.5
_RESULT_S = 10.0
_LOOK_AT_WORKERS_S = 5.0
_WITHOUT_WORKERS_S = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """What a run did.

    Attributes
    ----------
    n_stored, n_failed : int
        Songs of this run.
    n_known, n_failed_before : int
        Songs of the source that were in the store, with features and as failures.
    n_adopted : int
        Songs that an earlier run had finished and not committed.
    n_windows, audio_s, elapsed_s
        Windows, seconds of audio and of time of this run.
    snapshot : int
        The store's newest snapshot.
    warnings : tuple of str
        What was left out of the source, and why.
    n_duplicates : int
        Songs of the store that are another one byte for byte, each group but its first counted.
    """

    n_stored: int
    n_failed: int
    n_known: int
    n_failed_before: int
    n_adopted: int
    n_windows: int
    audio_s: float
    elapsed_s: float
    snapshot: int
    warnings: tuple[str, ...]
    n_duplicates: int = 0


def extract(
    source: str | Path,
    store: str | Path,
    spec: FeatureSpec | None = None,
    *,
    label_from_folder: bool = False,
    workers: int | None = None,
    limit: int | None = None,
    retry_failed: bool = False,
    update_changed: bool = False,
    max_failed: int | None = None,
    scheduler: str | None = None,
    scheduler_file: str | Path | None = None,
    storage_options: Mapping[str, str] | None = None,
    console: Console | None = None,
) -> Summary:
    """Compute the features of every song of a source that the store does not have yet.

    Parameters
    ----------
    source : str or pathlib.Path
        A folder, a prefix of an object store or a manifest, see `songbag_pipeline.sources.read_source`.
    store : str or pathlib.Path
        The store, a folder or ``s3://``, ``gs://``, ``az://``; made if there is none.
    spec : FeatureSpec, optional
        What to compute; by default what the store holds, or the reference recipe for a new one.
    label_from_folder : bool
        Put the first folder of each song into a column ``label``.
    workers : int, optional
        Worker processes on this machine; by default one per core.
    limit : int, optional
        Compute at most this many songs.
    retry_failed : bool
        Try songs again that failed before, though their files did not change.
    update_changed : bool
        Compute songs anew whose content changed; without it they are an error before any work.
    max_failed : int, optional
        Stop when more songs than this have failed.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://host:8786``, whose workers are used instead.
    scheduler_file : str or pathlib.Path, optional
        File that a Dask scheduler has written with its address.
    storage_options : mapping of str to str, optional
        Credentials and endpoint of the object stores among source and store; they travel to the workers.
    console : rich.console.Console, optional
        Where to show progress; by default standard error.

    Raises
    ------
    SourceError, ManifestError
        If the source cannot be used; nothing was done.
    SongsChanged
        If files changed and `update_changed` is not given; nothing was done.
    SpecMismatch
        If the store holds features of another spec.
    ClusterError
        If the cluster cannot do the work, or was lost; what was finished is committed.
    TooManyFailures
        If more than `max_failed` songs failed; what was finished is committed.
    Interrupted
        After SIGINT or SIGTERM, when what was finished is committed.
    """
    console = console or Console(stderr=True)
    choice = ClusterChoice(
        workers=workers or len(os.sched_getaffinity(0)), scheduler=scheduler, scheduler_file=scheduler_file
    )
    if "://" not in str(store):
        store = os.path.abspath(store)  # a worker of a cluster may have been started anywhere
    options = dict(storage_options or {})
    found = read_source(source, label_from_folder=label_from_folder, storage_options=options)
    opened = SongStore.open_for_writing(store, spec or _spec_of(store, options), storage_options=options)
    before = opened.index.num_rows
    opened, left_out = _adopt(opened)
    _check_columns(opened.index, found.songs.drop_columns(["file_bytes", "modified_at"]))
    planned = plan(found.songs, opened.index, retry_failed=retry_failed, storage_options=options)
    if planned.changed and not update_changed:
        raise SongsChanged(planned.changed, where=str(source))
    if planned.n_other_columns:
        what = f"{planned.n_other_columns} songs have other columns in the store than the source gives"
        left_out.append(f"{what}; to change them: songbag relabel STORE LABELS")
    todo = dataclasses.replace(planned, todo=planned.todo.slice(0, limit))
    run = _Run(opened, todo.todo, options, console, max_failed)
    if todo.todo.num_rows:
        run.execute(dataclasses.replace(choice, workers=min(choice.workers, todo.todo.num_rows)))
    return Summary(
        n_stored=run.progress.n_done - run.progress.n_failed,
        n_failed=run.progress.n_failed,
        n_known=todo.n_known,
        n_failed_before=todo.n_failed_before,
        n_adopted=opened.index.num_rows - before,
        n_windows=run.progress.n_windows,
        audio_s=run.progress.audio_s,
        elapsed_s=run.progress.elapsed_s,
        snapshot=run.store.snapshot,
        warnings=(*found.warnings, *left_out),
        n_duplicates=_duplicates(run.store.index),
    )


def _duplicates(index: pa.Table) -> int:
    contents = index.filter(pc.field("status") == "ok")["content_sha256"]
    return len(contents) - int(pc.count_distinct(contents).as_py())


def _spec_of(store: str | Path, options: Mapping[str, str]) -> FeatureSpec:
    try:
        return SongStore.open_identity(store, storage_options=options).spec
    except StoreNotFound:
        return FeatureSpec()


def _adopt(store: SongStore) -> tuple[SongStore, list[str]]:
    """Take in the parts that an earlier run finished and no snapshot has.

    Returns
    -------
    store : SongStore
        At the snapshot that has them.
    left_out : list of str
        Notes on the parts whose columns do not fit the index; their songs are computed again.
    """
    parts, _ = finished_parts(store.storage, store.uuid, store.spec, store.parts)
    fitting, left_out, columns = {}, [], store.index.slice(0, 0)
    for name, rows in parts.items():
        try:
            columns = join_rows([columns, rows.slice(0, 0).drop_columns([REPLACES])])
        except StoreError as error:
            left_out.append(f"part {name} of an earlier run left out: {error.what}")
        else:
            fitting[name] = rows
    return store.commit_parts(fitting), left_out


def _check_columns(index: pa.Table, songs: pa.Table) -> None:
    """Refuse a source whose columns do not fit those of the index, before any work."""
    join_rows([index.slice(0, 0), songs.slice(0, 0)])


class _Run:
    """The coordinator: keeps a bounded number of batches in flight, and commits what comes back."""

    def __init__(
        self, store: SongStore, todo: pa.Table, options: dict[str, str], console: Console, max_failed: int | None
    ) -> None:
        self.store = store
        self.progress = RunProgress(todo.num_rows, console)
        self._todo = todo
        self._console = console
        self._max_failed = max_failed
        self._job = Job(store.location, store.spec, uuid.uuid4().hex, storage_options=options)
        self._finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._in_flight: dict[Any, pa.Table] = {}
        self._suspects: list[pa.Table] = []
        self._pending: dict[str, pa.Table] = {}
        self._committed_at = time.monotonic()

    def execute(self, choice: ClusterChoice) -> None:
        """Run all batches; whatever ends the run, what was finished is committed first."""
        with StopRequest() as stop, self.progress, connected(choice) as client:
            self._console.print(f"Dashboard of the cluster: {client.dashboard_link}", highlight=False, markup=False)
            check_workers(client, self.store, self._song_that_is_there(), self._job.storage_options)
            try:
                self._loop(client, stop)
            finally:
                self._commit()
        if stop.signal_number is not None:
            raise Interrupted(stop.signal_number, f"stopped by a signal with {self._how_far()}")

    def _song_that_is_there(self) -> str | None:
        there = self._todo.filter(pc.field("file_bytes").is_valid()).slice(0, 1)
        return str(there["path"][0]) if there.num_rows else None

    def _how_far(self) -> str:
        return f"{self.progress.n_done} of {self.progress.n_songs} songs done and committed"

    def _loop(self, client: Any, stop: StopRequest) -> None:
        workers = _Workers(client)
        work = batches(self._todo, workers.n_threads)
        while stop.signal_number is None:
            while len(self._in_flight) < workers.n_threads * _IN_FLIGHT_PER_WORKER and (batch := next(work, None)):
                self._submit(client, batch)
            if not self._in_flight:
                if not self._suspects:
                    return
                # Dask blames a worker's death on every task it had: a suspect is tried with no other beside it.
                self._submit(client, self._suspects.pop())
            with suppress(queue.Empty):
                self._collect(self._finished.get(timeout=_POLL_S))
            workers.look()
            if time.monotonic() - self._committed_at > COMMIT_EVERY_S:
                self._commit()

    def _submit(self, client: Any, batch: pa.Table) -> None:
        future = client.submit(run_batch, self._job, batch, pure=False)
        self._in_flight[future] = batch
        future.add_done_callback(self._finished.put)

    def _collect(self, future: Any) -> None:
        """Take in a finished batch; one whose workers died is halved until the song that killed them is alone."""
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        batch = self._in_flight.pop(future)
        try:
            fragment, rows = future.result(timeout=_RESULT_S)
        except TimeoutError:
            # Its worker died with the answer: Dask computes it again, if there is a worker left to do so.
            self._in_flight[future] = batch
            future.add_done_callback(self._finished.put)
            return
        except KilledWorker:
            if batch.num_rows > 1 or self._in_flight:
                middle = batch.num_rows // 2
                self._suspects += [half for half in (batch.slice(0, middle), batch.slice(middle)) if half.num_rows]
                return
            reason = SongError(
                "decoder-crash", "every worker that was given this file died, of a crash or for want of memory"
            )
            fragment, rows = fail_batch(self._job, batch, reason)
        except FutureCancelledError as error:
            raise _lost_cluster(str(error)) from error
        self._pending[fragment] = rows
        self.progress.advance(rows)
        if self._max_failed is not None and self.progress.n_failed > self._max_failed:
            what = f"{self.progress.n_failed} songs failed, more than the {self._max_failed} allowed; {self._how_far()}"
            raise TooManyFailures(what, where=self.store.location, remedy=_LOOK_AT_FAILURES)

    def _commit(self) -> None:
        self._committed_at = time.monotonic()
        if self._pending:
            self.store = self.store.commit_parts(self._pending)
            self._pending = {}


class _Workers:
    """Watches the workers of a cluster: they come and go, and a run without any must not wait for ever."""

    def __init__(self, client: Any) -> None:
        self.n_threads = max(1, threads(client))
        self._client = client
        self._looked_at = self._seen_at = time.monotonic()

    def look(self) -> None:
        """Bring the number up to date every few seconds.

        Raises
        ------
        ClusterError
            If the scheduler is gone, or no worker has been there for a while.
        """
        if self._client.status != "running":
            raise _lost_cluster("the scheduler is gone")
        now = time.monotonic()
        if now - self._looked_at < _LOOK_AT_WORKERS_S:
            return
        self._looked_at = now
        try:
            present = threads(self._client)
        except (OSError, TimeoutError) as error:
            raise _lost_cluster(f"the scheduler does not answer: {error}") from error
        if present:
            self.n_threads, self._seen_at = present, now
        elif now - self._seen_at > _WITHOUT_WORKERS_S:
            raise _lost_cluster(f"no worker has been there for {_WITHOUT_WORKERS_S:.0f} s")


_LOOK_AT_FAILURES = "`songbag failures STORE` says why they failed; the same command goes on where this one stopped."


def _lost_cluster(what: str) -> SongbagError:
    return ClusterError(
        f"the Dask cluster was lost ({what})",
        where="extract",
        remedy="What was finished is committed; run the same command again to go on.",
    )
