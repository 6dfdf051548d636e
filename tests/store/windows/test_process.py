from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.bags.bags import Bags
from songbag_store.errors import DamagedStore
from songbag_store.types import Ints, StoredWindows
from songbag_store.windows.memory import ChunkMemory
from songbag_store.windows.process import ProcessRule, ReadingProcess, WaitingShare
from songbag_store.windows.reader import FragmentReader
from songbag_store.windows.spans import Spans
from tests.support.patience import PATIENCE_S
from tests.support.stores import MakeStore, sixteenths

SPEC = FeatureSpec(window_s=0.5, n_mels=40)
N_SONGS = 60
AT_ONCE = ProcessRule(n_processes=2, after_bytes=0, waiting_share=0.0, patience_s=600.0)
"""Processes that start with the first bags and are waited for however slow the machine is."""
NEVER = ProcessRule(n_processes=0)

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="there are no files in memory here")


@pytest.fixture
def store(make_store: MakeStore, rng: np.random.Generator) -> SongStore:
    return make_store({f"{n:02}": sixteenths(rng, 1 + n % 9, SPEC.window_shape) for n in range(N_SONGS)}, spec=SPEC)


class OnlyProcesses(FragmentReader):
    """Reads no bags in this process while `refuses` is set."""

    refuses = False

    def fill_bags(self, spans: Spans, windows: Ints, bags: StoredWindows) -> None:
        assert not self.refuses, "read here"
        super().fill_bags(spans, windows, bags)


def made(store: SongStore, rule: ProcessRule = AT_ONCE) -> Bags:
    reader = OnlyProcesses(store.inside.storage, store.spec, rule=rule)
    return Bags(reader, store.songs(arrow=True), bag_size=4, batch_size=8)


def as_read_here(store: SongStore, epochs: int = 1) -> list[Any]:
    """Return the windows of batches that this process reads alone."""
    return [batch.windows.copy() for batch in made(store, NEVER).batches(stop_epoch=epochs)]


def ready(bags: Bags) -> list[ReadingProcess]:
    """Read a batch, and wait for the processes that begin with it."""
    bags.batch(0, 0)
    processes = bags._reader._processes
    assert len(processes) == 2
    while not all(one.is_ready() for one in processes):
        assert not any(one.is_gone for one in processes)
        time.sleep(0.02)
    return processes


def pid(process: ReadingProcess) -> int:
    alive = process._end.peek()
    assert alive is not None
    child: int = alive[2][0].pid
    return child


def test_batches_that_processes_read_are_those_that_are_read_here(store: SongStore) -> None:
    expected = as_read_here(store, 3)
    bags = made(store)
    ready(bags)
    bags._reader.refuses = True  # type: ignore[attr-defined]
    batches = list(bags.batches(stop_epoch=3))
    assert len(batches) == len(expected)
    for batch, windows in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(batch.windows, windows)


def test_bags_that_are_waited_for_are_worth_a_process_and_bags_that_are_there_are_not() -> None:
    rule = ProcessRule(after_bytes=1000, waiting_share=0.1)
    loader, training = WaitingShare(rule), WaitingShare(rule)
    # A loader that does nothing but wait, and a step of 60 ms that finds its batch 1 ms late.
    assert [loader.is_large(100, 0.002, 0.003 * n) for n in range(20)] == 2 * [*9 * [False], True]
    assert not any(training.is_large(100, 0.001, 0.061 * n) for n in range(200))
    # The same where a step takes 2 ms.
    assert any(training.is_large(100, 0.001, 12.2 + 0.003 * n) for n in range(20))


def test_a_pause_hides_no_waiting_and_slow_steps_are_no_waiting() -> None:
    rule = ProcessRule(after_bytes=1000, waiting_share=0.1)
    stopped, slow = WaitingShare(rule), WaitingShare(rule)
    assert any(stopped.is_large(100, 0.02, 0.02 * n + 60 * (n // 5)) for n in range(11))
    assert not any(slow.is_large(100, 0.005, 5.0 * n) for n in range(100))


@pytest.mark.parametrize("waited_for", [True, False])
def test_processes_start_where_bags_are_waited_for_and_else_never(store: SongStore, waited_for: bool) -> None:
    """The shares that are asked for hold on any machine: some waiting, or nothing but waiting."""
    three_batches = 3 * 7 * 4 * SPEC.window_bytes
    share = 1e-9 if waited_for else 1.0
    bags = made(store, dataclasses.replace(AT_ONCE, after_bytes=three_batches, waiting_share=share))
    if waited_for:
        # One after the other, so that all the reading is waiting.
        for step in range(3):
            bags.batch(0, step)
    else:
        for pending in [bags._begin(bags.plan(0, step)) for step in range(bags.n_steps)]:
            for job in pending.jobs:  # type: ignore[attr-defined]
                job()
            time.sleep(0.05)
            pending.result()
    assert len(bags._reader._processes) == (2 if waited_for else 0)
    latest = bags._reader._waiting.latest
    assert latest is not None
    assert 0 < latest <= 1


def test_only_a_process_of_its_own_that_reads_a_folder_without_a_memory_starts_others(
    store: SongStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def n_started(rule: ProcessRule = AT_ONCE, memory: ChunkMemory | None = None) -> int:
        reader = FragmentReader(store.inside.storage, SPEC, memory=memory, rule=rule)
        bags = Bags(reader, store.songs(arrow=True), bag_size=4, batch_size=8)
        for step in range(3):
            bags.batch(0, step)
        return len(reader._processes)

    assert n_started() == 2
    assert n_started(dataclasses.replace(AT_ONCE, n_processes=1)) == 0
    assert n_started(memory=ChunkMemory(10**6)) == 0
    assert n_started(dataclasses.replace(AT_ONCE, after_bytes=10**9)) == 0
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    assert n_started() == 0


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


def test_processes_that_ended_are_tried_again_after_eight_times_as_many_bytes(store: SongStore) -> None:
    batch_bytes = 7 * 4 * SPEC.window_bytes
    bags = made(store, dataclasses.replace(AT_ONCE, after_bytes=batch_bytes))
    processes = ready(bags)
    os.kill(pid(processes[0]), signal.SIGKILL)
    while bags._reader._processes == processes:
        bags.batch(0, 0)
    n_batches = 1
    while not bags._reader._processes:
        bags.batch(0, 0)
        n_batches += 1
    assert n_batches == 8


def test_what_a_process_cannot_read_is_an_error_that_names_the_song(store: SongStore) -> None:
    bags = made(store)
    processes = ready(bags)
    for shard in (Path(store.address) / "features.zarr").glob("*/c/0/0/0"):
        shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(DamagedStore, match="songs hit"):
        list(bags.batches(stop_epoch=1))
    assert not any(one.is_gone for one in processes)


def test_a_shard_that_is_cut_off_while_it_is_mapped_ends_the_process_and_not_this_one(store: SongStore) -> None:
    bags = made(store)
    processes = ready(bags)
    list(bags.batches(stop_epoch=1))
    for shard in (Path(store.address) / "features.zarr").glob("*/c/0/0/0"):
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
        place = bags._reader._batches.place(bags._begin(plan).bags.view(np.uint8))  # type: ignore[attr-defined]
        again = bags._reader._batches.take(plan.windows.size * SPEC.window_bytes)
        assert bags._reader._batches.place(again) != place
        del again
    finally:
        for one in processes:
            os.kill(pid(one), signal.SIGCONT)
    expected = as_read_here(store)
    for batch, windows in zip(bags.batches(stop_epoch=1), expected, strict=True):
        np.testing.assert_array_equal(batch.windows, windows)


def interrupt_wait() -> None:
    """Press Ctrl-C as soon as the main thread waits for an answer."""
    main = threading.main_thread().ident
    assert main is not None
    while "_take_answers" not in {
        frame.f_code.co_name for frame, _ in traceback.walk_stack(sys._current_frames()[main])
    }:
        time.sleep(0.01)
    signal.pthread_kill(main, signal.SIGINT)


def test_an_interrupted_wait_leaves_a_reader_that_goes_on(store: SongStore) -> None:
    bags = made(store)
    processes = ready(bags)
    for one in processes:  # what was answered already is not waited for
        os.kill(pid(one), signal.SIGSTOP)
    pending = bags._begin(bags.plan(0, 0))
    threading.Thread(target=interrupt_wait, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            pending.result()
    finally:
        for one in processes:
            if not one.is_gone:
                os.kill(pid(one), signal.SIGCONT)
    assert any(one.is_gone for one in processes)
    for batch, windows in zip(bags.batches(stop_epoch=1), as_read_here(store), strict=True):
        np.testing.assert_array_equal(batch.windows, windows)


def test_a_process_that_does_not_get_to_work_is_given_up(store: SongStore) -> None:
    bags = made(store)
    processes = ready(bags)
    os.kill(pid(processes[0]), signal.SIGSTOP)
    processes[0]._patience_s = 0.2
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


def test_processes_share_a_batch_that_is_large(store: SongStore) -> None:
    bags = made(store, dataclasses.replace(AT_ONCE, job_bytes=8 * 4 * SPEC.window_bytes // 2))
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
from songbag_store.bags.bags import Bags
from songbag_store.windows.process import ProcessRule
from songbag_store.windows.reader import FragmentReader
from songbag_store.windows.spans import Spans
store = SongStore.open(sys.argv[1])
rule = ProcessRule(n_processes=2, after_bytes=0, waiting_share=0.0, patience_s=600.0)
reader = FragmentReader(store.inside.storage, store.spec, rule=rule)
bags = Bags(reader, store.songs(arrow=True), bag_size=4, batch_size=8)
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
    done = subprocess.run([sys.executable, "-c", code, store.address], capture_output=True, text=True, timeout=600)
    assert done.returncode == -signal.SIGKILL, done.stderr
    children = [Path(f"/proc/{one}") for one in done.stdout.split()]
    assert len(children) == 2
    deadline = time.monotonic() + PATIENCE_S
    while any(one.exists() and "Z" not in (one / "stat").read_text().split()[2] for one in children):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_fork_reads_by_itself_and_leaves_its_parent_alone(store: SongStore) -> None:
    code = ORPHANED + FORKED
    done = subprocess.run([sys.executable, "-c", code, store.address], capture_output=True, text=True, timeout=600)
    assert (done.stdout, done.returncode) == ("both\n", 0), done.stderr
