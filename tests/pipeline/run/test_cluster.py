"""Clusters of real processes over TCP: found, checked, losing workers, losing the scheduler."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import tempfile
import time
import uuid
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import dask
import numpy as np
import psutil
import pyarrow as pa
import pytest
from distributed import Client, Security
from distributed.chaos import KillWorker

from songbag_pipeline import extract
from songbag_pipeline.run import batch as batches
from songbag_pipeline.run.config import ExtractConfig
from songbag_store import SongStore
from songbag_store.cluster.cluster import connected
from songbag_store.cluster.limits import Limits
from songbag_store.errors import ClusterError, UsageError
from songbag_store.progress import Lines, Silent
from tests.support.clusters import (
    N_SONGS,
    SPEC,
    Start,
    command,
    credentials,
    extract_inside,
    kill_tree,
    songs_in,
    start_scheduler,
    wait_for_parts,
    work_for,
)
from tests.support.long import LONG
from tests.support.patience import PATIENCE_S

N_DEATHS = 8 if LONG else 3
WAYS_TO_DIE = ("sys.exit", "graceful", "segfault")


def test_a_cluster_started_by_hand_does_the_work_and_its_workers_need_not_share_a_folder_with_the_coordinator(
    tmp_path: Path, songs: Path, scheduler_file: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_for(scheduler_file, start, 2)
    monkeypatch.chdir(tmp_path)
    lines: list[str] = []
    config = ExtractConfig(scheduler_file=scheduler_file)
    summary = extract("songs", "store", SPEC, config, progress=Lines(lines.append))
    assert (summary.n_stored, summary.n_failed) == (N_SONGS, 0)
    assert lines[0].startswith("Dashboard of the cluster: http://")
    assert not (tmp_path / "elsewhere" / "store").exists()


def test_a_scheduler_that_is_not_there_is_an_error_with_its_address(
    tmp_path: Path,
) -> None:
    with (
        pytest.raises(ClusterError, match=r"no Dask scheduler answers"),
        connected(ExtractConfig(workers=1, scheduler="tcp://127.0.0.1:9"), connect_s=0.5),
    ):
        pass
    with (
        pytest.raises(ClusterError, match="no such scheduler file"),
        connected(ExtractConfig(workers=1, scheduler_file=tmp_path / "none.json"), connect_s=0.5),
    ):
        pass
    with pytest.raises(UsageError, match="both name a cluster"):
        ExtractConfig(workers=1, scheduler="tcp://127.0.0.1:9", scheduler_file="x")


@pytest.mark.fault(105)
@pytest.mark.parametrize(
    ("field", "value"),
    [*(("scheduler", text) for text in ("", "../x", "a b", "tcp://", "tcp://h:port", "\n")), ("workers", 2**31)],
)
def test_no_address_and_no_number_of_workers_that_cannot_be_is_tried(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=field):
        ExtractConfig(**{field: value})
    for right in ("tcp://host:8786", "host:8786", "tls://10.0.0.1:8786", "tcp://[::1]:8786", "wss://host/path"):
        assert ExtractConfig(scheduler=right).scheduler == right


def test_a_run_without_any_worker_ends_instead_of_waiting_for_ever(
    tmp_path: Path, songs: Path, scheduler_file: Path
) -> None:
    config = ExtractConfig(scheduler_file=scheduler_file)
    with pytest.raises(ClusterError, match="no worker joined the cluster within 1 s"):
        extract_inside(songs, tmp_path / "store", config, limits=Limits(first_worker_s=1))


def test_a_run_whose_workers_all_left_ends_with_what_was_finished_committed(
    tmp_path: Path, scheduler_file: Path, start: Start, slow_songs: Path
) -> None:
    config, limits = ExtractConfig(scheduler_file=scheduler_file), Limits(without_workers_s=2.0, look_s=0.5)
    (worker,) = work_for(scheduler_file, start, 1, "--no-nanny")

    class KillsAfterTheFirstBatch(Silent):
        def advance(self, done: float, state: str, line: str | None = None) -> None:
            if done:
                kill_tree(worker)

    inside: dict[str, Any] = {"limits": limits, "progress": KillsAfterTheFirstBatch(), "task": done_in_silence}
    with pytest.raises(ClusterError, match=r"no worker has been there for 2 s.*\n.*run the same command again"):
        extract_inside(slow_songs, tmp_path / "store", config, **inside)
    assert 0 < len(songs_in(tmp_path / "store")) < len(list(slow_songs.iterdir()))


def done_in_silence(job: batches.Job, songs: pa.Table) -> dict[str, pa.Table]:
    """Do a batch as always, but tell the run nothing of its songs before all are done."""
    return batches.run_batch(dataclasses.replace(job, run_id="another"), songs)


@pytest.mark.fault(41)
def test_a_worker_killed_in_the_middle_costs_nothing(
    tmp_path: Path, scheduler_file: Path, start: Start, slow_songs: Path
) -> None:
    both = work_for(scheduler_file, start, 2, "--no-nanny")
    run = command(slow_songs, tmp_path / "store", "--scheduler-file", scheduler_file)
    wait_for_parts(tmp_path / "store")
    kill_tree(both[0])
    _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, said
    assert songs_in(tmp_path / "store") == sorted(path.name for path in slow_songs.iterdir())
    assert SongStore.open(tmp_path / "store").songs(arrow=True).num_rows == len(list(slow_songs.iterdir()))


@pytest.mark.fault(42)
def test_after_the_scheduler_is_killed_the_same_command_on_another_cluster_goes_on(
    tmp_path: Path, start: Start, slow_songs: Path
) -> None:
    scheduler_file = start_scheduler(tmp_path / "scheduler.json", start)
    work_for(scheduler_file, start, 1, "--no-nanny")
    run = command(slow_songs, tmp_path / "store", "--scheduler-file", scheduler_file)
    wait_for_parts(tmp_path / "store")
    scheduler = next(p for p in psutil.process_iter(["cmdline"]) if str(scheduler_file) in (p.info["cmdline"] or []))
    os.kill(scheduler.pid, signal.SIGKILL)
    _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 1
    assert "the Dask cluster was lost" in said
    assert "run the same command again" in said
    assert "Traceback" not in said
    again = command(slow_songs, tmp_path / "store", "--workers", "1")
    _, said = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 0, said
    assert songs_in(tmp_path / "store") == sorted(path.name for path in slow_songs.iterdir())


@pytest.mark.long
@pytest.mark.skipif(not LONG, reason="librosa is loaded by five processes")
def test_own_features_of_a_run_that_was_killed_are_finished_and_those_of_one_that_was_not(
    tmp_path: Path, scheduler_file: Path, start: Start, slow_songs: Path
) -> None:
    work_for(scheduler_file, start, 2)
    options = "--features", "examples.chroma:chroma", "--scheduler-file", scheduler_file
    run = command(slow_songs, tmp_path / "killed", *options)
    wait_for_parts(tmp_path / "killed")
    run.kill()
    run.communicate(timeout=PATIENCE_S)
    assert run.returncode == -signal.SIGKILL
    stores = []
    for name in ("killed", "whole"):
        run = command(slow_songs, tmp_path / name, *options)
        _, said = run.communicate(timeout=PATIENCE_S)
        assert run.returncode == 0, said
        stores.append(SongStore.open(tmp_path / name))
    finished, whole = stores
    assert finished.spec == whole.spec
    names = sorted(path.name for path in slow_songs.iterdir())
    assert songs_in(tmp_path / "killed") == songs_in(tmp_path / "whole") == names
    for name in names:
        np.testing.assert_array_equal(finished.windows(name), whole.windows(name))


class Chaos(KillWorker):
    """Kills the first workers at random moments, each in one of some ways; where all died, a run would never end."""

    def __init__(self, folder: Path, modes: tuple[Any, ...]) -> None:
        super().__init__(delay="1 s")
        self.folder, self.modes = folder, modes

    async def setup(self, worker: Any) -> None:
        n_dead = len(list(self.folder.iterdir()))
        if n_dead < N_DEATHS:
            (self.folder / uuid.uuid4().hex).touch()
            self.mode = self.modes[n_dead % len(self.modes)]
            await super().setup(worker)


@pytest.mark.long
@pytest.mark.fault(41)
@pytest.mark.parametrize("modes", [*zip(WAYS_TO_DIE)] if LONG else [WAYS_TO_DIE], ids=",".join)
def test_workers_that_die_at_random_lose_no_song(tmp_path: Path, songs: Path, modes: tuple[str, ...]) -> None:
    """In the short form one run loses a worker in each way."""
    (tmp_path / "deaths").mkdir()
    with connected(ExtractConfig(workers=2)) as client, dask.config.set(credentials(client)):
        client.register_plugin(Chaos(tmp_path / "deaths", modes))
        config = ExtractConfig(scheduler=client.scheduler.address)
        summary = extract(songs, tmp_path / "store", SPEC, config, progress=Silent())
    assert len(list((tmp_path / "deaths").iterdir())) >= 2
    assert summary.n_stored == N_SONGS
    assert SongStore.open(tmp_path / "store").songs(arrow=True).num_rows == N_SONGS


@pytest.mark.fault(104)
def test_the_local_cluster_admits_no_other_client_and_listens_to_this_machine_alone(tmp_path: Path) -> None:
    kept = set(Path(tempfile.gettempdir()).glob("songbag-workers-*"))
    of_other_tests = psutil.Process().children()
    with connected(ExtractConfig(workers=1)) as client:
        client.wait_for_workers(1, timeout=PATIENCE_S)
        (worker,), scheduler = client.nthreads(), client.scheduler.address
        assert re.fullmatch(r"(tls://127\.0\.0\.1:\d+ ?){2}", f"{scheduler} {worker}")
        for address, keys in ((scheduler.replace("tls", "tcp"), Security()), (scheduler, Security.temporary())):
            with pytest.raises(OSError, match=r"reset|closed|Timed out|TLS certificate"):
                Client(address, security=keys, timeout=1, set_as_default=False)
        family = {psutil.Process(), *psutil.Process().children()} - {*of_other_tests}
        listening = {
            one.laddr for process in family for one in process.net_connections("tcp") if one.status == "LISTEN"
        }
        assert {address.ip for address in listening} == {"127.0.0.1"}
        for address in listening:
            # Dask's pages need no key; those ports that speak TLS do not answer at all.
            with pytest.raises((HTTPError, OSError, HTTPException)):
                urlopen(f"http://127.0.0.1:{address.port}/json/counts.json", timeout=PATIENCE_S)
        (folder,) = set(Path(tempfile.gettempdir()).glob("songbag-workers-*")) - kept
        assert folder.stat().st_mode & 0o77 == 0
    assert not folder.exists()


@pytest.mark.long
@pytest.mark.fault(41)
def test_workers_killed_again_and_again_while_they_start_are_back_in_the_end() -> None:
    with connected(ExtractConfig(workers=2)) as client:
        stop = time.monotonic() + (5 if LONG else 2)
        while time.monotonic() < stop:
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "songbag_store.cluster.worker" in child.cmdline():
                        child.kill()
            time.sleep(0.3)
        client.wait_for_workers(2, timeout=PATIENCE_S)
        assert client.submit(abs, -1).result(timeout=PATIENCE_S) == 1
