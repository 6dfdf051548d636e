"""The Dask cluster that a run works on: one made on this machine, or one that is there."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import logging
import platform
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import songbag_store
from songbag_pipeline.errors import ClusterError
from songbag_pipeline.remote import is_remote, remote_rows
from songbag_store import SongStore
from songbag_store.errors import SongbagError, UsageError

_CONNECT_S = 20
_FIRST_WORKER_S = 60
_LOST_AFTER = "8 s"
_PACKAGES = ("numpy", "scipy", "soundfile", "soxr", "av", "zarr", "pyarrow", "dask", "distributed")
"""What decides feature bytes or must understand each other: the same everywhere, or the run does not begin."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClusterChoice:
    """Which cluster to use; by default one on this machine with a process per core."""

    workers: int
    """Processes of a cluster made on this machine."""
    scheduler: str | None = None
    """Address of a scheduler that is there, such as ``tcp://host:8786``."""
    scheduler_file: str | Path | None = None
    """File that a scheduler has written with its address."""

    def __post_init__(self) -> None:
        if self.scheduler is not None and self.scheduler_file is not None:
            raise UsageError(
                "--scheduler and --scheduler-file both name a cluster", where="extract", remedy="Give one of them."
            )


@contextmanager
def connected(choice: ClusterChoice) -> Iterator[Any]:
    """Yield a ``distributed.Client`` of the cluster chosen.

    Raises
    ------
    ClusterError
        If no scheduler answers at the address given.
    """
    if choice.scheduler is None and choice.scheduler_file is None:
        with _local_cluster(choice.workers) as client:
            yield client
        return
    from distributed import Client

    where = str(choice.scheduler or choice.scheduler_file)
    if choice.scheduler_file is not None:
        _wait_for_file(Path(choice.scheduler_file))
    try:
        client = Client(
            choice.scheduler, scheduler_file=choice.scheduler_file, timeout=_CONNECT_S, set_as_default=False
        )
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"no Dask scheduler answers ({error})",
            where=where,
            remedy="Start one with `dask scheduler`, or check address, firewall and TLS. Nothing was done yet.",
        ) from error
    with _quiet(), client:
        yield client


def _wait_for_file(path: Path) -> None:
    """Give a scheduler that was just started time to write its file; the client would wait without an end."""
    deadline = time.monotonic() + _CONNECT_S
    while not path.is_file():
        if time.monotonic() > deadline:
            raise ClusterError("there is no such scheduler file", where=str(path), remedy="Is the scheduler running?")
        time.sleep(0.1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's log off the terminal: a lost worker or scheduler is told in this run's own words."""
    # Each by name: Dask gives several of its loggers a level of their own, which the parent's does not touch.
    known = [
        name for name in logging.root.manager.loggerDict if name.split(".")[0] in ("distributed", "asyncio", "tornado")
    ]
    loggers = [logging.getLogger(name) for name in {*known, "distributed", "asyncio", "tornado.application"}]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    yield
    # Not after an error: Dask's threads go on complaining of a lost scheduler while they end.
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@contextmanager
def _local_cluster(n_workers: int) -> Iterator[Any]:
    """Start a cluster on this machine: one process per worker, one song at a time in each."""
    import dask
    from distributed import Client, LocalCluster

    # A worker's log would land in the middle of the progress bar; what concerns a song comes back as its row.
    quiet = {"distributed.logging.distributed": "critical", "distributed.logging.asyncio": "critical"}
    with dask.config.set(quiet), _sigint_for_this_process_only():
        cluster = LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
    # A nanny whose worker dies while it is being restarted gives up, and one whose worker exits ends with it: somebody
    # must start another, and before long.
    heal = dask.config.set({"distributed.deploy.lost-worker-timeout": _LOST_AFTER})
    with heal, _quiet(), cluster, Client(cluster, set_as_default=False) as client:
        cluster.adapt(minimum=n_workers, maximum=n_workers)
        yield client


@contextmanager
def _sigint_for_this_process_only() -> Iterator[None]:
    """Keep Ctrl-C from the workers: it reaches every process of the terminal, and only this one is to answer it.

    A signal mask is inherited by threads and through exec: by the event loop of the cluster started here, and by every
    worker that it starts now or later.
    """
    # Starting the resource tracker of multiprocessing would unblock the signal again, in the midst of it.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def threads(client: Any) -> int:
    """Return how many songs the cluster can work on at once; 0 while it has no worker."""
    return sum(client.nthreads().values())


def check_workers(client: Any, store: SongStore, song: str | None, options: dict[str, str]) -> None:
    """Make sure, before any work, that every worker can do it.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    store : SongStore
        Where the workers are to write.
    song : str or None
        An audio file that is there for the coordinator, and so must be for the workers.
    options : dict
        How to reach object stores.

    Raises
    ------
    ClusterError
        If no worker comes, or one has other software, does not see the store, or does not see the songs.
    """
    try:
        client.wait_for_workers(1, timeout=_FIRST_WORKER_S)
    except TimeoutError as error:
        raise _unfit(f"no worker joined the cluster within {_FIRST_WORKER_S} s", "Start workers.") from error
    mine = _versions()
    for worker, reply in client.run(report, store.location, song, options, on_error="return").items():
        if isinstance(reply, Exception):
            raise _unfit(
                f"worker {worker} cannot run songbag ({type(reply).__name__}: {reply})",
                "Install the same songbag[pipeline] there as here.",
            )
        _compare(worker, mine, reply["versions"])
        if reply["store"] != store.uuid:
            raise _unfit(
                f"worker {worker} does not see the store {store.location} ({reply['store']})",
                "Put the store on a file system or bucket that all workers have under the same name.",
            )
        if not reply["song"]:
            raise _unfit(
                f"worker {worker} cannot read the songs (tried {song})",
                "Put the songs on a file system that all workers have under the same name.",
            )


def report(location: str, song: str | None, options: dict[str, str]) -> dict[str, Any]:
    """Tell, on a worker, what it has: versions, the store's identity or why it is not seen, and whether a song is."""
    try:
        seen = SongStore.open_identity(location, storage_options=options).uuid
    except SongbagError as error:
        seen = error.what
    return {"versions": _versions(), "store": seen, "song": song is None or _readable(song, options)}


def _readable(song: str, options: dict[str, str]) -> bool:
    try:
        if is_remote(song):
            return "file_bytes" in remote_rows([(song, song)], options)[0]
        with open(song, "rb"):
            return True
    except OSError:
        return False


def _versions() -> dict[str, str]:
    ours = {"Python": ".".join(platform.python_version_tuple()[:2]), "songbag": songbag_store.__version__}
    return ours | {name: importlib.metadata.version(name) for name in _PACKAGES}


def _compare(worker: str, mine: Mapping[str, str], theirs: Mapping[str, str]) -> None:
    other = [f"{name} {theirs.get(name)} instead of {mine[name]}" for name in mine if theirs.get(name) != mine[name]]
    if other:
        raise _unfit(
            f"worker {worker} has other software: {', '.join(other)}",
            "The same versions everywhere are what makes features the same everywhere: install them alike.",
        )


def _unfit(what: str, remedy: str) -> ClusterError:
    return ClusterError(what, where="cluster", remedy=f"{remedy} Nothing was done yet.")
