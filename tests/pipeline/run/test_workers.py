"""Workers that lack something, die of hunger or wake from the dead: real processes over TCP."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from distributed import Client

from songbag_pipeline import extract
from songbag_pipeline.run import batch as batches, workers
from songbag_pipeline.run.batch import Job
from songbag_pipeline.run.config import ExtractConfig
from songbag_pipeline.songs.containment import Containment, modules_of
from songbag_store import FeatureSpec, SongStore
from songbag_store.cluster.cluster import connected
from songbag_store.cluster.limits import Limits
from songbag_store.errors import ClusterError, UsageError
from songbag_store.progress import Lines, Silent
from songbag_store.writer import open_for_writing
from tests.support.audio import chirp, write
from tests.support.clusters import (
    N_SONGS,
    SPEC,
    Start,
    extract_inside,
    importable,
    parts,
    songs_in,
    start_scheduler,
    wait_for_parts,
    wait_until,
    work_for,
)
from tests.support.patience import PATIENCE_S


def other_soxr(folder: Path) -> dict[str, str]:
    """Return the environment of a worker with another version of a package."""
    other = folder / "other" / "soxr-0.5.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: soxr\nVersion: 0.5.0\n")
    return importable(other.parent)


def no_songbag(folder: Path) -> dict[str, str]:
    """Return the environment of a worker that does not have songbag."""
    hidden = folder / "hidden" / "songbag_pipeline"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError('No module named songbag_pipeline')")
    return importable(hidden.parent)


@pytest.mark.fault(59)
def test_a_worker_with_other_software_is_named_before_any_work(
    tmp_path: Path, songs: Path, scheduler_file: Path, start: Start
) -> None:
    work_for(scheduler_file, start, 1, "--no-nanny", **other_soxr(tmp_path))
    with pytest.raises(ClusterError, match=r"worker tcp://.* has other software: soxr 0\.5\.0 instead of"):
        extract(songs, tmp_path / "store", SPEC, ExtractConfig(scheduler_file=scheduler_file), progress=Silent())
    assert SongStore.open(tmp_path / "store").snapshot == 0


@pytest.mark.fault(59)
def test_a_worker_without_songbag_is_named_before_any_work(
    tmp_path: Path, songs: Path, scheduler_file: Path, start: Start
) -> None:
    work_for(scheduler_file, start, 1, "--no-nanny", **no_songbag(tmp_path))
    with pytest.raises(ClusterError, match=r"cannot run songbag.*No module named songbag_pipeline"):
        extract(songs, tmp_path / "store", SPEC, ExtractConfig(scheduler_file=scheduler_file), progress=Silent())


@pytest.mark.fault(59)
@pytest.mark.parametrize(("hidden", "said"), [("store", "does not see the store"), ("song", "cannot read the songs")])
def test_a_worker_that_does_not_see_the_files_is_named_before_any_work(
    tmp_path: Path, scheduler_file: Path, start: Start, hidden: str, said: str
) -> None:
    work_for(scheduler_file, start, 1, "--no-nanny")
    store = open_for_writing(tmp_path / "store", SPEC)
    if hidden == "store":
        (tmp_path / "store" / "store.json").rename(tmp_path / "store.json")
    song = str(tmp_path / "nowhere.wav") if hidden == "song" else None
    job = Job(store.location, store.uuid, SPEC, "run", song=song)
    with (
        connected(ExtractConfig(workers=1, scheduler_file=scheduler_file)) as client,
        pytest.raises(ClusterError, match=said),
    ):
        workers.check_workers(client, job)


def test_a_worker_that_lacks_what_an_extractor_imports_is_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, helper = tmp_path / "own_helped.py", tmp_path / "own_helper.py"
    module.write_text(
        "import songbag, own_helper\n"
        "@songbag.extractor(sample_rate_hz=8000, shape=(1, 1), version='1')\n"
        "def ones(windows): return own_helper.ones(windows)\n"
    )
    helper.write_text("import numpy\ndef ones(windows): return numpy.ones((len(windows), 1, 1))\n")
    with monkeypatch.context() as here:
        here.syspath_prepend(tmp_path)
        spec = FeatureSpec.custom("own_helped:ones", window_s=0.5)
    store = open_for_writing(tmp_path / "store", spec)
    for files, lack in (([module], "No module named 'own_helper'"), ([module, helper], None)):
        contained = Containment().for_spec(spec, (), modules_of(list(map(str, files))))
        found = workers.find_lack(Job(store.location, store.uuid, spec, "run", contained, tries_features=True))
        assert found is None if lack is None else found is not None and lack in found[0]
    with pytest.raises(UsageError, match=r"another file of the name 'own_helper\.py' is sent too"):
        modules_of([str(helper), "elsewhere/own_helper.py"])


@pytest.mark.fault(59)
def test_workers_that_join_later_and_do_not_fit_are_left_out_and_the_run_goes_on(
    tmp_path: Path, scheduler_file: Path, start: Start, slow_songs: Path
) -> None:
    lines: list[str] = []
    (fit,) = work_for(scheduler_file, start, 1, "--no-nanny")
    config, inside = ExtractConfig(scheduler_file=scheduler_file), {"limits": Limits(look_s=0.2)}
    with ThreadPoolExecutor(1) as threads:
        store = tmp_path / "store"
        run = threads.submit(extract_inside, slow_songs, store, config, progress=Lines(lines.append), **inside)
        wait_for_parts(store, 1)
        fit.send_signal(signal.SIGSTOP)
        work_for(scheduler_file, start, 1, "--no-nanny", **other_soxr(tmp_path))
        (without,) = work_for(scheduler_file, start, 1, "--no-nanny", **no_songbag(tmp_path))
        wait_until(lambda: "left out: cluster: worker tcp://" in "".join(lines), "the other worker was left out")
        wait_until(lambda: without.poll() is not None, "Dask ended the worker that could not read its task")
        fit.send_signal(signal.SIGCONT)
        run.result(PATIENCE_S)
    assert "has other software: soxr 0.5.0" in "".join(lines)
    assert songs_in(store) == sorted(path.name for path in slow_songs.iterdir())
    assert SongStore.open(store).songs(arrow=True).num_rows == len(list(slow_songs.iterdir()))


@pytest.mark.fault(45)
def test_a_song_for_which_a_worker_runs_out_of_memory_fails_alone_and_says_so(tmp_path: Path, start: Start) -> None:
    # One death is enough to blame a batch here; by default Dask tries four workers.
    file = start_scheduler(tmp_path / "scheduler.json", start, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0")
    work_for(file, start, 1, "--memory-limit", "900MiB")
    for name in ("a", "hungry"):
        write(tmp_path / "songs" / f"{name}.wav", chirp(2.0))
    config = ExtractConfig(scheduler_file=file)
    summary = extract_inside(tmp_path / "songs", tmp_path / "store", config, task=allocates)
    assert (summary.n_stored, summary.n_failed) == (1, 1)
    failed = SongStore.open(tmp_path / "store").sql("select song_id, error from failures")
    assert failed["song_id"].tolist() == ["hungry.wav"]
    assert "want of memory" in failed["error"][0]
    assert "95% memory budget" in (tmp_path / "dask.log").read_text()


@pytest.mark.fault(44)
def test_a_song_that_was_alone_when_workers_were_lost_is_tried_once_more(tmp_path: Path, start: Start) -> None:
    file = start_scheduler(tmp_path / "scheduler.json", start, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0")
    work_for(file, start)
    for name in ("a", "poison", "unlucky"):
        write(tmp_path / "songs" / f"{name}.wav", chirp(2.0))
    config = ExtractConfig(scheduler_file=file)
    summary = extract_inside(tmp_path / "songs", tmp_path / "store", config, task=dies)
    assert (summary.n_stored, summary.n_failed) == (2, 1)
    failed = SongStore.open(tmp_path / "store").sql("select song_id, error_code from failures")
    assert failed.values.tolist() == [["poison.wav", "decoder-crash"]]


def dies(job: Job, songs: pa.Table) -> Any:
    """Do a batch as always, but end the worker: of one song always, of another with company and once alone."""
    for path in map(Path, songs["path"].to_pylist()):
        death = path.with_suffix(".alone" if songs.num_rows == 1 else ".in-company")
        if path.stem == "poison" or (path.stem == "unlucky" and not death.with_suffix(".alone").exists()):
            death.touch()
            os._exit(1)
    return batches.run_batch(job, songs)


def allocates(job: Job, songs: pa.Table) -> Any:
    """Do a batch as always, but take more memory than the worker has if one song is in it."""
    if any("hungry" in path for path in songs["path"].to_pylist()):
        taken = [np.ones(1 << 23) for _ in range(12)]
        time.sleep(PATIENCE_S)
        assert taken
    return batches.run_batch(job, songs)


@pytest.mark.fault(46)
def test_a_worker_given_up_that_finishes_its_batch_after_all_leaves_one_orphan_and_no_song_twice(
    tmp_path: Path, songs: Path, scheduler_file: Path, start: Start
) -> None:
    store, sleep = tmp_path / "store", tmp_path / "sleep"
    sleep.mkdir()
    (zombie,) = work_for(scheduler_file, start, 1, "--no-nanny", SONGBAG_TEST_SLEEP=str(sleep))
    config = ExtractConfig(scheduler_file=scheduler_file)
    run = threading.Thread(target=extract_inside, args=(songs, store, config), kwargs={"task": sleeps_first})
    run.start()
    wait_until((sleep / "began").exists, "the zombie began a batch")
    zombie.send_signal(signal.SIGSTOP)
    work_for(scheduler_file, start, 1, "--no-nanny")
    with Client(scheduler_file=str(scheduler_file), set_as_default=False) as client:
        client.wait_for_workers(2, timeout=PATIENCE_S)
        client.run_on_scheduler(give_up_the_first)
    run.join(PATIENCE_S)
    index, finished = SongStore.open(store).index(arrow=True), parts(store)
    (sleep / "wake").touch()
    zombie.send_signal(signal.SIGCONT)
    wait_until(lambda: len(parts(store)) > len(finished), "the zombie wrote its part")
    again = extract(songs, store, config=ExtractConfig(workers=1), progress=Silent())
    (orphan,) = set(parts(store)) - set(finished)
    now = SongStore.open(store).index(arrow=True)
    assert (again.n_stored, again.n_adopted, again.n_known) == (0, 0, N_SONGS)
    assert songs_in(store) == sorted(path.name for path in songs.iterdir())
    assert now.sort_by("song_id").equals(index.sort_by("song_id"))
    assert orphan not in now["fragment"].to_pylist()


def sleeps_first(job: Job, songs: pa.Table) -> Any:
    """Do a batch as always, but on one worker not before it is woken."""
    if folder := os.environ.get("SONGBAG_TEST_SLEEP"):
        Path(folder, "began").touch()
        while not Path(folder, "wake").exists():
            time.sleep(0.01)
    return batches.run_batch(job, songs)


async def give_up_the_first(dask_scheduler: Any) -> None:
    """Do what a scheduler does with a worker that has been silent for five minutes."""
    first = min(dask_scheduler.workers.values(), key=lambda worker: worker.last_seen)
    await dask_scheduler.remove_worker(address=first.address, stimulus_id="worker-ttl")
