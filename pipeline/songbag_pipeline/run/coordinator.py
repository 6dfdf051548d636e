"""The coordinator of a run: hands out batches, takes in what comes back, commits it."""

from __future__ import annotations

import queue
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from songbag_pipeline.errors import ClusterLost, Interrupted, SongError, TooManyFailures, UnfitWorker
from songbag_pipeline.run.batch import Job, fail_batch, run_batch
from songbag_pipeline.run.cluster import connected, dashboard
from songbag_pipeline.run.config import ExtractConfig
from songbag_pipeline.run.cut import cut
from songbag_pipeline.run.plan import count_duplicates
from songbag_pipeline.run.progress import RunProgress
from songbag_pipeline.run.signals import StopRequest
from songbag_pipeline.run.workers import Crew, Needs, check_workers, on_fit_worker
from songbag_store import SongStore
from songbag_store.commits.parts import PackedParts
from songbag_store.errors import SongbagError
from songbag_store.progress import Progress, stretch
from songbag_store.writer import commit_parts

_COMMIT_EVERY_S = 120.0
_COMMIT_EVERY_SONGS = 20_000
_IN_FLIGHT_PER_WORKER = 2
_POLL_S = 0.5
_RESULT_S = 10.0
_LOOK_AT_FAILURES = "`songbag failures STORE` says why they failed; the same command goes on where this one stopped."


class Coordinator:
    """Keeps a bounded number of batches in flight, and commits what comes back.

    Memory: the songs that are to be done, the rows that are not yet committed (some 20,000, compressed), and while it
    commits the files of the snapshot before and of the new one.

    Parameters
    ----------
    store : SongStore
        Where everything goes; its index is not used.
    todo : pyarrow.Table
        As `songbag_pipeline.run.plan.Plan.todo`.
    source_options : mapping of str to str
        How the workers reach songs that lie in object stores.
    shown : Progress
        Where to show how far it is.
    max_failed : int, optional
        Failed songs after which to stop.

    Attributes
    ----------
    progress : RunProgress
        What was done so far.
    snapshot, n_duplicates : int or None
        Number of the snapshot committed last, and its songs that are another one byte for byte.
    """

    def __init__(
        self,
        store: SongStore,
        todo: pa.Table,
        source_options: Mapping[str, str],
        shown: Progress,
        max_failed: int | None = None,
    ) -> None:
        self.progress = RunProgress(todo.num_rows, shown)
        self.snapshot: int | None = None
        self.n_duplicates: int | None = None
        self._store = store
        self._todo = todo
        self._shown = shown
        self._max_failed = max_failed
        self._job = Job(store.location, store.uuid, store.spec, uuid.uuid4().hex, source_options=source_options)
        self._needs = Needs(job=self._job, song=_song_that_is_there(todo))
        self._finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._in_flight: dict[Any, pa.Table] = {}
        self._again: list[pa.Table] = []
        self._suspects: list[pa.Table] = []
        self._died_alone: set[str] = set()
        self._pending = PackedParts()
        self._n_pending = 0
        self._committed_at = time.monotonic()

    def execute(self, config: ExtractConfig) -> None:
        """Run all batches; whatever ends the run, what was finished is committed first."""
        # Or Arrow keeps what reading the source and comparing it took.
        pa.default_memory_pool().release_unused()
        songs = stretch(self._shown, self._todo.num_rows, "songs")
        with StopRequest() as stop, songs, connected(config) as client:
            self._shown.note(f"Dashboard of the cluster: {dashboard(client, config)}")
            check_workers(client, self._needs)
            try:
                self._loop(client, stop)
            finally:
                newest = self._commit()
        if stop.signal_number is not None:
            raise Interrupted(stop.signal_number, f"stopped by a signal with {self._how_far()}")
        self.n_duplicates = count_duplicates(newest or self._store.at())

    def _how_far(self) -> str:
        return f"{self.progress.n_done} of {self.progress.n_songs} songs done and committed"

    def _loop(self, client: Any, stop: StopRequest) -> None:
        crew = Crew(client, self._needs, self._shown)
        work = cut(self._todo, self._job.spec, lambda: crew.n_threads)
        while stop.signal_number is None:
            while len(self._in_flight) < crew.n_threads * _IN_FLIGHT_PER_WORKER and (batch := self._next(work)):
                self._submit(client, crew, batch)
            if not self._in_flight and crew.n_threads:
                if not self._suspects:
                    return
                # Dask blames a worker's death on every task it had: a suspect is tried with no other beside it.
                self._submit(client, crew, self._suspects.pop())
            with suppress(queue.Empty):
                self._collect(self._finished.get(timeout=_POLL_S), crew)
            crew.look()
            if self._n_pending >= _COMMIT_EVERY_SONGS or time.monotonic() - self._committed_at > _COMMIT_EVERY_S:
                self._commit()

    def _next(self, work: Iterator[pa.Table]) -> pa.Table | None:
        return self._again.pop() if self._again else next(work, None)

    def _submit(self, client: Any, crew: Crew, batch: pa.Table) -> None:
        future = client.submit(on_fit_worker, self._needs, run_batch, batch, pure=False, **crew.placement())
        self._in_flight[future] = batch
        future.add_done_callback(self._finished.put)

    def _collect(self, future: Any, crew: Crew) -> None:
        """Take in a finished batch; one whose workers died is halved until the song that killed them is alone."""
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        batch = self._in_flight.pop(future)
        try:
            done = future.result(timeout=_RESULT_S)
        except TimeoutError:
            # Its worker died with the answer: Dask computes it again, if there is a worker left to do so.
            self._in_flight[future] = batch
            future.add_done_callback(self._finished.put)
            return
        except KilledWorker:
            if self._suspect(batch):
                return
            reason = SongError(
                "decoder-crash", "every worker that was given this file died, of a crash or for want of memory"
            )
            done = fail_batch(self._job, batch, reason)
        except FutureCancelledError as error:
            raise ClusterLost(str(error)) from error
        except UnfitWorker as error:
            crew.leave_out(error)
            self._again.append(batch)
            return
        except SongbagError:
            raise
        except Exception:
            # A worker without songbag cannot even read what it is to do, and says so in a way of its own.
            if not crew.leave_out_more():
                raise
            self._again.append(batch)
            return
        self._take_in(done)

    def _suspect(self, batch: pa.Table) -> bool:
        """Put a batch whose workers died aside, halved; False if it is one song that they died of twice, alone.

        Once may be chance: on machines that come and go, four workers in a row can be lost during one long song.
        """
        song_ids = batch["song_id"].to_pylist()
        if not self._in_flight and len(song_ids) == 1:
            if song_ids[0] in self._died_alone:
                return False
            self._died_alone.add(song_ids[0])
        middle = batch.num_rows // 2
        self._suspects += [half for half in (batch.slice(0, middle), batch.slice(middle)) if half.num_rows]
        return True

    def _take_in(self, done: dict[str, pa.Table]) -> None:
        for fragment, rows in done.items():
            self._pending.pack(fragment, rows)
            self._n_pending += rows.num_rows
            self.progress.advance(rows)
        if self._max_failed is not None and self.progress.n_failed > self._max_failed:
            what = f"{self.progress.n_failed} songs failed, more than the {self._max_failed} allowed; {self._how_far()}"
            raise TooManyFailures(what, place=self._store.address, remedy=_LOOK_AT_FAILURES)

    def _commit(self) -> SongStore | None:
        """Commit what is finished; return the store at the new snapshot, None where there is nothing to commit."""
        committed = None
        if self._pending:
            committed = commit_parts(self._store, self._pending)
            self.snapshot = committed.snapshot
            self._pending, self._n_pending = PackedParts(), 0
            # Or Arrow keeps what the commit took.
            pa.default_memory_pool().release_unused()
        self._committed_at = time.monotonic()
        return committed


def _song_that_is_there(todo: pa.Table) -> str | None:
    there = pc.index(pc.is_valid(todo["file_bytes"]), True).as_py()
    return str(todo["path"][there]) if there >= 0 else None
