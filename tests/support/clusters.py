"""Dask clusters made by hand of real processes, and runs on them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from songbag_pipeline import ExtractConfig, Summary
from songbag_pipeline.run.coordinator import Coordinator
from songbag_pipeline.run.work import Work
from songbag_store import FeatureSpec, SongStore
from songbag_store.progress import Progress, Silent
from songbag_store.storage.location import Location
from tests.support.patience import PATIENCE_S

SPEC = FeatureSpec(window_s=0.5, n_mels=40)
N_SONGS = 40


def extract_inside(
    source: Path,
    store: Path,
    config: ExtractConfig,
    spec: FeatureSpec = SPEC,
    *,
    progress: Progress | None = None,
    **inside: Any,
) -> Summary:
    """Extract as `extract` does, with a task, a containment or limits of a test's own, see `Coordinator`."""
    work = Work.of(source, Location.of(store).absolute(), spec, config)
    Coordinator(work, progress or Silent(), **inside).execute()
    return work.summary


IDLE = {
    f"DASK_DISTRIBUTED__{name}": value
    for name, value in {
        "WORKER__PROFILE__ENABLED": "False",
        "ADMIN__TICK__INTERVAL": "1s",
        "ADMIN__SYSTEM_MONITOR__INTERVAL": "10s",
        "SCHEDULER__WORK_STEALING_INTERVAL": "5s",
    }.items()
}
"""Settings of Dask with which processes that wait take little: by default three take 7 % of a core, all the time."""
Start = Callable[..., "subprocess.Popen[bytes]"]


def credentials(client: Any) -> dict[str, str]:
    """Return the settings of Dask with which others come into the local cluster of a client."""
    keys = client.security
    tls = {"ca-file": keys.tls_ca_file, "client.key": keys.tls_client_key, "client.cert": keys.tls_client_cert}
    return {f"distributed.comm.tls.{name}": value for name, value in tls.items()}


def importable(*before: Path) -> dict[str, str]:
    """Return the variable that lets a process started anywhere import what this one can."""
    return {"PYTHONPATH": os.pathsep.join([*map(str, before), *map(os.path.abspath, sys.path)])}


def kill_tree(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """Kill a process and all that it started."""
    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        family = []
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Start]:
    """Lend a function that starts ``dask`` commands below a folder; kill what still runs at the end."""
    (folder / "elsewhere").mkdir()
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[bytes]:
        with (folder / "dask.log").open("ab") as log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "dask", *map(str, arguments)],
                    cwd=folder / "elsewhere",
                    stdout=log,
                    stderr=log,
                    env=os.environ | importable() | IDLE | environment,
                )
            )
        return processes[-1]

    yield start
    for process in processes:
        kill_tree(process)


def start_scheduler(file: Path, start: Start, **environment: str) -> Path:
    """Start a scheduler and wait for its file."""
    address = ("--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0")
    start("scheduler", *address, "--scheduler-file", file, **environment)
    wait_until(file.is_file, "the scheduler wrote its file")
    return file


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that happens in another process."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"it never happened that {what}"
        time.sleep(0.01)


def parts(store: Path) -> list[str]:
    """Return the names of the parts of a store."""
    return sorted(path.stem for path in (store / "parts").glob("*.parquet") if "probe" not in path.name)


def work_for(
    scheduler_file: Path, start: Start, count: int = 1, *more: str, **environment: str
) -> list[subprocess.Popen[bytes]]:
    """Start workers of one thread."""
    options = ("--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard", *more)
    return [start("worker", "--scheduler-file", scheduler_file, *options, **environment) for _ in range(count)]


def songs_in(store: Path) -> list[str]:
    """Return the ids in the index of a store, a song as often as it is there."""
    ids: list[str] = SongStore.open(store).index(arrow=True)["song_id"].to_pylist()
    return sorted(ids)


def command(source: Path, store: Path, *options: str | Path) -> subprocess.Popen[str]:
    """Start `songbag extract`."""
    arguments = [sys.executable, "-m", "songbag", "extract", str(source), str(store), *map(str, options)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_parts(store: Path, count: int = 2) -> None:
    """Wait until so many batches are done."""
    wait_until(lambda: len(parts(store)) >= count, f"{count} parts were written")
