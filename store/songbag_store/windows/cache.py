"""A cache of remote shards in a folder of this machine, which several processes may share.

::

    <cache>/<sha256>        a whole shard, by the digest that its writer recorded
    <cache>/<sha256>.part   one that is being fetched, locked by the process that fetches it
    <cache>/lock            locked while room is made

If a process is killed, its ``.part`` has no lock. The next process that needs room deletes it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
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
        Made if it is not there. Its disk must have locks, as disks of this machine do.
    limit_bytes : int
        The most that all shards take together.

    Raises
    ------
    UsageError
        If the folder cannot be made or written to.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        # The shards that this process has used, with the inodes of files that were compared with their digests.
        self._used: dict[str, int] = {}
        self._facts: KeptOpen[dict[str, ObjectFacts]] = KeptOpen(1024)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._alone():
                pass
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
            with self._fetching(name) as part:
                # Looked up under the lock: another process may have fetched it while this one waited.
                descriptor = self._found(name)
                if descriptor is None and self._make_room(name, n_bytes, part):
                    for start in range(0, n_bytes, _PIECE_BYTES):
                        piece = storage.read_range(key, start, min(start + _PIECE_BYTES, n_bytes))
                        if os.pwrite(part, piece, start) < len(piece):
                            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    if _digest(part) != name:
                        raise ValueError("a shard is not what was written: its digest is another")
                    # Opened again, because a duplicate of `part` would keep its lock.
                    descriptor = os.open(self._folder / f"{name}.part", os.O_RDONLY)
                    os.rename(self._folder / f"{name}.part", self._folder / name)
                    self._used[name] = os.fstat(descriptor).st_ino
            return descriptor
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(f"the cache cannot be used ({error.strerror})", place=str(self._folder)) from error

    def _found(self, name: str) -> int | None:
        """Open a shard that is here; delete it if its bytes do not match its name."""
        path = self._folder / name
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        inode = os.fstat(descriptor).st_ino
        if self._used.get(name) != inode and _digest(descriptor) != name:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            return None
        self._used[name] = inode
        with suppress(FileNotFoundError):
            os.utime(path)
        return descriptor

    @contextmanager
    def _fetching(self, name: str) -> Iterator[int]:
        """Hold the lock of a shard's ``.part``, and delete the file at the end if it is still there."""
        path = self._folder / f"{name}.part"
        while True:
            part = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(part, fcntl.LOCK_EX)
            if _is_file(part, path):
                break
            os.close(part)  # its owner has renamed or deleted it in the meantime
        try:
            yield part
        finally:
            if _is_file(part, path):
                path.unlink(missing_ok=True)
            os.close(part)

    def _make_room(self, name: str, n_bytes: int, part: int) -> bool:
        """Reserve room in a ``.part``; return False if there is too little."""
        with self._alone():
            kept, taken = self._survey(f"{name}.part")
            # A shard that this process has used is not deleted: if a store is larger than the cache and songs come in
            # random order, each shard would be deleted before it is read again.
            victims = sorted(stamp_size_name for stamp_size_name in kept if stamp_size_name[2] not in self._used)
            needed = taken + sum(size for _, size, _ in kept) + n_bytes - self._limit_bytes
            if needed > sum(size for _, size, _ in victims):
                return False
            for _, size, victim in victims:
                if needed <= 0:
                    break
                (self._folder / victim).unlink(missing_ok=True)
                needed -= size
            os.ftruncate(part, 0)
            try:
                os.posix_fallocate(part, 0, max(1, n_bytes))
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    return False
                raise
            return True

    def _survey(self, own: str) -> tuple[list[tuple[int, int, str]], int]:
        """Return (time of use, size, name) of the shards here, and the bytes that other processes are fetching."""
        kept, taken = [], 0
        for entry in os.scandir(self._folder):
            if not _ENTRY.fullmatch(entry.name) or entry.name == own:
                continue
            with suppress(FileNotFoundError):
                status = entry.stat()
                if not entry.name.endswith(".part"):
                    kept.append((status.st_mtime_ns, status.st_size, entry.name))
                elif not _delete_if_left(Path(entry.path)):
                    taken += status.st_size
        return kept, taken

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock under which room is made: one process and one thread at a time."""
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _digest(descriptor: int) -> str:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_file(descriptor: int, path: Path) -> bool:
    """Return whether a path still is that of an open file."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False


def _delete_if_left(path: Path) -> bool:
    """Delete a ``.part`` without a lock; return whether it was one."""
    part = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(part)
    return True
