"""Where a store's objects lie: a `Storage` of a few operations, and the one on a local folder.

`songbag_store.storage.objects` has the one on S3, Google Cloud Storage and Azure Blob storage.

A key is a relative path with ``/`` between its parts. Keys are made by songbag alone, of fixed words, numbers and
uuids: never of a song id, a label or a file name.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from songbag_store.errors import BackendRefused, StoreError
from songbag_store.format.facts import ObjectFacts
from songbag_store.format.keys import scratch_key

if TYPE_CHECKING:
    from zarr.abc.store import Store

_TEMPORARY = ".tmp-"
_SETTLING_ATTEMPTS = 12


@dataclasses.dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as a listing shows it."""

    key: str
    n_bytes: int
    stamped_at: datetime | None = None
    """When it was last written, by the clock of the place it lies in; None where the place does not say."""


class KeyExists(Exception):
    """Put-if-absent found the key taken; the caller decides whether that is good or bad."""


class NewArray(Protocol):
    """An array that is being written."""

    @property
    def target(self) -> Path | Store:
        """What zarr-python writes the array into."""
        ...

    def finish(self) -> dict[str, ObjectFacts]:
        """Make everything that was written durable; return size and digest of every object, by key."""
        ...


class Storage(Protocol):
    """What songbag asks of the place a store lies in."""

    @property
    def address(self) -> str:
        """The store's address as a user would write it."""
        ...

    def create(self, key: str, data: bytes) -> None:
        """Write a whole new object, durable on return; raise `KeyExists` where there is one."""
        ...

    def make_durable(self, key: str) -> None:
        """Force an object to disk that is seen here but may be unsynced: its writer died, or never got its answer."""
        ...

    def get(self, key: str) -> bytes:
        """Read a whole object; raise `FileNotFoundError` where there is none."""
        ...

    def entries(self, prefix: str) -> list[StoredObject]:
        """Return every object below a folder, in no order; an absent folder is an empty one."""
        ...

    def top_level(self) -> set[str]:
        """Return the names right below the store's root, folders and objects alike; not the halves of objects."""
        ...

    def leftovers(self) -> list[StoredObject]:
        """Return what killed writers left and `entries` does not show: the halves of objects."""
        ...

    def delete(self, key: str) -> None:
        """Delete an object; one that is gone already is no error."""
        ...

    def new_array(self, key: str) -> NewArray:
        """Begin an array whose objects will lie below a key that nobody else writes to."""
        ...

    def local_path(self, key: str) -> Path | None:
        """Return the file or folder of a key on this machine; None where it can only be read through this storage."""
        ...

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Read some bytes of an object, or the last ones with a negative `start` and a `stop` of 0.

        Fewer bytes come back where the object is shorter. Safe to call from several threads.
        """
        ...


class LocalStorage:
    """A store in a folder of this machine, or of a network file system with hard links.

    Parameters
    ----------
    root : pathlib.Path
        The store's folder; it need not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def address(self) -> str:
        """The folder."""
        return str(self.root)

    def _path(self, key: str) -> Path:
        return self.root.joinpath(*key.split("/"))

    def create(self, key: str, data: bytes) -> None:
        """Write a temporary file, force it to disk and link it to its name: link(2) never replaces.

        Raises
        ------
        KeyExists
            If the name is taken.
        BackendRefused
            If the file system has no hard links.
        StoreError
            If the disk is full or cannot be written.
        """
        path = self._path(key)
        try:
            _make_folders(path.parent)
            temporary = path.parent / f"{_TEMPORARY}{uuid.uuid4().hex}"
            try:
                _write_durably(temporary, data)
                _link(temporary, path)
                _sync_folder(path.parent)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise _explained(error, path, len(data)) from error

    def make_durable(self, key: str) -> None:
        """Call fsync on a file and on its folder."""
        path = self._path(key)
        try:
            _sync_file(path)
            _sync_folder(path.parent)
        except OSError as error:
            raise _explained(error, path, 0) from error

    def get(self, key: str) -> bytes:
        """Read a whole object.

        Raises
        ------
        StoreError
            If it is there and may not or cannot be read.
        """
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as error:
            raise StoreError(f"cannot be read ({error.strerror})", place=str(self._path(key))) from error

    def entries(self, prefix: str) -> list[StoredObject]:
        """Return every file below a folder but for temporary ones."""
        return [entry for entry, temporary in self._files(prefix) if not temporary]

    def leftovers(self) -> list[StoredObject]:
        """Return the temporary files."""
        return [entry for entry, temporary in self._files("") if temporary]

    def _files(self, prefix: str) -> Iterator[tuple[StoredObject, bool]]:
        for folder, _, names in os.walk(self._path(prefix)):
            for name in names:
                path = Path(folder, name)
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue  # deleted since the folder was listed
                stamp = datetime.fromtimestamp(status.st_mtime, UTC)
                entry = StoredObject(path.relative_to(self.root).as_posix(), status.st_size, stamp)
                yield entry, name.startswith(_TEMPORARY)

    def top_level(self) -> set[str]:
        """Return the names in the folder; a file in its place counts as a name of its own."""
        if self.root.is_file():
            return {self.root.name}
        names = os.listdir(self.root) if self.root.is_dir() else []
        return {name for name in names if not name.startswith(_TEMPORARY)}

    def delete(self, key: str) -> None:
        """Unlink a file."""
        self._path(key).unlink(missing_ok=True)

    def new_array(self, key: str) -> NewArray:
        """Begin an array in a folder of its own."""
        return _LocalArray(self, key)

    def local_path(self, key: str) -> Path:
        """Return the file or folder of a key."""
        return self._path(key)

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Read some bytes of a file."""
        with self._path(key).open("rb") as file:
            if start < 0:
                start = max(0, os.fstat(file.fileno()).st_size + start)
                stop = max(start, os.fstat(file.fileno()).st_size + stop)
            file.seek(start)
            return file.read(stop - start)


class _LocalArray:
    """An array whose files are forced to disk when all are written."""

    def __init__(self, storage: LocalStorage, key: str) -> None:
        self._storage = storage
        self._key = key

    @property
    def target(self) -> Path:
        return self._storage.local_path(self._key)

    def finish(self) -> dict[str, ObjectFacts]:
        """Call fsync on every file, then on every folder from the deepest up to the store's root."""
        root, top = self._storage.root, self.target
        found = self._storage.entries(self._key)
        for entry in found:
            _sync_file(root / entry.key)
        for folder, _, _ in os.walk(top, topdown=False):
            _sync_folder(Path(folder))
        for parent in top.parents:
            _sync_folder(parent)
            if parent == root:
                break
        return {entry.key: {"bytes": entry.n_bytes, "sha256": _digest(root / entry.key)} for entry in found}


def create_once(storage: Storage, key: str, data: bytes) -> None:
    """Create an object and settle the ambiguous "already exists" by reading again.

    Found with these very bytes, it is ours and the answer of an earlier attempt was lost. Found absent, the backend
    spoke of a conflict (S3 answers 409 while two requests are under way), and the same is tried again.

    Parameters
    ----------
    data : bytes
        Something that no other writer would write: it holds a uuid of this attempt, or is the same for all.

    Raises
    ------
    KeyExists
        If the object is there and is somebody else's.
    """
    for attempt in range(_SETTLING_ATTEMPTS):
        try:
            storage.create(key, data)
        except KeyExists:
            try:
                held = storage.get(key)
            except FileNotFoundError:
                time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))
                continue
            if held != data:
                raise
            storage.make_durable(key)
        return
    raise StoreError(
        f"{key} is reported as existing and as absent in turn",
        place=storage.address,
        remedy="Run the same command again; if it stays so, the place does not keep to put-if-absent.",
    )


def probe(storage: Storage) -> None:
    """Refuse a place that does not honour put-if-absent, before anything is entrusted to it.

    Raises
    ------
    BackendRefused
        If a second object could be put over the first.
    """
    key = scratch_key("probe")
    create_once(storage, key, b"first")
    try:
        storage.create(key, b"second")
    except KeyExists:
        if storage.get(key) == b"first":
            return
    finally:
        # What cannot be deleted is litter, and no reason to refuse the place.
        with suppress(StoreError):
            storage.delete(key)
    raise BackendRefused(
        "there is no put-if-absent: a new object silently replaced one of the same name, so that two writers would "
        "lose each other's work",
        place=storage.address,
        remedy="Use a POSIX file system, S3, Google Cloud Storage or Azure Blob storage; "
        "of the servers that speak S3, one that honours If-None-Match.",
    )


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError as error:
        raise KeyExists(str(target)) from error
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK):
            raise BackendRefused(
                f"the file system has no hard links ({error.strerror}), so a commit could overwrite another",
                place=str(target.parent),
                remedy="Keep the store on a POSIX file system (ext4, xfs, zfs, NFS); FAT and exFAT lack hard links.",
            ) from error
        raise


def _make_folders(folder: Path) -> None:
    """Create missing folders, each of them durable before the next."""
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        _sync_folder(path.parent)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _explained(error: OSError, path: Path, n_bytes: int) -> Exception:
    """Say what an errno of writing means for the store; songbag's own errors pass unchanged."""
    if isinstance(error, StoreError):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"no space left (this object needs {n_bytes:,} bytes)",
            place=str(path),
            remedy="Free some space and run the same command again: what was committed is safe.",
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StoreError(
            f"cannot be written ({error.strerror})",
            place=str(path),
            remedy="Reading and training work without write access; extraction needs it.",
        )
    if error.errno == errno.ENOTDIR:
        file = next((one for one in path.parents if one.is_file()), path)
        return StoreError("this is a file, and a folder is needed here", place=str(file), remedy="Give another path.")
    return StoreError(str(error.strerror or error), place=str(path))
