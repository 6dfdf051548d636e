"""The Dask cluster that a run works on: one made on this machine, or one that is there."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from songbag_pipeline.errors import ClusterError
from songbag_pipeline.run.config import ExtractConfig

_CONNECT_S = 20
_LOST_AFTER = "8 s"


@contextmanager
def connected(config: ExtractConfig) -> Iterator[Any]:
    """Yield a ``distributed.Client`` of the cluster that a run works on.

    Raises
    ------
    ClusterError
        If no scheduler answers at the address given.
    """
    import dask
    import distributed  # noqa: F401  # its defaults, if loaded inside of `set`, would be gone behind it

    # Dask remembers the last thousand messages of every connection, and each holds a batch or its rows.
    with dask.config.set({"distributed.admin.low-level-log-length": 10}):
        if config.on_this_machine:
            with _no_imports_from_here(), _local_cluster(config.n_workers) as client:
                yield client
        else:
            with _cluster_that_is_there(config) as client:
                yield client


@contextmanager
def _cluster_that_is_there(config: ExtractConfig) -> Iterator[Any]:
    """Connect to the cluster of a scheduler."""
    from distributed import Client

    where = str(config.scheduler or config.scheduler_file)
    if config.scheduler_file is not None:
        _wait_for_file(Path(config.scheduler_file))
    try:
        client = Client(
            config.scheduler, scheduler_file=config.scheduler_file, timeout=_CONNECT_S, set_as_default=False
        )
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"no Dask scheduler answers ({error})",
            place=where,
            remedy="Start one with `dask scheduler`, or check address, firewall and TLS. Nothing was done yet.",
        ) from error
    with _quiet(), client:
        yield client


def _wait_for_file(path: Path) -> None:
    """Give a scheduler that was just started time to write its file; the client would wait without an end."""
    deadline = time.monotonic() + _CONNECT_S
    while not path.is_file():
        if time.monotonic() > deadline:
            raise ClusterError("there is no such scheduler file", place=str(path), remedy="Is the scheduler running?")
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
def _no_imports_from_here() -> Iterator[None]:
    """Keep new Python processes from importing what lies in the present folder: it may hold a random.py."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


@contextmanager
def _local_cluster(n_workers: int) -> Iterator[Any]:
    """Start a cluster on this machine: one process per worker, one song at a time in each."""
    import dask
    from distributed import Client, LocalCluster

    settings = {
        # A worker's log would land in the middle of the progress bar; what concerns a song comes back as its row.
        "distributed.logging.distributed": "critical",
        "distributed.logging.asyncio": "critical",
        # A hundred times a second it looks at what a worker does, which here is to wait for the process that decodes.
        "distributed.worker.profile.enabled": False,
    }
    with dask.config.set(settings), _sigint_for_this_process_only():
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


def dashboard(client: Any, config: ExtractConfig) -> str:
    """Return where the dashboard of the cluster is, or what it takes to have one."""
    if config.on_this_machine and importlib.util.find_spec("bokeh") is None:
        return "none here (it needs: pip install bokeh)"
    return str(client.dashboard_link)
