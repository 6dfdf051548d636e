"""The trainings of a cross-validation or a sweep: in this process, or as tasks of a Dask cluster.

On a cluster a worker process has one training at a time. Where it sees the folder of the whole it trains in it; else in
a temporary folder, and the files of the finished run come back as the task's result: those of one run a worker are in
memory at a time. What was begun here goes with the task, so it goes on after its checkpoint.
"""

from __future__ import annotations

import dataclasses
import queue
import shutil
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from songbag_store import SongStore
from songbag_store.cluster.cluster import connected
from songbag_store.cluster.limits import LIMITS, Limits
from songbag_store.errors import ClusterError, ClusterLost, SongbagError
from songbag_store.machine import n_cores
from songbag_store.progress import Progress, Silent
from songbag_store.storage.files import is_there, sync
from songbag_store.storage.location import Location
from songbag_store.words import counted
from songbag_training.errors import RunError
from songbag_training.fit.trial import Trial
from songbag_training.runs.attempt import last_attempt
from songbag_training.runs.document import CROSS_VALIDATION, RUN, SWEEP
from songbag_training.work import Cluster

Ended = tuple[Trial, Exception | None]
"""A training, and what went wrong with it."""
Files = dict[str, bytes]

_POLL_S = 0.2
_RESULT_S = 60.0
_OTHERS_S = 600.0
_MOST_DEATHS = 3
_LIBRARIES = ("songbag", "keras", "tensorflow", "numpy")
_SPACE = ".songbag-"

_alone = threading.Lock()
"""Two trainings in one process would set each other's seeds."""
_opened: dict[tuple[str, str, int], SongStore] = {}
"""The store that this worker reads, with its memory: for all trainings."""


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """What the trainings of one call have in common.

    Attributes
    ----------
    top : str
        The folder of the whole, as an absolute path.
    token : str
        Name of an empty file in it: a worker that sees it sees the folder.
    store, uuid, snapshot
        The store.
    versions : dict
        Of the libraries that decide weights.
    memory_bytes : int
        Most of the store that a process keeps in memory.
    """

    top: str
    token: str
    store: Location
    uuid: str
    snapshot: int
    versions: dict[str, str]
    memory_bytes: int

    def open_store(self) -> SongStore:
        """Return the store with its memory, which the trainings of a process share."""
        key = (self.store.address, self.uuid, self.snapshot)
        if key not in _opened:
            _opened.clear()
            _opened[key] = SongStore.open(self.store, snapshot=self.snapshot).remembering(self.memory_bytes)
        return _opened[key]


class Here:
    """Trains in this process, one after the other."""

    def __init__(self, top: Path, store: SongStore, begin: Callable[[Trial], Progress]) -> None:
        self._top, self._store, self._begin = top, store, begin

    def run(self, trials: Iterable[Trial]) -> Iterator[Ended]:
        """Train, and yield each training when it has ended."""
        for trial in trials:
            try:
                trial.run(self._top, self._store, self._begin(trial))
            except Exception as error:
                yield trial, error
            else:
                yield trial, None


class There:
    """Trains on the workers of a cluster, a training on each at a time."""

    def __init__(self, client: Any, job: Job, progress: Progress, limits: Limits = LIMITS) -> None:
        self._client, self._job, self._progress, self._limits = client, job, progress, limits
        self._fit: dict[str, str | None] = {}
        self._looked_at = self._seen_at = time.monotonic()
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._running: dict[Any, tuple[Trial, str]] = {}
        self._deaths: Counter[str] = Counter()

    def run(self, trials: Iterable[Trial]) -> Iterator[Ended]:
        """Train, and yield each training when it has ended; those that an earlier call did are left out.

        Raises
        ------
        ClusterError
            If there is no worker that can train.
        """
        top = Path(self._job.top)
        waiting = [trial for trial in trials if not trial.is_done(top)]
        self._await_workers()
        try:
            while waiting or self._running:
                busy = {worker for _, worker in self._running.values()}
                for worker in sorted(self._present() - busy)[: len(waiting)]:
                    self._submit(waiting.pop(0), worker, top)
                with suppress(queue.Empty):
                    future = self._ended.get(timeout=_POLL_S)
                    if future in self._running:
                        trial, _ = self._running.pop(future)
                        yield trial, self._take(future, trial, top)
                waiting += self._look()
        finally:
            for future in self._running:
                future.cancel()
            self._running.clear()

    def _submit(self, trial: Trial, worker: str, top: Path) -> None:
        files = _files_of(top / trial.folder) if is_there(top / trial.folder / RUN) else None
        documents = _documents(top, trial.folder)
        future = self._client.submit(
            train_there, self._job, trial, documents, files, workers=[worker], pure=False, retries=0
        )
        self._running[future] = trial, worker
        future.add_done_callback(self._ended.put)

    def _take(self, future: Any, trial: Trial, top: Path) -> Exception | None:
        """Take in what a worker did; return what went wrong with the training."""
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        try:
            files = future.result(timeout=_RESULT_S)
        except FutureCancelledError as error:
            raise ClusterLost(str(error)) from error
        except KilledWorker:
            return _died(trial)
        except Exception as error:
            return error
        if files is not None:
            _put(files, top / trial.folder)
        return None

    def _look(self) -> list[Trial]:
        """Return the trainings whose workers are gone; each is tried some times.

        Raises
        ------
        ClusterLost
            If the scheduler, or for too long every fit worker, is gone.
        """
        if self._client.status != "running":
            raise ClusterLost("the scheduler is gone")
        if time.monotonic() - self._looked_at < self._limits.look_s:
            return []
        present, self._looked_at = self._present(), time.monotonic()
        if present:
            self._seen_at = self._looked_at
        elif self._looked_at - self._seen_at > self._limits.without_workers_s:
            raise ClusterLost(f"no worker has been there for {self._limits.without_workers_s:.0f} s")
        again = []
        for future in [one for one, (_, worker) in self._running.items() if worker not in present and not one.done()]:
            trial, worker = self._running.pop(future)
            future.cancel()
            self._deaths[trial.folder] += 1
            self._progress.note(f"worker {worker} is gone; {trial.folder} goes to another one")
            again.append(trial)
        lost = [trial for trial in again if self._deaths[trial.folder] >= _MOST_DEATHS]
        if lost:
            raise _died(lost[0])
        return again

    def _await_workers(self) -> None:
        deadline = time.monotonic() + self._limits.first_worker_s
        while not self._present():
            if time.monotonic() > deadline:
                lacks = [lack for lack in self._fit.values() if lack]
                what = f"no worker that can train joined the cluster within {self._limits.first_worker_s:.0f} s"
                what += f": {lacks[0]}" if lacks else ""
                raise ClusterError(what, place="cluster", remedy="Start workers with songbag[training], as here.")
            time.sleep(_POLL_S)

    def _present(self) -> set[str]:
        """Return the workers that can train; each is asked once."""
        try:
            there = set(self._client.nthreads())
        except OSError as error:
            raise ClusterLost(f"the scheduler does not answer: {error}") from error
        asked = sorted(there - self._fit.keys())
        replies = self._client.run(find_lack, self._job, workers=asked, on_error="return") if asked else {}
        for worker, reply in replies.items():
            if isinstance(reply, OSError):
                continue  # it left, or cannot be reached at the moment
            lack = f"{type(reply).__name__}: {reply}" if isinstance(reply, Exception) else reply
            self._fit[worker] = lack
            if lack:
                self._progress.note(f"left out: worker {worker}: {lack}")
        return {worker for worker in there if worker in self._fit and self._fit[worker] is None}


@contextmanager
def workplace(
    top: Path,
    store: SongStore,
    cluster: Cluster,
    trials: Iterable[Trial],
    begin: Callable[[Trial], Progress],
    progress: Progress,
) -> Iterator[Here | There]:
    """Yield what trains: this process, or the workers of a cluster.

    Parameters
    ----------
    top : pathlib.Path
        The folder of the whole; run folders come into it.
    store : SongStore
        With its memory.
    cluster : Cluster
        Where to train.
    trials : iterable of Trial
        All that there is to train. If an earlier call did it all, no worker is started.
    begin : callable
        Called before each training in this process; returns where to show it.
    progress : Progress
        Where to show what befalls workers.
    """
    n_trials = sum(not trial.is_done(top) for trial in trials)
    if cluster.in_this_process or not n_trials:
        yield Here(top, store, begin)
        return
    place, token = store.location.absolute(), f"{_SPACE}{uuid.uuid4().hex}"
    job = Job(str(top.absolute()), token, place, store.uuid, store.snapshot, versions(), cluster.memory_bytes)
    n_threads = 1
    if cluster.on_this_machine:
        cluster = dataclasses.replace(cluster, workers=min(cluster.n_workers, n_trials))
        n_threads = max(1, n_cores() // cluster.n_workers)
    with ExitStack() as stack:
        (top / job.token).touch()
        stack.callback((top / job.token).unlink, missing_ok=True)
        client = stack.enter_context(connected(cluster, n_threads=n_threads))
        if cluster.on_this_machine:
            processes = counted(cluster.n_workers, "worker process", "worker processes")
            progress.note(f"{processes} of {counted(n_threads, 'thread')}")
        else:
            progress.note(f"Dashboard of the cluster: {client.dashboard_link}")
        yield There(client, job, progress)


def versions() -> dict[str, str]:
    """Return the versions of what decides weights; what is not installed has none."""
    found = {}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def find_lack(job: Job) -> str | None:
    """Return what this worker lacks; None if it can train."""
    theirs = versions()
    other = [
        f"{name} {theirs.get(name)} instead of {own}" for name, own in job.versions.items() if theirs.get(name) != own
    ]
    if other:
        return f"it has other software: {', '.join(other)}"
    try:
        seen = job.open_store().uuid
    except SongbagError as error:
        seen = error.what
    return None if seen == job.uuid else f"it does not see the store {job.store} ({seen})"


def train_there(job: Job, trial: Trial, documents: Files, files: Files | None) -> Files | None:
    """Train on a worker; return the files of the run, or None if they are where they belong."""
    with _alone:
        store, top, watched = job.open_store(), Path(job.top), _Watched()
        if is_there(top / job.token):
            _await_others(top / trial.folder)
            trial.run(top, store, watched)
            return None
        with tempfile.TemporaryDirectory(prefix="songbag-trial-") as name:
            for path, data in documents.items():
                (Path(name) / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(name) / path).write_bytes(data)
            if files is not None:
                _put(files, Path(name) / trial.folder)
            return _files_of(trial.run(Path(name), store, watched).folder)


def _await_others(folder: Path) -> None:
    """Wait until a worker that trains here for a call that is gone has noticed it, at the end of its epoch."""
    deadline = time.monotonic() + _OTHERS_S
    while (last_attempt(folder) or ("", ""))[0] == "running":
        if time.monotonic() > deadline:
            remedy = "Stop it, and run the same command again."
            raise RunError("another process trains in this folder", place=str(folder), remedy=remedy)
        time.sleep(_POLL_S)


class _Watched(Silent):
    """Shows nothing, and ends a training whose result is no longer wanted, at the end of its epoch."""

    def __init__(self) -> None:
        from distributed import get_worker

        self._worker = get_worker()
        self._key = self._worker.get_current_task()

    def advance(self, done: float, state: str, line: str | None = None) -> None:
        """Raise if the task was given up."""
        task = self._worker.state.tasks.get(self._key)
        if task is None or task.state != "executing":
            raise RunError("is given up: the call that asked for it is gone", place="training")


def _documents(top: Path, folder: str) -> Files:
    """Return the documents of the whole, by which a run knows what it is a part of."""
    places = [Path(), *Path(folder).parents]
    names = {(place / name).as_posix() for place in places for name in (SWEEP, CROSS_VALIDATION)}
    return {name: (top / name).read_bytes() for name in sorted(names) if is_there(top / name)}


def _files_of(folder: Path) -> Files:
    """Return the files of a run folder; its page is made again."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "report.html")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _put(files: Files, folder: Path) -> None:
    """Put files into the place of a run folder; a call that is stopped meanwhile leaves the old one, or none."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_SPACE, dir=folder.parent) as name:
        new = Path(name) / "run"
        for path, data in files.items():
            if ".." in Path(path).parts or Path(path).is_absolute():
                raise RunError(f"a worker gave a file outside of its folder: {path!r}", place=str(folder))
            (new / path).parent.mkdir(parents=True, exist_ok=True)
            (new / path).write_bytes(data)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    sync(folder.parent)


def _died(trial: Trial) -> RunError:
    what = "every worker that was given it died, of a crash or for want of memory"
    return RunError(what, place=trial.folder, remedy="Give workers more memory, or lower `batch_size` or `bag_size`.")
