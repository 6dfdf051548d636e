"""A cache of remote shards in a folder of this machine, which several processes of one user may share.

::

    <cache>/<sha256>        a whole shard, by the digest that its writer recorded
    <cache>/<sha256>.part   one that is being fetched, locked by the process that fetches it
    <cache>/lock            locked while room is made

If a process is killed, its ``.part`` has no lock. The next process that needs room deletes it.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from songbag_store.commits.parts import read_part_facts
from songbag_store.errors import DamagedStore, StoreError, UsageError
from songbag_store.format import keys
from songbag_store.format.facts import ObjectFacts
from songbag_store.format.spec import FeatureSpec
from songbag_store.machine import lock_file, reserve
from songbag_store.storage.own_folder import OwnFolder, digest_of
from songbag_store.storage.storage import Storage
from songbag_store.windows.memory import KeptOpen

_PIECE_BYTES = 2 << 20
_ENTRY = re.compile(r"[0-9a-f]{64}(\.part)?")


class FragmentCache:
    """A folder of shards with a limit. A shard is compared with its digest when it is fetched and when it is found.

    The shards used longest ago are deleted to make room, but none that this process has used. A shard that finds no
    room is read from the store every time.

    Parameters
    ----------
    folder : pathlib.Path
        Made if it is not there. It must be this user's, and others may not write to it. Its disk must have locks, as
        disks of this machine do.
    limit_bytes : int
        The most that all shards take together.

    Raises
    ------
    UsageError
        If the folder cannot be made or written to, or others may write to it.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._path = folder
        self._limit_bytes = limit_bytes
        # The shards that this process has used, with the inodes of files that were compared with their digests.
        self._used: dict[str, int] = {}
        self._facts: KeptOpen[dict[str, ObjectFacts]] = KeptOpen(1024)
        try:
            with OwnFolder.opened(folder, place="cache_dir") as own, _alone(own):
                pass
        except UsageError:
            raise
        except OSError as error:
            what, remedy = f"the cache cannot be used ({error.strerror})", "Give `cache_dir` on a disk of this machine."
            raise UsageError(what, place=str(folder), remedy=remedy) from error

    def open(self, storage: Storage, store_uuid: str, spec: FeatureSpec, key: str) -> int | None:
        """Open a shard of a store, and fetch it before if it is not here.

        Returns
        -------
        descriptor : int or None
            Of a file for reading; None if there is no room for the shard or its digest is not known.

        Raises
        ------
        ValueError
            If the store's shard is not what its writer recorded.
        """
        fragment = keys.owner_of(key) or ""
        try:
            objects = self._facts.get(fragment, lambda name: read_part_facts(storage, store_uuid, spec, name)[1])
            name, n_bytes = objects[key]["sha256"], objects[key]["bytes"]
        except (DamagedStore, KeyError):
            return None
        try:
            # Opened each time: the user may delete the folder while this process runs.
            with OwnFolder.opened(self._path, place="cache_dir") as own, _fetching(own, name) as part:
                # Looked up under the lock: another process may have fetched it while this one waited.
                descriptor = self._found(own, name)
                if descriptor is None and self._make_room(own, name, n_bytes, part):
                    for start in range(0, n_bytes, _PIECE_BYTES):
                        piece = storage.read_range(key, start, min(start + _PIECE_BYTES, n_bytes))
                        if os.pwrite(part, piece, start) < len(piece):
                            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    if digest_of(part) != name:
                        raise ValueError("a shard is not what was written: its digest is another")
                    descriptor = self._kept(own, name, part)
            return descriptor
        except StoreError:
            raise
        except UsageError as error:  # callers take a ValueError for damage of the store
            raise StoreError(error.what, place=str(self._path), remedy=error.remedy) from error
        except OSError as error:
            raise StoreError(f"the cache cannot be used ({error.strerror})", place=str(self._path)) from error

    def _kept(self, own: OwnFolder, name: str, part: int) -> int | None:
        """Give a shard that was fetched its name; return it opened again, as a duplicate would keep its lock."""
        descriptor = own.open(f"{name}.part", os.O_RDONLY)
        if descriptor is None or not os.path.samestat(os.fstat(descriptor), os.fstat(part)):
            if descriptor is not None:
                os.close(descriptor)
            raise OSError(errno.ESTALE, "another program has replaced a file in it")
        own.rename(f"{name}.part", name)
        self._used[name] = os.fstat(descriptor).st_ino
        return descriptor

    def _found(self, own: OwnFolder, name: str) -> int | None:
        """Open a shard that is here; delete it if its bytes do not match its name."""
        descriptor = own.open(name, os.O_RDONLY)
        if descriptor is None:
            return None
        inode = os.fstat(descriptor).st_ino
        if self._used.get(name) != inode and digest_of(descriptor) != name:
            os.close(descriptor)
            own.delete(name)
            return None
        self._used[name] = inode
        os.utime(descriptor)
        return descriptor

    def _make_room(self, own: OwnFolder, name: str, n_bytes: int, part: int) -> bool:
        """Reserve room in a ``.part``; return False if there is too little."""
        with _alone(own):
            kept, taken = _survey(own, f"{name}.part")
            # A shard that this process has used is not deleted: if a store is larger than the cache and songs come in
            # random order, each shard would be deleted before it is read again.
            victims = sorted(stamp_size_name for stamp_size_name in kept if stamp_size_name[2] not in self._used)
            needed = taken + sum(size for _, size, _ in kept) + n_bytes - self._limit_bytes
            if needed > sum(size for _, size, _ in victims):
                return False
            for _, size, victim in victims:
                if needed <= 0:
                    break
                own.delete(victim)
                needed -= size
            os.ftruncate(part, 0)
            try:
                reserve(part, n_bytes)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    return False
                raise
            return True


@contextmanager
def _fetching(own: OwnFolder, name: str) -> Iterator[int]:
    """Hold the lock of a shard's ``.part``, and delete the file at the end if it is still there."""
    partial = f"{name}.part"
    with _locked(own, partial) as part:
        try:
            yield part
        finally:
            if own.is_file(part, partial):
                own.delete(partial)


@contextmanager
def _alone(own: OwnFolder) -> Iterator[None]:
    """Hold the lock under which room is made: one process and one thread at a time."""
    with _locked(own, "lock"):
        yield


@contextmanager
def _locked(own: OwnFolder, name: str) -> Iterator[int]:
    """Hold the lock of a file that is made if it is not there."""
    while True:
        descriptor = own.open(name, os.O_RDWR | os.O_CREAT)
        if descriptor is None:
            continue  # something that is no file of this user had the name
        try:
            lock_file(descriptor)
            if own.is_file(descriptor, name):
                yield descriptor
                return
            # Its owner has renamed or deleted it in the meantime.
        finally:
            os.close(descriptor)


def _survey(own: OwnFolder, partial: str) -> tuple[list[tuple[int, int, str]], int]:
    """Return (time of use, size, name) of the shards here, and the bytes that other processes are fetching.

    `partial` is the name of a file that is not counted: the one that room is made for.
    """
    kept, taken = [], 0
    for name in own.names():
        if not _ENTRY.fullmatch(name) or name == partial:
            continue
        with suppress(FileNotFoundError):
            status = own.status(name)
            if not name.endswith(".part"):
                kept.append((status.st_mtime_ns, status.st_size, name))
            elif not _delete_if_left(own, name):
                taken += status.st_size
    return kept, taken


def _delete_if_left(own: OwnFolder, name: str) -> bool:
    """Delete a ``.part`` without a lock; return whether it was one."""
    part = own.open(name, os.O_RDWR)
    if part is None:
        return True
    try:
        lock_file(part, wait=False)
        own.delete(name)
    except BlockingIOError:
        return False
    finally:
        os.close(part)
    return True
