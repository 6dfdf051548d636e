"""Clusters of real processes over TCP: found, checked, losing workers, losing the scheduler."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from songbag_pipeline import cluster, extract, extraction
from songbag_pipeline.cluster import ClusterChoice, connected
from songbag_pipeline.errors import ClusterError
from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import UsageError
from tests.pipeline.conftest import chirp, write

SPEC = FeatureSpec(window_s=0.5, n_mels=40)
N_SONGS = 40

Start = Callable[..., subprocess.Popen[bytes]]


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
                    env=os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))} | environment,
                )
            )
        return processes[-1]

    yield start
    for process in processes:
        _kill_tree(process)


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        family = []
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


@pytest.fixture
def scheduler_file(tmp_path: Path, start: Start) -> Path:
    """A scheduler without workers, found by its file."""
    path = tmp_path / "scheduler.json"
    start("scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0", "--scheduler-file", path)
    deadline = time.monotonic() + 60
    while not path.is_file():
        assert time.monotonic() < deadline, (tmp_path / "dask.log").read_text()
        time.sleep(0.05)
    return path


def work_for(scheduler_file: Path, start: Start, count: int = 1, **environment: str) -> list[subprocess.Popen[bytes]]:
    options = ("--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard")
    return [start("worker", "--scheduler-file", scheduler_file, *options, **environment) for _ in range(count)]


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    for number in range(N_SONGS):
        write(tmp_path / "songs" / f"{number:02}.wav", chirp(2.0, seed=number))
    return tmp_path / "songs"


def quiet() -> Console:
    return Console(quiet=True)


def songs_in(store: Path) -> list[str]:
    ids: list[str] = SongStore.open(store).index["song_id"].to_pylist()
    return sorted(ids)


def test_a_cluster_started_by_hand_does_the_work_and_its_workers_need_not_share_a_folder_with_the_coordinator(
    tmp_path: Path, songs: Path, scheduler_file: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_for(scheduler_file, start, 2)
    monkeypatch.chdir(tmp_path)
    console = Console(record=True, file=io.StringIO(), width=200)
    summary = extract("songs", "store", SPEC, scheduler_file=scheduler_file, console=console)
    assert (summary.n_stored, summary.n_failed) == (N_SONGS, 0)
    assert "Dashboard of the cluster: http://" in console.export_text()
    assert not (tmp_path / "elsewhere" / "store").exists()


def test_a_worker_with_other_software_is_named_before_any_work(
    tmp_path: Path, songs: Path, scheduler_file: Path, start: Start
) -> None:
    other = tmp_path / "other" / "soxr-0.5.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: soxr\nVersion: 0.5.0\n")
    path = os.pathsep.join([str(other.parent), *map(os.path.abspath, sys.path)])
    work_for(scheduler_file, start, PYTHONPATH=path)
    with pytest.raises(ClusterError, match=r"worker tcp://.* has other software: soxr 0\.5\.0 instead of"):
        extract(songs, tmp_path / "store", SPEC, scheduler_file=scheduler_file, console=quiet())
    assert SongStore.open(tmp_path / "store").snapshot == 0


def test_a_worker_without_songbag_is_named_before_any_work(
    tmp_path: Path, songs: Path, scheduler_file: Path, start: Start
) -> None:
    hidden = tmp_path / "hidden" / "songbag_pipeline"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError('No module named songbag_pipeline')")
    path = os.pathsep.join([str(hidden.parent), *map(os.path.abspath, sys.path)])
    work_for(scheduler_file, start, PYTHONPATH=path)
    with pytest.raises(ClusterError, match=r"cannot run songbag.*No module named songbag_pipeline"):
        extract(songs, tmp_path / "store", SPEC, scheduler_file=scheduler_file, console=quiet())


@pytest.mark.parametrize(("hidden", "said"), [("store", "does not see the store"), ("song", "cannot read the songs")])
def test_a_worker_that_does_not_see_the_files_is_named_before_any_work(
    tmp_path: Path, scheduler_file: Path, start: Start, hidden: str, said: str
) -> None:
    work_for(scheduler_file, start)
    (tmp_path / "songs").mkdir()
    store = SongStore.open_for_writing(tmp_path / "store", SPEC)
    if hidden == "store":
        (tmp_path / "store" / "store.json").rename(tmp_path / "store.json")
    with connected(ClusterChoice(workers=1, scheduler_file=scheduler_file)) as client:
        song = str(tmp_path / "nowhere.wav") if hidden == "song" else None
        with pytest.raises(ClusterError, match=said):
            cluster.check_workers(client, store, song, {})


def test_a_scheduler_that_is_not_there_is_an_error_with_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_S", 2)
    with (
        pytest.raises(ClusterError, match=r"no Dask scheduler answers"),
        connected(ClusterChoice(workers=1, scheduler="tcp://127.0.0.1:9")),
    ):
        pass
    with (
        pytest.raises(ClusterError, match="no such scheduler file"),
        connected(ClusterChoice(workers=1, scheduler_file=tmp_path / "none.json")),
    ):
        pass
    with pytest.raises(UsageError, match="both name a cluster"):
        ClusterChoice(workers=1, scheduler="tcp://127.0.0.1:9", scheduler_file="x")


def test_a_run_without_any_worker_ends_instead_of_waiting_for_ever(
    tmp_path: Path, songs: Path, scheduler_file: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_FIRST_WORKER_S", 1)
    with pytest.raises(ClusterError, match="no worker joined the cluster within 1 s"):
        extract(songs, tmp_path / "store", SPEC, scheduler_file=scheduler_file, console=quiet())


def test_a_run_whose_workers_all_left_ends_with_what_was_finished_committed(
    tmp_path: Path, scheduler_file: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "_WITHOUT_WORKERS_S", 2.0)
    monkeypatch.setattr(extraction, "_LOOK_AT_WORKERS_S", 0.5)
    worker, songs = work_for(scheduler_file, start)[0], slow_songs(tmp_path)

    def kill() -> None:
        wait_for_parts(tmp_path / "store")
        _kill_tree(worker)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ClusterError, match=r"no worker has been there for 2 s.*\n.*run the same command again"):
        extract(songs, tmp_path / "store", SPEC, scheduler_file=scheduler_file, console=quiet())
    killer.join()
    assert songs_in(tmp_path / "store")


def test_a_worker_killed_in_the_middle_costs_nothing(tmp_path: Path, scheduler_file: Path, start: Start) -> None:
    songs = slow_songs(tmp_path)
    workers = work_for(scheduler_file, start, 2)
    run = command(songs, tmp_path / "store", "--scheduler-file", scheduler_file)
    wait_for_parts(tmp_path / "store")
    _kill_tree(workers[0])
    _, said = run.communicate(timeout=150)
    assert run.returncode == 0, said
    assert songs_in(tmp_path / "store") == sorted(path.name for path in songs.iterdir())
    assert SongStore.open(tmp_path / "store").select_songs().num_rows == len(list(songs.iterdir()))


def test_after_the_scheduler_is_killed_the_same_command_on_another_cluster_goes_on(
    tmp_path: Path, start: Start, scheduler_file: Path
) -> None:
    songs = slow_songs(tmp_path)
    work_for(scheduler_file, start)
    run = command(songs, tmp_path / "store", "--scheduler-file", scheduler_file)
    wait_for_parts(tmp_path / "store")
    scheduler = next(p for p in psutil.process_iter(["cmdline"]) if str(scheduler_file) in (p.info["cmdline"] or []))
    os.kill(scheduler.pid, signal.SIGKILL)
    _, said = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "the Dask cluster was lost" in said
    assert "run the same command again" in said
    assert "Traceback" not in said
    again = command(songs, tmp_path / "store", "--workers", "1")
    _, said = again.communicate(timeout=150)
    assert again.returncode == 0, said
    assert songs_in(tmp_path / "store") == sorted(path.name for path in songs.iterdir())


def slow_songs(folder: Path) -> Path:
    """Enough that a run can be disturbed in the middle."""
    samples = chirp(30.0, 44100, 2)
    for number in range(24):
        write(folder / "long" / f"{number:02}.flac", samples * (0.5 + number / 50), 44100)
    return folder / "long"


def command(source: Path, store: Path, *options: str | Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "songbag_store", "extract", str(source), str(store), *map(str, options)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_parts(store: Path) -> None:
    deadline = time.monotonic() + 90
    while len(list((store / "parts").glob("*.parquet"))) < 2:
        assert time.monotonic() < deadline, "no part was written in time"
        time.sleep(0.01)


def test_the_page_on_clusters_holds_what_it_says_of_one_made_by_hand(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
    by_hand = page.partition("## By hand")[2].partition("\n## ")[0]
    blocks = re.findall(r"```bash\n(.*?)```", by_hand, re.DOTALL)
    assert len(blocks) == 2
    for number in range(4):
        write(tmp_path / "songs" / f"{number}.wav", chirp(6.0, seed=number))
    script = "trap 'kill $(jobs -p)' EXIT\n" + "\n".join(blocks)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-ec", script],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "4 songs stored, 0 failed" in done.stdout


@pytest.mark.parametrize("mode", ["sys.exit", "graceful", "segfault"])
def test_workers_that_die_at_random_lose_no_song(
    tmp_path: Path, songs: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed.chaos import KillWorker

    ordinary = extraction.connected

    @contextlib.contextmanager
    def chaotic(choice: ClusterChoice) -> Iterator[object]:
        with ordinary(choice) as client:
            client.register_plugin(KillWorker(delay="4 s", mode=mode))
            yield client

    monkeypatch.setattr(extraction, "connected", chaotic)
    summary = extract(songs, tmp_path / "store", SPEC, workers=2, console=quiet())
    assert summary.n_stored == N_SONGS
    assert SongStore.open(tmp_path / "store").select_songs().num_rows == N_SONGS


def test_workers_killed_again_and_again_while_they_start_are_back_in_the_end() -> None:
    with connected(ClusterChoice(workers=2)) as client:
        stop = time.monotonic() + 5
        while time.monotonic() < stop:
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "spawn_main" in " ".join(child.cmdline()):
                        child.kill()
            time.sleep(0.3)
        client.wait_for_workers(2, timeout=60)
        assert client.submit(abs, -1).result(timeout=30) == 1
