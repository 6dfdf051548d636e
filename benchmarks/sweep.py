"""A sweep of ESC-10: killed twice and finished, and on two Dask workers over TCP against one.

    python -m benchmarks.sweep FOLDER WORK                  both
    python -m benchmarks.sweep FOLDER WORK killed           3 encoders x 2 learning rates x 2 folds, killed twice
    python -m benchmarks.sweep FOLDER WORK workers          the same sweep on one worker and on two, in turn
    python -m benchmarks.sweep FOLDER WORK --epochs 4       a quick try

FOLDER holds ESC-10 as it is distributed (github.com/karoldvl/ESC-10). WORK takes the store and the sweeps; sweeps that
an earlier call left there are deleted. A worker is one process of one thread (``dask worker --nthreads 1``) on a core
of its own, on one machine with at least two. Times are of the whole command: with its start, the choice and the test.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import songbag as front_door
from benchmarks.esc10 import LOGMEL, extracted, songbag
from songbag_store.child import threads

GRID = ("--set", "encoder=compact,reference,dense", "--set", "learning-rate=1e-3,3e-3", "--folds", "2")
N_RUNS = 12
ROUNDS = 3
ASKED = 1.7
"""How many times as fast two workers are asked to be."""


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("part", nargs="?", choices=("killed", "workers"))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    store = extracted(chosen.folder, chosen.work, "logmel-5s", LOGMEL)
    options = (*GRID, "--label", "label", "--epochs", str(chosen.epochs))
    if chosen.part != "workers":
        killed(store, chosen.work / "killed", options)
    if chosen.part != "killed":
        workers(store, chosen.work, options, chosen.rounds)


def killed(store: Path, folder: Path, options: tuple[str, ...]) -> None:
    """Kill a sweep in its third and in its eighth training, finish it, and compare its two best points."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "songbag", "sweep", str(store), "-o", str(folder), *options]
    for n_begun in (3, 8):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while len(list(folder.glob("point-*/fold-*/history.csv"))) < n_begun:
            if process.poll() is not None:
                raise SystemExit(f"the sweep ended by itself with {process.returncode}")
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        n_finished = len(list(folder.glob("point-*/fold-*/metrics.json")))
        print(f"killed in training {n_begun} of {N_RUNS}, with {n_finished} finished", flush=True)
    songbag("sweep", store, "-o", folder, *options)
    points = front_door.runs(folder, sort="validation-log-loss", arrow=True)["name"].to_pylist()
    songbag("compare", *(folder / name for name in points[:2]))


def workers(store: Path, work: Path, options: tuple[str, ...], rounds: int) -> None:
    """Print how long the sweep takes on one worker and on two, in turn."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        for n_workers, own in seconds.items():
            folder = work / f"on-{n_workers}"
            shutil.rmtree(folder, ignore_errors=True)
            with cluster(work / "scheduler.json", n_workers) as file:
                began = time.perf_counter()
                songbag("sweep", store, "-o", folder, *options, "--scheduler-file", file)
                own.append(time.perf_counter() - began)
        print(f"round {number + 1}: {seconds[1][-1]:.0f} s on one worker, {seconds[2][-1]:.0f} s on two", flush=True)
    ratio = statistics.median(one / two for one, two in zip(*seconds.values(), strict=True))
    print(f"two workers are {ratio:.2f} times as fast as one (median of {rounds} rounds; asked for is {ASKED})")


@contextmanager
def cluster(file: Path, n_workers: int) -> Iterator[Path]:
    """Start a scheduler and workers of one thread, each on a core of its own; yield the scheduler's file."""
    file.unlink(missing_ok=True)
    dask, own = [sys.executable, "-m", "dask"], os.environ | threads(1)
    address = ("--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen([*dask, "scheduler", *address, "--scheduler-file", str(file)], **quiet)]  # type: ignore[call-overload]
    more = ("--nthreads", "1", "--memory-limit", "0", "--no-dashboard", "--host", "127.0.0.1")
    cores = sorted(os.sched_getaffinity(0))
    try:
        while not file.is_file():
            time.sleep(0.05)
        for number in range(n_workers):
            command = [*dask, "worker", "--scheduler-file", str(file), *more]
            pinned = ["taskset", "-c", str(cores[number % len(cores)]), *command]
            processes.append(subprocess.Popen(pinned, env=own, **quiet))  # type: ignore[call-overload]
        yield file
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


if __name__ == "__main__":
    main()
