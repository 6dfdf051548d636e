from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.windows.chunk_memory import ChunkMemory
from songbag_store.windows.spans import Spans
from tests.support.stores import MakeStore, sixteenths

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
