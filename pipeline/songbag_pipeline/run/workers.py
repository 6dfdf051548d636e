"""The workers of a cluster: each is checked before the run begins, or when it joins later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from songbag_pipeline.run.batch import Job, software
from songbag_pipeline.songs.containment import contained_reader
from songbag_pipeline.sources.bucket import heads
from songbag_store.cluster.limits import LIMITS, Limits
from songbag_store.errors import ClusterError, ClusterLost, SongbagError, UnfitWorker
from songbag_store.progress import Progress
from songbag_store.storage.location import is_remote
from songbag_store.writer import open_identity

Task = Callable[[Job, pa.Table], dict[str, pa.Table]]
_fit: set[str] = set()
"""The runs that this process is fit for."""


def on_fit_worker(job: Job, task: Task, songs: pa.Table) -> dict[str, pa.Table]:
    """Do a batch on a worker. The first task of a run in a process checks whether the worker is fit.

    Raises
    ------
    UnfitWorker
        If it is not.
    """
    if job.run_id not in _fit:
        lack = find_lack(job)
        if lack is not None:
            from distributed import get_worker

            raise UnfitWorker(get_worker().address, *lack)
    return task(job, songs)


def find_lack(job: Job) -> tuple[str, str] | None:
    """Return what this worker lacks and what to do about it; None if it lacks nothing."""
    theirs = software()
    other = [f"{name} {theirs.get(name)} instead of {v}" for name, v in job.versions.items() if theirs.get(name) != v]
    if other:
        remedy = "Only the same versions everywhere give the same features everywhere: install them alike."
        return f"has other software: {', '.join(other)}", remedy
    try:
        seen = open_identity(job.store).uuid
    except SongbagError as error:
        seen = error.what
    if seen != job.store_uuid:
        remedy = "Put the store on a file system or bucket that all workers have under the same name."
        return f"does not see the store {job.store} ({seen})", remedy
    if job.song is not None and not _is_readable(job.song, job):
        remedy = "Put the songs on a file system that all workers have under the same name."
        return f"cannot read the songs (tried {job.song})", remedy
    if job.tries_features and job.containment.spec is not None:
        try:
            with contained_reader(job.containment) as reader:
                reader.start()
        except SongbagError as error:
            remedy = "Install there what computes the features; modules of your own are sent with `upload`."
            return f"cannot compute the features: {error.what}", remedy
    _fit.add(job.run_id)
    return None


async def _look(job: Job) -> tuple[str, str] | None:
    """Look in a thread for what this worker lacks: a model may load for minutes, and the worker has to be heard."""
    return await asyncio.to_thread(find_lack, job)


def _is_readable(song: str, job: Job) -> bool:
    try:
        if is_remote(song):
            return heads([song], job.source_options)[0] is not None
        with open(song, "rb"):
            return True
    except OSError:
        return False


def check_workers(
    client: Any, job: Job, first_worker_s: float = LIMITS.first_worker_s, is_over: Callable[[], bool] = lambda: False
) -> None:
    """Make sure, before any work, that every worker can do it.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    job : Job
        Says what each must have.
    first_worker_s : float
        How long to wait for a worker.
    is_over : callable
        Whether to stop waiting.

    Raises
    ------
    ClusterError
        If no worker comes, or one has other software, does not see the store, or does not see the songs.
    """
    deadline = time.monotonic() + first_worker_s
    while not client.nthreads() and not is_over():
        if time.monotonic() > deadline:
            what = f"no worker joined the cluster within {first_worker_s:.0f} s"
            raise ClusterError(what, place="cluster", remedy="Start workers. Nothing was done yet.")
        time.sleep(0.05)
    for unfit in _find_unfit(client, job, sorted(client.nthreads())):
        unfit.remedy += " Nothing was done yet."
        raise unfit


def _find_unfit(client: Any, job: Job, asked: list[str]) -> list[UnfitWorker]:
    """Ask workers what they lack."""
    replies = client.run(_look, job, workers=asked, on_error="return") if asked else {}
    unfit = []
    for worker, reply in replies.items():
        if isinstance(reply, OSError):
            continue  # it left, or cannot be reached at the moment
        if isinstance(reply, Exception):
            what = f"cannot run songbag ({type(reply).__name__}: {reply})"
            unfit.append(UnfitWorker(worker, what, "Install the same songbag[pipeline] there as here."))
        elif reply is not None:
            unfit.append(UnfitWorker(worker, *reply))
    return unfit


class Crew:
    """The workers during a run: they come and go, and unfit ones get no tasks.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    job : Job
        Says what each must have.
    progress : Progress
        Where to note which worker is left out.
    limits : Limits
        How often to look at the workers, and how long to wait for one.

    Attributes
    ----------
    n_threads : int
        Songs that the cluster can work on at once; 0 while it has no fit worker.
    """

    def __init__(self, client: Any, job: Job, progress: Progress, limits: Limits = LIMITS) -> None:
        self._client, self._job, self._progress, self._limits = client, job, progress, limits
        self._unfit: dict[str, UnfitWorker] = {}
        self._looked_at = self._seen_at = time.monotonic()
        self.n_threads: int = sum(client.nthreads().values())

    def submit(self, task: Task, songs: pa.Table) -> Any:
        """Give a batch to a worker that is not known to be unfit; return its future."""
        # If none of these workers is left, the task may go to another: to a new one, or back to us as a failure.
        placement: dict[str, Any] = {"workers": self._fit_workers(), "allow_other_workers": True} if self._unfit else {}
        return self._client.submit(on_fit_worker, self._job, task, songs, pure=False, **placement)

    def leave_out(self, unfit: UnfitWorker) -> None:
        """Give a worker no more tasks."""
        if unfit.worker not in self._unfit:
            self._progress.note(f"left out: {unfit}")
        self._unfit[unfit.worker] = unfit
        self._count()

    def leave_out_more(self) -> bool:
        """Check all workers again, after a task failed for an unknown reason; return whether one is left out now.

        Raises
        ------
        ClusterLost
            If the scheduler does not answer.
        """
        workers = self._fit_workers()
        with _answered():
            unfit = _find_unfit(self._client, self._job, workers)
        for one in unfit:
            self.leave_out(one)
        return bool(unfit)

    def look(self) -> None:
        """Update `n_threads` every few seconds.

        Raises
        ------
        ClusterError
            If the scheduler is gone, or there has been no fit worker for too long.
        """
        if self._client.status != "running":
            raise ClusterLost("the scheduler is gone")
        if time.monotonic() - self._looked_at < self._limits.look_s:
            return
        self._count()
        if self._looked_at - self._seen_at > self._limits.without_workers_s:
            why = "".join(f"; {unfit.what}" for unfit in list(self._unfit.values())[:1])
            raise ClusterLost(f"no worker has been there for {self._limits.without_workers_s:.0f} s{why}")

    def _count(self) -> None:
        present = self._present()
        self._unfit = {worker: unfit for worker, unfit in self._unfit.items() if worker in present}
        fit = sum(n for worker, n in present.items() if worker not in self._unfit)
        self._looked_at = time.monotonic()
        if fit:
            self._seen_at = self._looked_at
        # A cluster without workers keeps its tasks until one comes; one with only unfit workers would fail them all.
        if fit or self._unfit:
            self.n_threads = fit

    def _fit_workers(self) -> list[str]:
        return sorted(self._present().keys() - self._unfit.keys())

    def _present(self) -> dict[str, int]:
        """Return the threads of every worker that is there."""
        with _answered():
            return dict(self._client.nthreads())


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ClusterLost(f"the scheduler does not answer: {error}") from error
