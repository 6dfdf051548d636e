from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import adopt_part
from songbag_store.errors import DamagedStore, UsageError
from songbag_store.storage.location import Location
from songbag_store.windows.cache import FragmentCache
from songbag_store.writer import commit_parts, open_for_writing
from tests.support import objects
from tests.support.faulty_proxy import FaultyProxy
from tests.support.patience import PATIENCE_S
from tests.support.stores import fill, sixteenths

SPEC = FeatureSpec(window_s=0.5, n_mels=40)
SONGS = [f"{n:02}" for n in range(12)]


@pytest.fixture(scope="module")
def url(s3_endpoint: str) -> str:
    """Return the address of a store of twelve songs in three fragments."""
    rng = np.random.default_rng(3)
    place = f"s3://{objects.BUCKET}/cached/store"
    store = open_for_writing(Location(place, objects.options(s3_endpoint)), SPEC)
    for third in range(3):
        fragment = fill(store, {song: sixteenths(rng, 3 + int(song), SPEC.window_shape) for song in SONGS[third::3]})
        store = commit_parts(store, {fragment: adopt_part(store.inside.storage, store.uuid, SPEC, fragment)})
    return place


@pytest.fixture
def proxy(s3_endpoint: str) -> Iterator[FaultyProxy]:
    with FaultyProxy(s3_endpoint) as proxy:
        yield proxy


def opened(url: str, endpoint: str, cache: Path | None = None, cache_bytes: int = 10**9) -> SongStore:
    return SongStore.open(Location(url, objects.options(endpoint), cache_dir=cache, cache_bytes=cache_bytes))


def epoch(store: SongStore, number: int = 0) -> list[np.ndarray]:
    return [
        batch.windows
        for batch in store.bags(SONGS, bag_size=4, batch_size=5).batches((number, 0), stop_epoch=number + 1)
    ]


def shards(cache: Path) -> list[Path]:
    return sorted(path for path in cache.iterdir() if path.name != "lock")


def test_the_second_epoch_reads_nothing_of_the_object_store(url: str, proxy: FaultyProxy, tmp_path: Path) -> None:
    store = opened(url, proxy.url, tmp_path)
    first = epoch(store)
    proxy.requests.clear()
    second = [epoch(store), epoch(store, 1)]
    assert store.windows(SONGS[0]).shape == (3, *SPEC.window_shape)
    assert proxy.requests == []
    for one, other in zip(first, second[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(shards(tmp_path)) == 3


def test_another_process_finds_the_shards_and_reads_none_again(url: str, proxy: FaultyProxy, tmp_path: Path) -> None:
    expected = epoch(opened(url, proxy.url, tmp_path))
    proxy.requests.clear()
    found = epoch(opened(url, proxy.url, tmp_path))
    assert [path for _, path, _ in proxy.requests if "/c/" in path] == []
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("damage", ["flipped", "cut off", "empty", "longer"])
def test_a_shard_that_was_damaged_in_the_cache_is_fetched_again(
    url: str, proxy: FaultyProxy, tmp_path: Path, damage: str
) -> None:
    expected = epoch(opened(url, proxy.url, tmp_path))
    damaged = shards(tmp_path)[1]
    whole = damaged.read_bytes()
    damaged.write_bytes(
        {
            "flipped": whole[:100] + bytes([whole[100] ^ 1]) + whole[101:],
            "cut off": whole[:-10],
            "empty": b"",
            "longer": whole + b"x",
        }[damage]
    )
    for one, other in zip(expected, epoch(opened(url, proxy.url, tmp_path)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert damaged.read_bytes() == whole


def test_a_shard_that_comes_damaged_from_the_store_is_an_error_and_not_kept(s3_endpoint: str, tmp_path: Path) -> None:
    place = f"s3://{objects.BUCKET}/damaged/store"
    store = open_for_writing(Location(place, objects.options(s3_endpoint)), SPEC)
    fragment = fill(store, {song: sixteenths(np.random.default_rng(3), 3, SPEC.window_shape) for song in SONGS})
    store = commit_parts(store, {fragment: adopt_part(store.inside.storage, store.uuid, SPEC, fragment)})
    key = f"features.zarr/{fragment}/c/0/0/0"
    whole = store.inside.storage.get(key)
    store.inside.storage.delete(key)
    store.inside.storage.create(key, whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    with pytest.raises(DamagedStore, match=r"another.*songs hit"):
        epoch(opened(place, s3_endpoint, tmp_path))
    # Another thread may still be fetching it, to find the same.
    assert [path for path in shards(tmp_path) if path.suffix != ".part"] == []


def test_what_was_used_longest_ago_makes_room_and_the_limit_holds(url: str, s3_endpoint: str, tmp_path: Path) -> None:
    epoch(opened(url, s3_endpoint, tmp_path))
    sizes = {path: path.stat().st_size for path in shards(tmp_path)}
    oldest, middle, newest = sizes
    for age, path in enumerate((newest, middle, oldest)):
        os.utime(path, (1000 - age, 1000 - age))
    oldest_bytes = oldest.read_bytes()
    oldest.unlink()
    # Room for two: of the two that are there, the one used longer ago goes when the third comes back.
    store = opened(url, s3_endpoint, tmp_path, max(sizes.values()) * 2)
    song = next(s for s in SONGS if fragment_of(store, s) == fragment_with(store, oldest.name))
    store.windows(song)
    assert shards(tmp_path) == sorted([oldest, newest])
    assert oldest.read_bytes() == oldest_bytes


def fragment_of(store: SongStore, song: str) -> str:
    rows = store.songs(ids=[song], arrow=True)
    return str(rows["fragment"][0].as_py())


def fragment_with(store: SongStore, digest: str) -> str:
    from songbag_store.commits.parts import read_part_facts

    for fragment in store.inside.state.parts:
        facts = read_part_facts(store.inside.storage, store.uuid, SPEC, fragment)[1]
        if any(one["sha256"] == digest for one in facts.values()):
            return fragment
    raise AssertionError(digest)


def test_a_store_larger_than_the_cache_is_read_and_pushes_nothing_of_its_own_out(
    url: str, proxy: FaultyProxy, tmp_path: Path
) -> None:
    expected = epoch(opened(url, proxy.url))
    whole = tmp_path / "whole"
    epoch(opened(url, proxy.url, whole))
    limit = sum(path.stat().st_size for path in shards(whole)) - 1
    store = opened(url, proxy.url, tmp_path / "small", limit)
    for _ in range(2):
        for one, other in zip(expected, epoch(store), strict=True):
            np.testing.assert_array_equal(one, other)
        kept = shards(tmp_path / "small")
        assert 1 <= len(kept) < 3
        assert sum(path.stat().st_size for path in kept) <= limit
    proxy.requests.clear()
    epoch(store)
    assert shards(tmp_path / "small") == kept
    most = max(path.stat().st_size for path in shards(whole))
    assert 0 < sum(n_bytes for _, _, n_bytes in proxy.requests) < 2 * most


READ = """
import sys
from songbag_store import SongStore
from songbag_store.storage.location import Location
from tests.support import objects
url, endpoint, cache = sys.argv[1:]
store = SongStore.open(Location(url, objects.options(endpoint), cache_dir=cache))
print(sum(int(batch.windows.sum()) for batch in store.bags(bag_size=4, batch_size=5).batches(stop_epoch=1)))
"""


def reading(url: str, endpoint: str, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", READ, url, endpoint, str(cache)], stdout=subprocess.PIPE, text=True)


def test_processes_that_share_the_cache_fetch_a_shard_once(url: str, proxy: FaultyProxy, tmp_path: Path) -> None:
    readers = [reading(url, proxy.url, tmp_path) for _ in range(3)]
    sums = {reader.communicate(timeout=PATIENCE_S)[0] for reader in readers}
    assert len(sums) == 1
    assert all(reader.returncode == 0 for reader in readers)
    fetched = [path for _, path, _ in proxy.requests if "/c/" in path]
    assert len(fetched) == len(set(fetched)) == 3


def test_a_reader_that_is_killed_leaves_nothing_that_is_served_or_counted(
    url: str, proxy: FaultyProxy, tmp_path: Path
) -> None:
    proxy.rule = lambda method, path: "hang" if "/c/" in path else None
    reader = reading(url, proxy.url, tmp_path)
    deadline = time.monotonic() + PATIENCE_S
    while not any(path.suffix == ".part" for path in tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    reader.send_signal(signal.SIGKILL)
    reader.communicate()
    proxy.rule = lambda method, path: None
    left = shards(tmp_path)
    assert left
    assert all(path.suffix == ".part" for path in left)
    stranger = tmp_path / f"{'0' * 64}.part"
    stranger.write_bytes(bytes(10**6))
    expected = epoch(opened(url, proxy.url))
    store = opened(url, proxy.url, tmp_path, 10**6)
    for one, other in zip(expected, epoch(store), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(shards(tmp_path)) == 3
    assert all(path.suffix == "" for path in shards(tmp_path))


def test_many_threads_fetch_a_shard_once(url: str, proxy: FaultyProxy, tmp_path: Path) -> None:
    stores = [opened(url, proxy.url, tmp_path) for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(epoch, stores, timeout=PATIENCE_S))
    fetched = [path for _, path, _ in proxy.requests if "/c/" in path]
    assert len(fetched) == len(set(fetched)) == 3


def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="cache cannot be used"):
        FragmentCache(tmp_path / "file", 10)


def test_a_store_in_a_folder_is_not_copied(tmp_path: Path) -> None:
    open_for_writing(tmp_path / "store", SPEC)
    SongStore.open(Location(str(tmp_path / "store"), cache_dir=tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()
