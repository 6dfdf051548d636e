"""Shards of remote stores kept in a folder of this machine, for any number of processes at once.

::

    <cache>/<sha256>        a whole shard, by the digest that its writer recorded
    <cache>/<sha256>.part   one that is being fetched, locked by the process that fetches it
    <cache>/lock            locked while room is made

Names are digests and nothing else. A process that is killed leaves a ``.part`` without a lock, which the next process
that needs room deletes.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from songbag_store.commits.parts import read_part_facts
from songbag_store.errors import DamagedStore, StoreError, UsageError
from songbag_store.format import keys
from songbag_store.format.facts import ObjectFacts
from songbag_store.format.spec import FeatureSpec
from songbag_store.storage.storage import Storage
from songbag_store.windows.open_files import KeptOpen

_PIECE_BYTES = 2 << 20
_ENTRY = re.compile(r"[0-9a-f]{64}(\.part)?")

Read = Callable[[int, int], bytes]


class FragmentCache:
    """A folder of at most so many bytes. A shard is compared with its digest when it is fetched, and when it is found.

    The shards used longest ago are deleted to make room, but never those that this process has used: of a store that
    is larger than the cache, shuffled songs would push each other out before they are read again. A shard that finds no
    room is read from the store every time.

    Parameters
    ----------
    folder : pathlib.Path
        Made if it is not there. It must have locks, as the disks of this machine do.
    limit_bytes : int
        The most that all shards there take together.

    Raises
    ------
    UsageError
        If the folder cannot be made or written to.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._used: set[str] = set()
        self._sound: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self._facts: KeptOpen[dict[str, ObjectFacts]] = KeptOpen(1024)
        remedy = "Give a folder of this machine's disk with `cache_dir`."
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._alone():
                pass
        except OSError as error:
            what = f"the cache cannot be used ({error.strerror})"
            raise UsageError(what, place=str(folder), remedy=remedy) from error

    def open(self, storage: Storage, store_uuid: str, spec: FeatureSpec, key: str) -> int | None:
        """Open a shard of a store, fetching it if it is not here yet.

        Returns
        -------
        descriptor : int or None
            Of a file for reading; None if the shard is not kept because there is no room or no digest.

        Raises
        ------
        ValueError
            If the store's shard is not what its writer recorded.
        """
        fragment = keys.owner_of(key) or ""
        try:
            objects = self._facts.get(fragment, lambda name: read_part_facts(storage, store_uuid, spec, name)[1])
            facts = objects[key]
        except (DamagedStore, KeyError):
            return None
        try:
            return self._open(facts["sha256"], facts["bytes"], lambda start, stop: storage.read_range(key, start, stop))
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(f"the cache cannot be used ({error.strerror})", place=str(self._folder)) from error

    def _open(self, name: str, n_bytes: int, read: Read) -> int | None:
        with self._fetching(name) as part:
            # Looked up under the lock: another process may have fetched it while this one waited.
            descriptor = self._found(name)
            if descriptor is None and self._make_room(name, n_bytes, part):
                _fetch(part, n_bytes, read)
                if _digest(part) != name:
                    raise ValueError("a shard is not what was written: its digest is another")
                # Opened again, because a duplicate would keep the lock while it is open.
                descriptor = os.open(self._folder / f"{name}.part", os.O_RDONLY)
                os.rename(self._folder / f"{name}.part", self._folder / name)
                self._note(name, descriptor)
        return descriptor

    def _found(self, name: str) -> int | None:
        """Open a shard that is here; delete it if its bytes do not match its name."""
        path = self._folder / name
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        if (name, os.fstat(descriptor).st_ino) not in self._sound and _digest(descriptor) != name:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            return None
        self._note(name, descriptor)
        with suppress(FileNotFoundError):
            os.utime(path)
        return descriptor

    def _note(self, name: str, descriptor: int) -> None:
        self._used.add(name)
        self._sound.add((name, os.fstat(descriptor).st_ino))

    @contextmanager
    def _fetching(self, name: str) -> Iterator[int]:
        """Hold the lock of a shard's ``.part``, and delete the file at the end if it is still there."""
        path = self._folder / f"{name}.part"
        while True:
            part = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(part, fcntl.LOCK_EX)
            if _is_file(part, path):
                break
            os.close(part)  # its owner has renamed or deleted it since
        try:
            yield part
        finally:
            if _is_file(part, path):
                path.unlink(missing_ok=True)
            os.close(part)

    def _make_room(self, name: str, n_bytes: int, part: int) -> bool:
        """Reserve room in a ``.part``, deleting the shards used longest ago; return False if there is too little."""
        with self._lock, self._alone():
            kept, taken = self._survey(f"{name}.part")
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
        """Keep other processes from making room."""
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _fetch(part: int, n_bytes: int, read: Read) -> None:
    """Write an object into a file, piece by piece."""
    for start in range(0, n_bytes, _PIECE_BYTES):
        piece = read(start, min(start + _PIECE_BYTES, n_bytes))
        if os.pwrite(part, piece, start) < len(piece):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _digest(descriptor: int) -> str:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_file(descriptor: int, path: Path) -> bool:
    """Return whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _delete_if_left(path: Path) -> bool:
    """Delete a ``.part`` without a lock; return whether it was one."""
    part = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(part)
