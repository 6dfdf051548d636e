"""A run over a network: scheduler, workers, object store and client on machines of their own, with bad wires between.

Delay and loss come from `tests.support.long_wire`; whole machines are cut off, stopped and restarted.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import os
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import soundfile

from tests.support.audio import chirp
from tests.support.clusters import IDLE, wait_until
from tests.support.long import LONG
from tests.support.network import Network, stopped, why_none
from tests.support.objects import AUTHORIZATION, BUCKET, KEYS, PAGE_NAMES, make_bucket

WORKERS = [f"worker{number}" for number in range(4)]
MACHINES = ["store", "scheduler", "wire", "client", *WORKERS]
N_SONGS = 360 if LONG else 36
PAUSE_S = 30.0 if LONG else 1.0
DELAY_S = 0.02 if LONG else 0.003
STORE = f"s3://{BUCKET}/store"

pytestmark = [pytest.mark.long, pytest.mark.skipif(bool(why_none()), reason=why_none())]


class Site:
    """The machines, what runs on them, and how they are reached through the wire."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self.folder = network, folder
        server = network.start("store", "tests.support.s3_server", str(PAGE_NAMES), network.address("store"))
        wait_until(lambda: re.search(r"http://([\d.:]+)", self._said("store")), "the store's server started")
        address = re.search(r"http://([\d.:]+)", self._said("store"))
        assert address is not None
        self.server, self.endpoint = server, f"http://{network.address('wire')}:9000"
        for port, target, *more in (("9000", address[1], "--cuts"), ("8786", f"{network.address('scheduler')}:8786")):
            listens = f"{network.address('wire')}:{port}"
            network.start("wire", "tests.support.long_wire", listens, target, str(DELAY_S), port, *more)
        network.on("store", lambda: make_bucket(f"http://{address[1]}", BUCKET))
        self._direct = f"http://{address[1]}/{BUCKET}?list-type=2&prefix=store/parts/"
        self.scheduler_address = f"tcp://{network.address('wire')}:8786"
        self.start_scheduler()

    def start_scheduler(self) -> None:
        """Start the scheduler, at the address it always has."""
        where = ("--host", self.network.address("scheduler"), "--port", "8786", "--no-dashboard")
        self.scheduler = self.network.start("scheduler", "dask", "scheduler", *where)

    def start_workers(self) -> None:
        """Start a worker on every machine that has none."""
        for name in WORKERS:
            if not self.network.processes(name):
                options = ("--nthreads", "1", "--host", self.network.address(name), "--no-nanny", "--no-dashboard")
                place = ("--local-directory", self.folder / name)
                self.network.start(name, "dask", "worker", self.scheduler_address, *options, *place)

    def start_extract(self, manifest: Path) -> int:
        """Start `songbag extract` on the client."""
        options = ("--window", "0.5", "--n-mels", "40", "--scheduler", self.scheduler_address)
        return self.network.start("client", "songbag", "extract", manifest, STORE, *options, *self._reach())

    def run(self, *arguments: str | Path) -> int:
        """Run a command on the client."""
        return self.network.run("client", "songbag", *arguments, *self._reach())

    def n_parts(self) -> int:
        """Return how many batches are done."""
        request = urllib.request.Request(self._direct, headers={"Authorization": AUTHORIZATION})

        def ask() -> str:
            with urllib.request.urlopen(request) as answer:
                return str(answer.read().decode())

        return len(re.findall(r"<Key>store/parts/[0-9a-f]{32}\.parquet</Key>", self.network.on("store", ask)))

    def wait_for_parts(self, run: int, count: int) -> None:
        """Wait until so many batches are done while a run goes on."""

        def done() -> bool:
            time.sleep(0.1)
            assert psutil.pid_exists(run), self.said()
            return self.n_parts() >= count

        wait_until(done, f"{count} batches were done")

    def said(self) -> str:
        """Return what the commands on the client said."""
        return self._said("client")

    def _said(self, machine: str) -> str:
        log = self.network.log(machine)
        return log.read_text() if log.exists() else ""

    def _reach(self) -> list[str]:
        options = {**KEYS, "endpoint": self.endpoint}
        return [f"--storage-option={name}={value}" for name, value in options.items()]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """The machines, with everything started but the workers."""
    modules = ("dask.cli", "distributed.cli.dask_worker", "distributed.cli.dask_scheduler")
    shared = (*modules, "moto.server", "songbag_pipeline.run.coordinator", "songbag_store.cli.root")
    with contextlib.ExitStack() as ending:
        network = ending.enter_context(Network(MACHINES, tmp_path, IDLE, shared))
        yield Site(network, tmp_path)


def write_manifest(folder: Path) -> tuple[Path, list[str]]:
    """Write songs that are one file, three to a batch; return the manifest and their ids."""
    # By this suffix it seems to be eleven times as long.
    soundfile.write(folder / "song.spx", chirp(4.0), 22050, format="WAV")
    ids = [f"Künstler {number // 7}/«{number}», a;b'c" for number in range(N_SONGS)]
    with (folder / "songs.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("song_id", "path"), *zip(ids, itertools.repeat("song.spx"))])
    return folder / "songs.csv", ids


@pytest.mark.fault(41)
@pytest.mark.fault(42)
@pytest.mark.fault(50)
def test_a_run_over_bad_wires_a_cut_off_worker_a_paused_store_and_a_restarted_scheduler_has_each_song_once(
    site: Site, tmp_path: Path
) -> None:
    manifest, song_ids = write_manifest(tmp_path)
    site.start_workers()
    run = site.start_extract(manifest)
    site.wait_for_parts(run, 1)
    with stopped([site.server]):
        site.network.cut("worker0")
        os.kill(site.scheduler, signal.SIGKILL)
        time.sleep(PAUSE_S)
    assert site.network.wait(run) == 1
    assert site.said().count("the Dask cluster was lost") == site.said().count("run the same command again") == 1
    site.network.join("worker0")
    wait_until(lambda: not any(map(site.network.processes, WORKERS)), "the workers without a scheduler ended")
    site.start_scheduler()
    site.start_workers()
    n_parts = site.n_parts()
    run = site.start_extract(manifest)
    site.wait_for_parts(run, n_parts + 1)
    with stopped([site.server]):
        site.network.cut("worker1")
        time.sleep(PAUSE_S)
    assert site.network.wait(run) == 0, site.said()
    assert site.run("verify", STORE, "--full") == 0, site.said()
    query = ("query", STORE, "select song_id from songs", "--format", "csv", "-o", tmp_path / "ids.csv")
    assert site.run(*query) == 0, site.said()
    with (tmp_path / "ids.csv").open(newline="", encoding="utf-8") as file:
        assert sorted(row["song_id"] for row in csv.DictReader(file)) == sorted(song_ids)
    assert "Traceback" not in site.said()
