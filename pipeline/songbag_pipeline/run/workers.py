"""The workers of a cluster: what each must have, before the run begins and when one joins later."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

import songbag_store
from songbag_pipeline.errors import ClusterError, ClusterLost, UnfitWorker
from songbag_pipeline.run.batch import Job
from songbag_pipeline.sources.bucket import remote_rows
from songbag_store.errors import SongbagError
from songbag_store.progress import Progress
from songbag_store.storage.location import is_remote
from songbag_store.writer import open_identity

_FIRST_WORKER_S = 60
_LOOK_S = 5.0
_WITHOUT_WORKERS_S = 60.0
_PACKAGES = ("numpy", "scipy", "soundfile", "soxr", "av", "zarr", "pyarrow", "dask", "distributed")
"""What decides feature bytes or must understand each other: the same everywhere, or the run does not begin."""


def software() -> dict[str, str]:
    """Return the versions of what must be the same on every worker."""
    ours = {"Python": ".".join(platform.python_version_tuple()[:2]), "songbag": songbag_store.__version__}
    return ours | {name: importlib.metadata.version(name) for name in _PACKAGES}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a worker must have for a job. It travels with every task."""

    job: Job
    song: str | None
    """An audio file that is there for the coordinator, and so must be for the workers."""
    versions: dict[str, str] = dataclasses.field(default_factory=software)


Task = Callable[[Job, pa.Table], dict[str, pa.Table]]
_fit: set[str] = set()
"""The runs that this process has been found fit for."""


def on_fit_worker(needs: Needs, task: Task, songs: pa.Table) -> dict[str, pa.Table]:
    """Do a batch, on a worker, after making sure that the worker can; asked once per process and run.

    Raises
    ------
    UnfitWorker
        If it cannot.
    """
    if needs.job.run_id not in _fit:
        lack = find_lack(needs)
        if lack is not None:
            from distributed import get_worker

            raise UnfitWorker(get_worker().address, *lack)
    return task(needs.job, songs)


def find_lack(needs: Needs) -> tuple[str, str] | None:
    """Tell what this worker lacks and what to do about it; None where it lacks nothing."""
    theirs = software()
    other = [f"{name} {theirs.get(name)} instead of {v}" for name, v in needs.versions.items() if theirs.get(name) != v]
    if other:
        remedy = "The same versions everywhere are what makes features the same everywhere: install them alike."
        return f"has other software: {', '.join(other)}", remedy
    try:
        seen = open_identity(needs.job.store).uuid
    except SongbagError as error:
        seen = error.what
    if seen != needs.job.store_uuid:
        remedy = "Put the store on a file system or bucket that all workers have under the same name."
        return f"does not see the store {needs.job.store} ({seen})", remedy
    if needs.song is not None and not _readable(needs.song, needs.job.source_options):
        remedy = "Put the songs on a file system that all workers have under the same name."
        return f"cannot read the songs (tried {needs.song})", remedy
    _fit.add(needs.job.run_id)
    return None


def _readable(song: str, options: Mapping[str, str]) -> bool:
    try:
        if is_remote(song):
            return "file_bytes" in remote_rows([(song, song)], options)[0]
        with open(song, "rb"):
            return True
    except OSError:
        return False


def threads(client: Any) -> int:
    """Return how many songs the cluster can work on at once; 0 while it has no worker."""
    return sum(client.nthreads().values())


def check_workers(client: Any, needs: Needs) -> None:
    """Make sure, before any work, that every worker can do it.

    Raises
    ------
    ClusterError
        If no worker comes, or one has other software, does not see the store, or does not see the songs.
    """
    try:
        client.wait_for_workers(1, timeout=_FIRST_WORKER_S)
    except TimeoutError as error:
        what = f"no worker joined the cluster within {_FIRST_WORKER_S} s"
        raise ClusterError(what, place="cluster", remedy="Start workers. Nothing was done yet.") from error
    for unfit in _find_unfit(client, needs, sorted(client.nthreads())):
        unfit.remedy += " Nothing was done yet."
        raise unfit


def _find_unfit(client: Any, needs: Needs, asked: list[str]) -> list[UnfitWorker]:
    """Ask workers what they lack."""
    replies = client.run(find_lack, needs, workers=asked, on_error="return") if asked else {}
    unfit = []
    for worker, reply in replies.items():
        if isinstance(reply, OSError):
            continue  # it left, or cannot be reached just now
        if isinstance(reply, Exception):
            what = f"cannot run songbag ({type(reply).__name__}: {reply})"
            unfit.append(UnfitWorker(worker, what, "Install the same songbag[pipeline] there as here."))
        elif reply is not None:
            unfit.append(UnfitWorker(worker, *reply))
    return unfit


class Crew:
    """The workers of a run while it lasts: they come and go, and one that cannot do the work is left out.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    needs : Needs
        What each must have.
    progress : Progress
        Where to say who is left out.
    """

    def __init__(self, client: Any, needs: Needs, progress: Progress) -> None:
        self._client = client
        self._needs = needs
        self._progress = progress
        self._unfit: dict[str, UnfitWorker] = {}
        self._looked_at = self._seen_at = time.monotonic()
        self.n_threads = threads(client)

    def placement(self) -> dict[str, Any]:
        """Return the options of ``Client.submit`` that keep a task from the workers left out."""
        if not self._unfit:
            return {}
        # Where none of these is left, the task goes to any other: to one that came since, or back to us.
        return {"workers": sorted(self._present().keys() - self._unfit.keys()), "allow_other_workers": True}

    def leave_out(self, unfit: UnfitWorker) -> None:
        """Give a worker nothing more to do."""
        if unfit.worker not in self._unfit:
            self._progress.note(f"left out: {unfit}")
        self._unfit[unfit.worker] = unfit
        self._count()

    def leave_out_more(self) -> bool:
        """Ask all workers anew, after a task failed for no reason of its own; tell whether one is left out now.

        Raises
        ------
        ClusterLost
            If there is no scheduler to ask.
        """
        asked = sorted(self._present().keys() - self._unfit.keys())
        try:
            unfit = _find_unfit(self._client, self._needs, asked)
        except (OSError, TimeoutError) as error:
            raise _no_answer(error) from error
        for one in unfit:
            self.leave_out(one)
        return bool(unfit)

    def look(self) -> None:
        """Bring the number up to date every few seconds.

        Raises
        ------
        ClusterError
            If the scheduler is gone, or no worker that can do the work has been there for a while.
        """
        if self._client.status != "running":
            raise ClusterLost("the scheduler is gone")
        if time.monotonic() - self._looked_at < _LOOK_S:
            return
        self._count()
        if self._looked_at - self._seen_at > _WITHOUT_WORKERS_S:
            why = "".join(f"; {unfit.what}" for unfit in list(self._unfit.values())[:1])
            raise ClusterLost(f"no worker has been there for {_WITHOUT_WORKERS_S:.0f} s{why}")

    def _count(self) -> None:
        present = self._present()
        self._unfit = {worker: unfit for worker, unfit in self._unfit.items() if worker in present}
        fit = sum(n for worker, n in present.items() if worker not in self._unfit)
        self._looked_at = time.monotonic()
        if fit:
            self._seen_at = self._looked_at
        # A cluster without workers keeps its tasks until one comes; one with unfit ones alone would fail them all.
        if fit or self._unfit:
            self.n_threads = fit

    def _present(self) -> dict[str, int]:
        """Return the threads of every worker that is there."""
        try:
            return dict(self._client.nthreads())
        except (OSError, TimeoutError) as error:
            raise _no_answer(error) from error


def _no_answer(error: Exception) -> ClusterLost:
    return ClusterLost(f"the scheduler does not answer: {error}")
