"""The folder of a cache: nobody else's file or link in it is read, followed or written to."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import read_part_facts
from songbag_store.errors import StoreError, UsageError
from songbag_store.storage.folder import LocalStorage
from songbag_store.windows.cache import FragmentCache
from tests.support.stores import MakeStore, sixteenths

pytestmark = pytest.mark.fault(103)
VICTIM = b"the only copy of somebody's work"
STRANGER = 54_321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


class Shard:
    """The one shard of a small store, with the name that it has in a cache."""

    def __init__(self, store: SongStore) -> None:
        self.store = store
        (fragment,) = store.inside.state.parts
        facts = read_part_facts(store.inside.storage, store.uuid, store.spec, fragment)[1]
        ((self.key, own),) = [(key, own) for key, own in facts.items() if "/c/" in key]
        self.name = own["sha256"]
        self.content = store.inside.storage.get(self.key)

    def through(self, cache: FragmentCache, storage: Any = None) -> bytes:
        """Return the shard as a reader gets it through a cache."""
        descriptor = cache.open(storage or self.store.inside.storage, self.store.uuid, self.store.spec, self.key)
        assert descriptor is not None
        with os.fdopen(descriptor, "rb") as file:
            return file.read()


@pytest.fixture
def shard(make_store: MakeStore, rng: np.random.Generator) -> Shard:
    return Shard(make_store({"a": sixteenths(rng, 4, FeatureSpec().window_shape)}))


def soft_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def hard_link(path: Path, victim: Path) -> None:
    path.hardlink_to(victim)


def dangling_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim.with_name("new"))


def pipe(path: Path, victim: Path) -> None:
    os.mkfifo(path)


def plug(path: Path, victim: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        # The name of a socket may have 107 bytes.
        here = os.getcwd()
        os.chdir(path.parent)
        try:
            one.bind(path.name)
        finally:
            os.chdir(here)


def writable_by_all(path: Path, victim: Path) -> None:
    path.write_bytes(b"what anybody may change")
    path.chmod(0o666)


PLANTS: list[Callable[[Path, Path], None]] = [soft_link, hard_link, dangling_link, pipe, plug, writable_by_all]


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("name", ["lock", "{}.part", "{}"])
def test_what_was_planted_in_the_folder_harms_nobody(
    shard: Shard, tmp_path: Path, plant: Callable[[Path, Path], None], name: str
) -> None:
    victim, cache = tmp_path / "victim", tmp_path / "cache"
    victim.write_bytes(VICTIM)
    cache.mkdir(mode=0o700)
    plant(cache / name.format(shard.name), victim)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert shard.through(FragmentCache(cache, 10**9)) == shard.content
    assert victim.read_bytes() == VICTIM
    assert victim.stat().st_nlink == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    kept = (cache / shard.name).lstat()
    assert stat.S_ISREG(kept.st_mode)
    assert stat.S_IMODE(kept.st_mode) == 0o600
    # Links of other shards are looked at when room is made.
    plant(cache / ("0" * 64), victim)
    plant(cache / ("0" * 64 + ".part"), victim)
    (cache / shard.name).unlink()
    assert shard.through(FragmentCache(cache, len(shard.content))) == shard.content
    assert victim.read_bytes() == VICTIM


@as_root
@pytest.mark.parametrize("name", ["lock", "{}.part", "{}"])
def test_a_file_of_another_user_is_not_used_though_its_bytes_are_right(shard: Shard, tmp_path: Path, name: str) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    planted = cache / name.format(shard.name)
    planted.write_bytes(shard.content)
    os.chown(planted, STRANGER, STRANGER)
    assert shard.through(FragmentCache(cache, 10**9)) == shard.content
    assert {path.stat().st_uid for path in cache.iterdir()} == {0}


class Swapping(LocalStorage):
    """A store whose reader is overtaken: while a shard is fetched, somebody changes the folder of the cache."""

    def __init__(self, root: Path, change: Callable[[], None]) -> None:
        super().__init__(root)
        self._change = change

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        if start == 0 and "/c/" in key:
            self._change()
        return super().read_range(key, start, stop)


@pytest.mark.parametrize("plant", [soft_link, hard_link, writable_by_all])
def test_a_file_that_is_replaced_while_it_is_fetched_is_not_served(
    shard: Shard, tmp_path: Path, plant: Callable[[Path, Path], None]
) -> None:
    victim, cache = tmp_path / "victim", tmp_path / "cache"
    victim.write_bytes(VICTIM)
    part = cache / f"{shard.name}.part"

    def change() -> None:
        part.unlink()
        plant(part, victim)

    opened = FragmentCache(cache, 10**9)
    with pytest.raises(StoreError, match="cache"):
        shard.through(opened, Swapping(Path(shard.store.address), change))
    assert victim.read_bytes() == VICTIM
    assert shard.through(opened) == shard.content


def test_the_folder_that_is_replaced_by_a_link_is_not_written_to(shard: Shard, tmp_path: Path) -> None:
    other, cache = tmp_path / "other", tmp_path / "cache"
    other.mkdir()

    def change() -> None:
        cache.rename(tmp_path / "moved")
        cache.symlink_to(other)

    opened = FragmentCache(cache, 10**9)
    assert shard.through(opened, Swapping(Path(shard.store.address), change)) == shard.content
    assert list(other.iterdir()) == []


def test_a_folder_that_is_made_is_the_users_alone(shard: Shard, tmp_path: Path) -> None:
    cache = tmp_path / "a" / "cache"
    before = os.umask(0)
    try:
        opened = FragmentCache(cache, 10**9)
    finally:
        os.umask(before)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    # The user may delete it at any time.
    for path in cache.iterdir():
        path.unlink()
    cache.rmdir()
    assert shard.through(opened) == shard.content
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o2775, 0o702])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)
    with pytest.raises(UsageError, match=r"cache_dir: others may write") as refusal:
        FragmentCache(tmp_path / "cache", 10**9)
    assert "`cache_dir`" in str(refusal.value)
    assert list((tmp_path / "cache").iterdir()) == []


@as_root
def test_a_folder_or_a_link_of_another_user_is_refused(tmp_path: Path) -> None:
    own, theirs, link = tmp_path / "own", tmp_path / "theirs", tmp_path / "link"
    own.mkdir(mode=0o700)
    theirs.mkdir(mode=0o755)
    os.chown(theirs, STRANGER, STRANGER)
    link.symlink_to(own)
    assert FragmentCache(link, 10)
    os.lchown(link, STRANGER, STRANGER)
    for path in (theirs, link):
        with pytest.raises(UsageError, match="another user"):
            FragmentCache(path, 10)
