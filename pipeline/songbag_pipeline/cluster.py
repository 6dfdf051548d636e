"""The Dask cluster that a run works on."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any


@contextmanager
def local_cluster(n_workers: int) -> Iterator[Any]:
    """Start a Dask cluster on this machine: one process per worker, one song at a time in each.

    Parameters
    ----------
    n_workers : int
        Worker processes.

    Yields
    ------
    client : distributed.Client
        Connected, with all workers started.
    """
    import dask
    from distributed import Client, LocalCluster

    # A worker's log would land in the middle of the progress bar; what concerns a song comes back as its row.
    with dask.config.set({"distributed.logging.distributed": "critical"}), _sigint_for_this_process_only():
        cluster = LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
    with cluster, Client(cluster, set_as_default=False) as client:
        # A nanny whose worker dies while it is being restarted gives up; somebody must start another.
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
