from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.bags.bags import Bags
from songbag_store.errors import DamagedStore
from songbag_store.windows import process as reading_process
from songbag_store.windows import reader as reading
from songbag_store.windows.process import ReadingProcess
from songbag_store.windows.reader import FragmentReader
from tests.support.stores import MakeStore, sixteenths

SPEC = FeatureSpec(window_s=0.5, n_mels=40)
N_SONGS = 60

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="there are no files in memory here")


@pytest.fixture
def store(make_store: MakeStore, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> SongStore:
    """Return a store whose reader starts two processes with its first bags."""
    monkeypatch.setattr(reading, "PROCESSES_AFTER_BYTES", 0)
    monkeypatch.setattr(FragmentReader, "_n_processes", 2)
    return make_store({f"{n:02}": sixteenths(rng, 1 + n % 9, SPEC.window_shape) for n in range(N_SONGS)}, spec=SPEC)


def made(store: SongStore) -> Bags:
    return store.bags(bag_size=4, batch_size=8)


def as_read_here(store: SongStore, epochs: int = 1) -> list[Any]:
    """Return the windows of batches that this process reads alone."""
    reader = FragmentReader(store.storage, store.spec)
    reader.__dict__["_n_processes"] = 0
    bags = Bags(reader, store.select_songs(), bag_size=4, batch_size=8)
    return [batch.windows.copy() for batch in bags.batches(stop_epoch=epochs)]


def ready(bags: Bags) -> list[ReadingProcess]:
    """Read a batch, and wait for the processes that begin with it."""
    bags.batch(0, 0)
    processes = bags._reader._processes
    assert len(processes) == 2
    deadline = time.monotonic() + 60
    while not all(one.is_ready() for one in processes):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return processes


def pid(process: ReadingProcess) -> int:
    alive = process._end.peek()
    assert alive is not None
    child: int = alive[2][0].pid
    return child


def refuse(*_: object) -> None:
    raise AssertionError("read here")


def test_batches_that_processes_read_are_those_that_are_read_here(
    store: SongStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = as_read_here(store, 3)
    bags = made(store)
    ready(bags)
    monkeypatch.setattr(FragmentReader, "fill_bags", refuse)
    batches = list(bags.batches(stop_epoch=3))
    assert len(batches) == len(expected)
    for batch, windows in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(batch.windows, windows)


def test_processes_begin_only_when_much_is_read_of_a_folder_by_a_process_of_its_own(
    make_store: MakeStore, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store({"a": sixteenths(rng, 4, SPEC.window_shape)}, spec=SPEC)
    store.reader.__dict__["_n_threads"] = 16
    assert store.reader._n_processes == 4
    monkeypatch.setattr(reading, "PROCESSES_AFTER_BYTES", 2 * 4 * SPEC.window_bytes)
    bags = store.bags(bag_size=4)
    assert [len(bags.batch(n, 0).songs) and len(bags._reader._processes) for n in range(3)] == [0, 0, 4]
    for of_one_core in ({"_n_threads": 1}, {"_memory": object(), "_n_threads": 16}):
        reader = FragmentReader(store.storage, SPEC)
        reader.__dict__.update(of_one_core)
        assert reader._n_processes < 2
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    assert FragmentReader(store.storage, SPEC)._n_processes == 0


@pytest.mark.fault(88)
def test_a_process_that_is_killed_costs_no_batch_and_is_replaced(store: SongStore) -> None:
    expected = as_read_here(store, 3)
    bags = made(store)
    processes = ready(bags)
    windows = []
    for number, batch in enumerate(bags.batches(stop_epoch=3)):
        windows.append(batch.windows.copy())
        if number == 4:
            os.kill(pid(processes[1]), signal.SIGKILL)
    for got, wanted in zip(windows, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert [one.is_gone for one in processes] == [False, True]
    others = ready(bags)
    assert processes[0] not in others


def test_what_a_process_cannot_read_is_an_error_that_names_the_song(store: SongStore) -> None:
    bags = made(store)
    processes = ready(bags)
    for shard in (Path(store.location) / "features.zarr").glob("*/c/0/0/0"):
        shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(DamagedStore, match="songs hit"):
        list(bags.batches(stop_epoch=1))
    assert not any(one.is_gone for one in processes)


def test_a_shard_that_is_cut_off_while_it_is_mapped_ends_the_process_and_not_this_one(store: SongStore) -> None:
    bags = made(store)
    processes = ready(bags)
    list(bags.batches(stop_epoch=1))
    for shard in (Path(store.location) / "features.zarr").glob("*/c/0/0/0"):
        os.truncate(shard, 4096)
    with pytest.raises(DamagedStore, match="cut off"):
        list(bags.batches(stop_epoch=1))
    assert any(one.is_gone for one in processes)


def test_memory_of_a_batch_that_nobody_waits_for_is_not_another_ones_before_it_is_read(store: SongStore) -> None:
    bags = made(store)
    processes = ready(bags)
    for one in processes:
        os.kill(pid(one), signal.SIGSTOP)
    try:
        plan = bags.plan(0, 1)
        place = bags._reader._batches.place(bags._begin(plan)._bags.view(np.uint8))  # type: ignore[attr-defined]
        again = bags._reader._batches.take(plan.windows.size * SPEC.window_bytes)
        assert bags._reader._batches.place(again) != place
        del again
    finally:
        for one in processes:
            os.kill(pid(one), signal.SIGCONT)
    expected = as_read_here(store)
    for batch, windows in zip(bags.batches(stop_epoch=1), expected, strict=True):
        np.testing.assert_array_equal(batch.windows, windows)


def test_an_interrupted_wait_leaves_a_reader_that_goes_on(store: SongStore, monkeypatch: pytest.MonkeyPatch) -> None:
    bags = made(store)
    processes = ready(bags)
    for one in processes:  # what was answered already is not waited for
        os.kill(pid(one), signal.SIGSTOP)
    pending = bags._begin(bags.plan(0, 0))

    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    try:
        with monkeypatch.context() as patch:
            patch.setattr(ReadingProcess, "_take_answers", interrupt)
            with pytest.raises(KeyboardInterrupt):
                pending.result()
    finally:
        for one in processes:
            if not one.is_gone:
                os.kill(pid(one), signal.SIGCONT)
    assert any(one.is_gone for one in processes)
    for batch, windows in zip(bags.batches(stop_epoch=1), as_read_here(store), strict=True):
        np.testing.assert_array_equal(batch.windows, windows)


def test_a_process_that_does_not_get_to_work_is_given_up(store: SongStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_process, "PATIENCE_S", 0.2)
    bags = made(store)
    processes = ready(bags)
    os.kill(pid(processes[0]), signal.SIGSTOP)
    for batch, windows in zip(bags.batches(stop_epoch=1), as_read_here(store), strict=True):
        np.testing.assert_array_equal(batch.windows, windows)
    assert processes[0].is_gone
    assert not processes[1].is_gone


def test_the_first_process_reads_alone_for_as_long_as_it_keeps_up(store: SongStore) -> None:
    bags = made(store)
    processes = ready(bags)
    for step in range(5):
        bags.batch(0, step)
    assert [one._n_begun for one in processes] == [6, 1]
    os.kill(pid(processes[0]), signal.SIGSTOP)
    pending = [bags._begin(bags.plan(0, step)) for step in range(3)]
    assert [one._n_begun for one in processes] == [8, 2]
    os.kill(pid(processes[0]), signal.SIGCONT)
    for expected, one in zip(as_read_here(store), pending, strict=False):
        np.testing.assert_array_equal(one.result(), expected)


def test_processes_share_a_batch_that_is_large(store: SongStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_JOB_BYTES", 8 * 4 * SPEC.window_bytes // 2)
    bags = made(store)
    processes = ready(bags)
    for one in processes:  # for it may be that the first has done its half before the other half is handed over
        os.kill(pid(one), signal.SIGSTOP)
    pending = bags._begin(bags.plan(0, 3))
    for one in processes:
        os.kill(pid(one), signal.SIGCONT)
    np.testing.assert_array_equal(pending.result(), as_read_here(store)[3])
    assert [one._n_begun for one in processes] == [2, 2]


def test_the_processes_give_way_to_what_trains(store: SongStore) -> None:
    for process in ready(made(store)):
        idle = os.sched_getscheduler(pid(process)) == os.SCHED_IDLE
        assert idle or os.getpriority(os.PRIO_PROCESS, pid(process)) >= 10


ORPHANED = """
import os, sys, time
from songbag_store import SongStore
from songbag_store.windows import reader as reading
reading.PROCESSES_AFTER_BYTES = 0
reading.FragmentReader._n_processes = 2
bags = SongStore.open(sys.argv[1]).bags(bag_size=4, batch_size=8)
expected = [batch.windows.copy() for batch in bags.batches(stop_epoch=1)]
processes = bags._reader._processes
while not all(one.is_ready() for one in processes):
    time.sleep(0.02)
"""

KILLED = """
print(*(one._end.peek()[2][0].pid for one in processes), flush=True)
os.kill(os.getpid(), 9)
"""

FORKED = """
def check():
    batches = [batch.windows.copy() for batch in bags.batches(stop_epoch=1)]
    assert all((a == b).all() for a, b in zip(batches, expected, strict=True))
begun = bags._begin(bags.plan(0, 3))
child = os.fork()
if child == 0:
    try:
        bags.batch(0, 5)
        check()
    except BaseException:
        os._exit(1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert (begun.result() == expected[3]).all()
check()
assert not any(one.is_gone for one in processes)
print("both")
"""


def test_processes_end_with_the_one_they_read_for_even_if_that_is_killed(store: SongStore) -> None:
    code = ORPHANED + KILLED
    done = subprocess.run([sys.executable, "-c", code, store.location], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    children = [Path(f"/proc/{one}") for one in done.stdout.split()]
    assert len(children) == 2
    deadline = time.monotonic() + 30
    while any(one.exists() and "Z" not in (one / "stat").read_text().split()[2] for one in children):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_fork_reads_by_itself_and_leaves_its_parent_alone(store: SongStore) -> None:
    code = ORPHANED + FORKED
    done = subprocess.run([sys.executable, "-c", code, store.location], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("both\n", 0), done.stderr
