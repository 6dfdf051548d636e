"""Audio made on the spot, and clusters of real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.audio import chirp, write
from tests.support.clusters import N_SONGS, Start, importable, kill_tree, start_scheduler


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start ``dask`` commands in another folder than the coordinator's; what still runs at the end is killed."""
    (tmp_path / "elsewhere").mkdir()
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "dask.log").open("ab") as log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "dask", *map(str, arguments)],
                    cwd=tmp_path / "elsewhere",
                    stdout=log,
                    stderr=log,
                    env=os.environ | importable() | environment,
                )
            )
        return processes[-1]

    yield start
    for process in processes:
        kill_tree(process)


@pytest.fixture
def scheduler_file(tmp_path: Path, start: Start) -> Path:
    """A scheduler without workers, found by its file."""
    return start_scheduler(tmp_path / "scheduler.json", start)


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """Some short songs."""
    for number in range(N_SONGS):
        write(tmp_path / "songs" / f"{number:02}.wav", chirp(2.0, seed=number))
    return tmp_path / "songs"
