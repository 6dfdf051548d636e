from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.windows.memory import BatchMemory, ChunkMemory, KeptOpen
from songbag_store.windows.spans import Spans
from tests.support.stores import MakeStore, sixteenths


def test_a_name_is_opened_once_for_many_threads() -> None:
    opened: list[str] = []

    def open_slowly(name: str) -> str:
        time.sleep(0.05)
        opened.append(name)
        return name.upper()

    kept: KeptOpen[str] = KeptOpen(10)
    together = threading.Barrier(8)

    def ask(name: str) -> str:
        together.wait()
        return kept.get(name, open_slowly)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, "abababab")) == list("ABABABAB")
    assert sorted(opened) == ["a", "b"]


def test_those_used_last_are_kept() -> None:
    opened: list[str] = []
    kept: KeptOpen[None] = KeptOpen(2)
    for name in "abacab":
        kept.get(name, opened.append)
    assert opened == ["a", "b", "c", "b"]


def test_what_could_not_be_opened_is_tried_again() -> None:
    kept: KeptOpen[int] = KeptOpen(2)
    with pytest.raises(ValueError, match="'x'"):
        kept.get("x", int)
    assert kept.get("x", len) == 1


SPEC = FeatureSpec()


@pytest.fixture
def store(make_store: MakeStore, rng: np.random.Generator) -> SongStore:
    """Return a store of 40 songs, each of them a chunk."""
    return make_store({f"{number:02}": sixteenths(rng, 4, SPEC.window_shape) for number in range(40)})


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with every read of a file, by its bytes."""
    done: list[int] = []
    pread, preadv = os.pread, os.preadv

    def noting(descriptor: int, length: int, offset: int) -> bytes:
        done.append(length)
        return pread(descriptor, length, offset)

    def noting_too(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        done.append(sum(buffer.nbytes for buffer in buffers))
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(os, "pread", noting)
    monkeypatch.setattr(os, "preadv", noting_too)
    return done


def every_song(store: SongStore) -> list[np.ndarray]:
    return list(store.inside.reader.read_all(Spans.of(store.songs(arrow=True))))


def test_what_was_read_once_is_not_read_again_and_is_the_same(store: SongStore, reads: list[int]) -> None:
    expected = every_song(store)
    remembering = store.remembering(10**8)
    every_song(remembering)
    reads.clear()
    for mine, theirs in zip(every_song(remembering), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert reads == []


def test_what_finds_no_room_is_read_each_time(store: SongStore, reads: list[int]) -> None:
    expected = every_song(store)
    size = sum(reads)
    remembering = store.remembering(size // 2)
    every_song(remembering)
    for _ in range(2):
        reads.clear()
        for mine, theirs in zip(every_song(remembering), expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        # Half fits, but for what it takes to find it.
        assert size * 0.4 < sum(reads) < size * 0.65


def test_a_memory_never_holds_more_than_it_may() -> None:
    memory = ChunkMemory(100_000)

    def fill(fragment: int) -> None:
        for number in range(50):
            memory.keep(str(fragment), number, bytes(1000))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(fill, range(8)))
    kept = sum(memory.get(str(fragment), number) is not None for fragment in range(8) for number in range(50))
    assert kept == 100_000 // 1200
    assert memory.n_bytes == kept * 1200


def test_what_came_first_stays() -> None:
    memory = ChunkMemory(1500)
    memory.keep("a", 0, b"x" * 1000)
    memory.keep("a", 1, b"y" * 1000)
    assert memory.get("a", 0) == b"x" * 1000
    assert memory.get("a", 1) is None


def test_a_chunk_is_counted_once_whoever_reads_it() -> None:
    memory = ChunkMemory(10_000)
    threads = [threading.Thread(target=memory.keep, args=("a", 0, b"x" * 800)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory.n_bytes == 1000


def test_memory_is_handed_out_again_when_nobody_looks_at_it() -> None:
    memory = BatchMemory()
    first = memory.take(1000)
    address = first.__array_interface__["data"][0]
    assert address % 64 == 0
    view = memoryview(first.view(np.int16).reshape(5, 100)[2])
    del first
    second = memory.take(1000)
    assert not np.shares_memory(second, np.asarray(view))
    del view
    third = memory.take(900)
    assert third.__array_interface__["data"][0] == address
    assert not np.shares_memory(second, third)


def test_what_is_too_large_to_be_kept_is_handed_out_all_the_same() -> None:
    memory = BatchMemory()
    assert memory.take(200 << 20).nbytes == 200 << 20
    assert memory._n_kept_bytes == 0


def test_a_part_of_a_batch_that_somebody_holds_is_never_written_over(
    make_store: MakeStore, rng: np.random.Generator
) -> None:
    spec = FeatureSpec(window_s=0.5, n_mels=40)
    store = make_store({f"{n:02}": sixteenths(rng, 6, spec.window_shape) for n in range(24)}, spec=spec)
    bags = store.bags(bag_size=3, batch_size=4)
    held = [(batch.windows[1], batch.windows[1].copy()) for batch in bags.batches(stop_epoch=6)]
    assert len(held) == 36
    for part, as_it_was in held:
        np.testing.assert_array_equal(part, as_it_was)
    dropped = [batch.windows.sum() for batch in bags.batches(stop_epoch=6)]
    assert dropped == [batch.windows.sum() for batch in store.bags(bag_size=3, batch_size=4).batches(stop_epoch=6)]
