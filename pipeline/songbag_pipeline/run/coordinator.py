"""The coordinator of a run: sends batches to workers, takes their rows, has them kept."""

from __future__ import annotations

import dataclasses
import queue
import uuid
from contextlib import ExitStack, suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from songbag_pipeline.errors import SongError, TooManyFailures
from songbag_pipeline.run.batch import Job, fail_batch, run_batch
from songbag_pipeline.run.commits import Commits, Keeper
from songbag_pipeline.run.shares import shares
from songbag_pipeline.run.summary import RunProgress
from songbag_pipeline.run.tally import Tally, topic
from songbag_pipeline.run.work import Work
from songbag_pipeline.run.workers import Crew, Task, check_workers
from songbag_pipeline.songs.containment import Containment, folders_of, modules_of
from songbag_store.cluster.cluster import connected
from songbag_store.cluster.limits import LIMITS, Limits
from songbag_store.errors import ClusterLost, Interrupted, SongbagError, UnfitWorker
from songbag_store.progress import Progress, stretch
from songbag_store.stop import StopRequest, doing
from songbag_store.words import counted

_IN_FLIGHT_PER_WORKER = 2
_POLL_S = 0.5
_RESULT_S = 10.0
_MESSAGES_PER_S = 50
"""What all workers together tell of batches that are not done."""
_CONTAINMENT = Containment()
_ALL_DIED = SongError("decoder-crash", "every worker that was given this file died, of a crash or for want of memory")


def job_of(work: Work, containment: Containment = _CONTAINMENT) -> Job:
    """Return what workers must know of a run."""
    there = pc.index(pc.greater(work.todo["file_bytes"], 0), True).as_py()
    song = str(work.todo["path"][there]) if there >= 0 else None
    store, options, upload = work.store, work.source.storage_options, work.config.upload
    contained = containment.for_spec(store.spec, folders_of(upload), modules_of(upload))
    contained = dataclasses.replace(contained, tags=bool(work.tags))
    return Job(
        store.location,
        store.uuid,
        store.spec,
        uuid.uuid4().hex,
        contained,
        source_options=options,
        song=song,
        tags=work.tags,
        tries_features=not work.config.on_this_machine,
    )


class Coordinator:
    """Keeps a bounded number of batches in flight, and has the rows kept that come back.

    Memory: the songs to do, and what the keeper takes.

    Parameters
    ----------
    work : Work
        What to do; its summary is filled in.
    shown : Progress
        Where to show progress.
    keeper : Keeper, optional
        Takes in finished batches; by default they are committed.
    task : callable
        Does a batch.
    containment : Containment
        What reads the songs.
    limits : Limits
        How long to wait.
    """

    def __init__(
        self,
        work: Work,
        shown: Progress,
        *,
        keeper: Keeper | None = None,
        task: Task = run_batch,
        containment: Containment = _CONTAINMENT,
        limits: Limits = LIMITS,
    ) -> None:
        self._work, self._shown, self._task, self._limits = work, shown, task, limits
        self._progress = RunProgress(work.todo.num_rows, work.summary, shown)
        self._job = job_of(work, containment)
        self._keeper = keeper or Commits(work, self._job.run_id)
        self._finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._in_flight: dict[Any, pa.Table] = {}
        self._again: list[pa.Table] = []
        self._suspects: list[pa.Table] = []
        self._died_alone: set[str] = set()

    def execute(self) -> None:
        """Run all batches. However the run ends, what was finished is kept first."""
        # Otherwise Arrow keeps the memory that the plan took.
        pa.default_memory_pool().release_unused()
        n_songs, config, limits = self._work.todo.num_rows, self._work.config, self._limits
        config = dataclasses.replace(config, workers=min(config.n_workers, n_songs))
        songs, starting = stretch(self._shown, n_songs, "songs"), ExitStack()
        with StopRequest(self._answer) as stop, songs, starting:
            starting.enter_context(doing("the workers start"))
            self._shown.advance(0, "the workers start")
            with connected(config, limits.connect_s) as client:
                if not config.on_this_machine:
                    self._shown.note(f"Dashboard of the cluster: {client.dashboard_link}")
                check_workers(client, self._job, limits.first_worker_s, lambda: stop.signal_number is not None)
                starting.close()
                try:
                    with doing("songs are computed"):
                        self._loop(self._crew(client), stop)
                finally:
                    self._keeper.close()
        if stop.signal_number is not None:
            raise Interrupted(stop.signal_number, f"stopped by a signal with {self._progress}")
        self._keeper.finish()
        self._progress.stop_clock()

    def _answer(self, line: str) -> None:
        self._shown.note(f"{line}. What is finished is committed, and songs under way are given up.")

    def _crew(self, client: Any) -> Crew:
        """Return the workers, which tell of their batches from now on."""
        n_threads = sum(client.nthreads().values())
        self._job = dataclasses.replace(self._job, tell_every_s=max(1.0, n_threads / _MESSAGES_PER_S))
        client.subscribe_topic(topic(self._job.run_id), lambda event: self._finished.put(Tally(*event[1])))
        return Crew(client, self._job, self._shown, self._limits)

    def _loop(self, crew: Crew, stop: StopRequest) -> None:
        batches = shares(self._work.todo, self._job.spec, lambda: crew.n_threads)
        while stop.signal_number is None:
            while len(self._in_flight) < crew.n_threads * _IN_FLIGHT_PER_WORKER:
                batch = self._again.pop() if self._again else next(batches, None)
                if batch is None:
                    break
                self._await(crew.submit(self._task, batch), batch)
            if not self._in_flight and crew.n_threads:
                if not self._suspects:
                    return
                # Dask blames a worker's death on all its tasks, so a suspect is tried alone.
                suspect = self._suspects.pop()
                self._await(crew.submit(self._task, suspect), suspect)
            with suppress(queue.Empty):
                self._hear(self._finished.get(timeout=_POLL_S), crew)
            crew.look()
            # Of the last batch nothing is committed here, so that the run ends with a commit, which says so.
            if self._in_flight:
                self._keeper.look()

    def _await(self, future: Any, batch: pa.Table) -> None:
        self._in_flight[future] = batch
        future.add_done_callback(self._finished.put)

    def _hear(self, heard: Any, crew: Crew) -> None:
        """Take in a finished batch, or what a worker tells of one that is not done."""
        if not isinstance(heard, Tally):
            self._progress.forget(heard.key)
            self._take(heard, crew)
        elif any(future.key == heard.batch for future in self._in_flight):
            self._progress.tell(heard)

    def _take(self, future: Any, crew: Crew) -> None:
        """Take in a finished batch, or arrange for it to be done again."""
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        batch = self._in_flight.pop(future)
        try:
            done = future.result(timeout=_RESULT_S)
        except TimeoutError:
            # Its worker died before it sent the result: Dask computes it again on another worker.
            self._await(future, batch)
        except KilledWorker:
            self._suspect(batch)
        except FutureCancelledError as error:
            raise ClusterLost(str(error)) from error
        except UnfitWorker as error:
            crew.leave_out(error)
            self._again.append(batch)
        except SongbagError:
            raise
        except Exception:
            # A worker without songbag cannot read its task, and fails with some other error.
            if not crew.leave_out_more():
                raise
            self._again.append(batch)
        else:
            self._take_in(done)

    def _suspect(self, batch: pa.Table) -> None:
        """Put a batch whose workers died aside in halves, until the song that kills workers is alone.

        A single song fails if its workers died twice while no other batch was running. Once may be chance: where
        machines come and go, four workers in a row can be lost during one long song.
        """
        song_ids = batch["song_id"].to_pylist()
        if not self._in_flight and len(song_ids) == 1:
            if song_ids[0] in self._died_alone:
                self._take_in(fail_batch(self._job, batch, _ALL_DIED))
                return
            self._died_alone.add(song_ids[0])
        middle = batch.num_rows // 2
        self._suspects += [half for half in (batch.slice(0, middle), batch.slice(middle)) if half.num_rows]

    def _take_in(self, done: dict[str, pa.Table]) -> None:
        for fragment, rows in done.items():
            self._keeper.add(fragment, rows)
            self._progress.advance(rows)
        n_failed, limit = self._work.summary.n_failed, self._work.config.max_failed
        if limit is not None and n_failed > limit:
            raise TooManyFailures(
                f"{counted(n_failed, 'song')} failed, more than the {limit:,} allowed; {self._progress}",
                place=self._work.store.address,
                remedy="`songbag failures STORE` says why; run the same command again to go on.",
            )
