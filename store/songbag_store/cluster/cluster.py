"""The Dask cluster of a run: a local one that is started here, or one that is already there."""

from __future__ import annotations

import json
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from songbag_store.child import Child, threads
from songbag_store.cluster.limits import LIMITS
from songbag_store.errors import ClusterError
from songbag_store.format.work import WorkersConfig
from songbag_store.storage.files import is_there

_LOOK_S = 0.1
_LOGGERS = ("distributed", "asyncio", "tornado")
_SETTINGS = {
    # A worker's log would break into the progress bar; errors of songs come back as rows.
    "distributed.logging.distributed": "critical",
    "distributed.logging.asyncio": "critical",
    # The profiler would look a hundred times a second at a worker that only waits for its decoding process.
    "distributed.worker.profile.enabled": False,
    # Every user of this machine could read these pages.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # Dask keeps the last thousand messages of every connection, and each holds a batch or its rows.
    "distributed.admin.low-level-log-length": 10,
}
_ENVIRONMENT = {"MALLOC_TRIM_THRESHOLD_": "65536"}
"""As Dask's own workers have it."""


@contextmanager
def connected(config: WorkersConfig, connect_s: float = LIMITS.connect_s, n_threads: int = 1) -> Iterator[Any]:
    """Yield a ``distributed.Client`` of the cluster of a run.

    Parameters
    ----------
    config : WorkersConfig
        Which cluster.
    connect_s : float
        How long to wait for a scheduler.
    n_threads : int
        Threads of numerical libraries in a worker that is started here.

    Raises
    ------
    ClusterError
        If no scheduler answers at the address given, or no worker can be started here.
    """
    import dask
    import distributed  # noqa: F401  # its defaults, if loaded inside of `set`, would be lost after it

    cluster = (
        _local_cluster(config.n_workers, n_threads) if config.on_this_machine else _existing_cluster(config, connect_s)
    )
    with dask.config.set({"distributed.admin.low-level-log-length": 10}), cluster as client:
        yield client


@contextmanager
def _existing_cluster(config: WorkersConfig, connect_s: float) -> Iterator[Any]:
    """Connect to the scheduler that the user named."""
    from distributed import Client

    file = config.scheduler_file
    # A scheduler that was just started needs time to write its file; the client would wait forever.
    deadline = time.monotonic() + connect_s
    while file is not None and not is_there(Path(file)):
        if time.monotonic() > deadline:
            raise ClusterError("there is no such scheduler file", place=str(file), remedy="Is the scheduler running?")
        time.sleep(0.1)
    try:
        client = Client(config.scheduler, scheduler_file=file, timeout=connect_s, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"no Dask scheduler answers ({error})",
            place=str(config.scheduler or file),
            remedy="Start one with `dask scheduler`, or check address, firewall and TLS. Nothing was done yet.",
        ) from error
    with _quiet(), client:
        yield client


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's log off the terminal: this run reports lost workers and schedulers itself."""
    # Each logger by name: some have their own level, and ignore that of their parent.
    names = {name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _LOGGERS}
    loggers = [logging.getLogger(name) for name in names | {"distributed", "asyncio", "tornado.application"}]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    yield
    # Not after an error: Dask's threads still log the lost scheduler while they end.
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@contextmanager
def _local_cluster(n_workers: int, n_threads: int) -> Iterator[Any]:
    """Start a cluster on this machine, closed to its other users: docs/decisions/0026."""
    import dask
    from distributed import Client, LocalCluster, Security

    temporary = tempfile.TemporaryDirectory(prefix="songbag-workers-")
    with temporary as folder, dask.config.set(_SETTINGS | {"temporary-directory": folder}), _quiet():
        keys = Security.temporary()
        scheduler = LocalCluster(
            n_workers=0,
            processes=True,
            host="127.0.0.1",
            security=keys,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,
        )
        workers = _local_workers(n_workers, n_threads, scheduler.scheduler_address, folder, keys)
        with scheduler, Client(scheduler, set_as_default=False) as client, workers:
            yield client


@contextmanager
def _local_workers(count: int, n_threads: int, address: str, folder: str, keys: Any) -> Iterator[None]:
    """Start the workers of a scheduler here, each a process with one thread; one that ends is replaced.

    They are started as commands, and not by `multiprocessing`, which would import the user's script in each of them.
    """
    names = ("require_encryption", "tls_ca_file", "tls_worker_cert", "tls_worker_key")
    given = {"settings": _SETTINGS, "security": {name: getattr(keys, name) for name in names}}
    over, children = threading.Event(), list[Child]()
    start = partial(_start_worker, address, folder, n_threads, json.dumps(given).encode() + b"\n")
    keeper = threading.Thread(target=_keep, args=(children, start, over), daemon=True)
    try:
        for _ in range(count):
            children.append(start())
        _require_start(children[0])
        keeper.start()
        yield
    finally:
        over.set()
        if keeper.is_alive():
            keeper.join()
        for child in children:
            child.close()


def _start_worker(address: str, folder: str, n_threads: int, first_message: bytes) -> Child:
    try:
        environment = {**threads(n_threads), **_ENVIRONMENT}
        child = Child("songbag_store.cluster.worker", address, folder, environment=environment, heard=True)
    except OSError as error:
        raise _not_started(error.strerror or str(error)) from error
    with suppress(OSError):  # it has ended already
        child.channel.sendall(first_message)
    return child


def _require_start(child: Child) -> None:
    """Wait until a worker works; raise `ClusterError` if it ends instead."""
    child.channel.settimeout(LIMITS.first_worker_s)
    try:
        works = child.channel.recv(1)
    except TimeoutError as error:
        raise _not_started(f"it took over {LIMITS.first_worker_s:.0f} s") from error
    if not works:
        raise _not_started(child.last_words())


def _keep(children: list[Child], start: Callable[[], Child], over: threading.Event) -> None:
    """Start another worker for each that has ended."""
    while not over.wait(_LOOK_S):
        for number, child in enumerate(children):
            if child.has_ended():
                child.close()
                with suppress(ClusterError):  # tried again at the next look
                    children[number] = start()


def _not_started(reason: str) -> ClusterError:
    remedy = "Check the installation of songbag and the free memory. Nothing was done yet."
    return ClusterError(f"a worker could not be started ({reason})", place="cluster", remedy=remedy)
