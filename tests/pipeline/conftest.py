"""Audio made on the spot, and clusters of real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from distributed import Client

from songbag_pipeline import ExtractConfig
from tests.support.audio import chirp, write
from tests.support.clusters import N_SONGS, Start, start_scheduler, started, wait_until, work_for


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start ``dask`` commands in another folder than the coordinator's; what still runs at the end is killed."""
    with started(tmp_path) as start:
        yield start


@pytest.fixture(scope="session")
def standing_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A scheduler and two workers, found by its file, for tests that leave them as they are."""
    folder = tmp_path_factory.mktemp("cluster")
    with started(folder) as start:
        file = start_scheduler(folder / "scheduler.json", start)
        work_for(file, start, 2, "--no-nanny")
        yield file


@pytest.fixture
def standing(standing_cluster: Path) -> ExtractConfig:
    """A run on those workers."""
    return ExtractConfig(scheduler_file=standing_cluster)


@pytest.fixture(scope="session")
def standing_scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A scheduler whose workers come and go with each test, found by its file."""
    folder = tmp_path_factory.mktemp("scheduler")
    with started(folder) as start:
        yield start_scheduler(folder / "scheduler.json", start)


@pytest.fixture
def scheduler_file(standing_scheduler: Path) -> Path:
    """That scheduler, when the workers of the test before are gone."""
    with Client(scheduler_file=str(standing_scheduler), set_as_default=False) as client:
        wait_until(lambda: not client.nthreads(), "the workers of another test left")
    return standing_scheduler


@pytest.fixture(scope="session")
def slow_songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough that a run can be disturbed in the middle: at least six batches. Not to be written to."""
    folder, samples = tmp_path_factory.mktemp("slow"), chirp(15.0, 44100, 2)
    for number in range(24):
        # Of samples this wide a run expects twice as many seconds as there are, and a batch has two minutes of them.
        soundfile.write(folder / f"{number:02}.wav", samples * (0.5 + number / 50), 44100, "FLOAT")
    return folder


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """Some short songs."""
    for number in range(N_SONGS):
        write(tmp_path / "songs" / f"{number:02}.wav", chirp(2.0, seed=number))
    return tmp_path / "songs"
