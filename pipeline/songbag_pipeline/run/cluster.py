"""The Dask cluster of a run: a local one that is started here, or one that is already there."""

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
from songbag_pipeline.run.config import LIMITS, ExtractConfig

_LOST_AFTER = "8 s"
_LOGGERS = ("distributed", "asyncio", "tornado")


@contextmanager
def connected(config: ExtractConfig, connect_s: float = LIMITS.connect_s) -> Iterator[Any]:
    """Yield a ``distributed.Client`` of the cluster of a run; wait for a scheduler so long.

    Raises
    ------
    ClusterError
        If no scheduler answers at the address given.
    """
    import dask
    import distributed  # noqa: F401  # its defaults, if loaded inside of `set`, would be lost after it

    cluster = _local_cluster(config.n_workers) if config.on_this_machine else _existing_cluster(config, connect_s)
    # Dask keeps the last thousand messages of every connection, and each holds a batch or its rows.
    with dask.config.set({"distributed.admin.low-level-log-length": 10}), _safe_path(), cluster as client:
        yield client


@contextmanager
def _existing_cluster(config: ExtractConfig, connect_s: float) -> Iterator[Any]:
    """Connect to the scheduler that the user named."""
    from distributed import Client

    file = config.scheduler_file
    # A scheduler that was just started needs time to write its file; the client would wait forever.
    deadline = time.monotonic() + connect_s
    while file is not None and not Path(file).is_file():
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
def _safe_path() -> Iterator[None]:
    """Keep new Python processes from importing files of the current folder, which may hold a random.py."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        del os.environ["PYTHONSAFEPATH"]
        os.environ |= {} if before is None else {"PYTHONSAFEPATH": before}


@contextmanager
def _local_cluster(n_workers: int) -> Iterator[Any]:
    """Start a cluster on this machine: one process per worker, one song at a time in each."""
    import dask
    from distributed import Client, LocalCluster

    settings = {
        # A worker's log would break into the progress bar; errors of songs come back as rows.
        "distributed.logging.distributed": "critical",
        "distributed.logging.asyncio": "critical",
        # The profiler would look a hundred times a second at a worker that only waits for its decoding process.
        "distributed.worker.profile.enabled": False,
    }
    with dask.config.set(settings), _sigint_blocked():
        cluster = LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL
        )
    # A nanny ends when its worker exits, or dies during a restart: `adapt` starts another, after this time.
    heal = dask.config.set({"distributed.deploy.lost-worker-timeout": _LOST_AFTER})
    with heal, _quiet(), cluster, Client(cluster, set_as_default=False) as client:
        cluster.adapt(minimum=n_workers, maximum=n_workers)
        yield client


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Keep Ctrl-C from the workers: it reaches every process of the terminal, but only this one handles it.

    A signal mask is inherited by threads and through exec: by the event loop of a cluster that is started here, and by
    every worker that the loop starts now or later.
    """
    # If the resource tracker of multiprocessing started inside, it would unblock the signal.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def dashboard(client: Any, config: ExtractConfig) -> str:
    """Return the address of the cluster's dashboard, or how to get one."""
    if config.on_this_machine and importlib.util.find_spec("bokeh") is None:
        return "none here (it needs: pip install bokeh)"
    return str(client.dashboard_link)
