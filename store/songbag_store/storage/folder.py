"""A store in a folder of this machine, or of a network file system with hard links."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from songbag_store.errors import BackendRefused, StoreError
from songbag_store.format.facts import ObjectFacts
from songbag_store.storage.files import TEMPORARY, file_digest, sync, temporary_beside
from songbag_store.storage.storage import KeyExists, NewArray, StoredObject


class LocalStorage:
    """A store in a folder of this machine, or of a network file system with hard links.

    Parameters
    ----------
    root : pathlib.Path
        The store's folder; it need not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = str(root)

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
        path = self.local_path(key)
        try:
            # Each new folder is durable before the next.
            for folder in reversed([one for one in path.parents if not one.exists()]):
                folder.mkdir(exist_ok=True)
                sync(folder.parent)
            temporary = temporary_beside(path)
            try:
                temporary.write_bytes(data)
                sync(temporary)
                _link(temporary, path)
                sync(path.parent)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise _explained(error, path, len(data)) from error

    def make_durable(self, key: str) -> None:
        """Call fsync on a file and on its folder."""
        path = self.local_path(key)
        try:
            sync(path)
            sync(path.parent)
        except OSError as error:
            raise _explained(error, path) from error

    def get(self, key: str) -> bytes:
        """Read a whole object.

        Raises
        ------
        StoreError
            If it is there but cannot be read.
        """
        try:
            return self.local_path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as error:
            raise StoreError(f"cannot be read ({error.strerror})", place=str(self.local_path(key))) from error

    def entries(self, prefix: str) -> list[StoredObject]:
        """Return every file below a folder, except temporary ones.

        Raises
        ------
        StoreError
            If a folder is there but cannot be listed.
        """
        return [entry for entry, temporary in self._files(prefix) if not temporary]

    def leftovers(self) -> list[StoredObject]:
        """Return the temporary files."""
        return [entry for entry, temporary in self._files("") if temporary]

    def _files(self, prefix: str) -> Iterator[tuple[StoredObject, bool]]:
        for _, files in walk(self.local_path(prefix)):
            for file in files:
                try:
                    status = file.stat()
                except FileNotFoundError:
                    continue  # deleted since the folder was listed
                except OSError as error:
                    raise unlisted(file.path, error) from error
                key, stamp = Path(file).relative_to(self.root).as_posix(), datetime.fromtimestamp(status.st_mtime, UTC)
                yield StoredObject(key, status.st_size, stamp), file.name.startswith(TEMPORARY)

    def top_level(self) -> set[str]:
        """Return the names in the folder; if the root is a file, its name."""
        try:
            names = os.listdir(self.root)
        except FileNotFoundError:
            names = []
        except NotADirectoryError:
            # Below a file there is nothing; making something there says so.
            names = [self.root.name] if self.root.is_file() else []
        except OSError as error:
            raise unlisted(self.root, error) from error
        return {name for name in names if not name.startswith(TEMPORARY)}

    def delete(self, key: str) -> None:
        """Unlink a file.

        Raises
        ------
        StoreError
            If it is there but cannot be deleted.
        """
        path = self.local_path(key)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _explained(error, path) from error

    def new_array(self, key: str) -> NewArray:
        """Begin an array in a folder of its own."""
        return _LocalArray(self, key)

    def local_path(self, key: str) -> Path:
        """Return the file or folder of a key."""
        return self.root.joinpath(*key.split("/"))

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Read some bytes of a file."""
        with self.local_path(key).open("rb") as file:
            if start < 0:
                start = max(0, os.fstat(file.fileno()).st_size + start)
                stop = max(start, os.fstat(file.fileno()).st_size + stop)
            file.seek(start)
            return file.read(stop - start)


class _LocalArray:
    """An array whose files are forced to disk when all are written."""

    def __init__(self, storage: LocalStorage, key: str) -> None:
        self._storage, self._key = storage, key
        self.target = storage.local_path(key)

    def finish(self) -> dict[str, ObjectFacts]:
        """Call fsync on every file, then on every folder from the deepest up to the store's root."""
        root, found = self._storage.root, self._storage.entries(self._key)
        folders = [folder for folder, _ in walk(self.target)][::-1]
        above = [folder for folder in self.target.parents if folder.is_relative_to(root)]
        for path in (*(root / entry.key for entry in found), *folders, *above):
            sync(path)
        return {entry.key: {"bytes": entry.n_bytes, "sha256": file_digest(root / entry.key)} for entry in found}


def walk(folder: Path) -> Iterator[tuple[Path, list[os.DirEntry[str]]]]:
    """Yield a folder and every folder below it, each before what is in it, with the files in it.

    Links to folders are followed: part of a store may lie on another disk. A folder that does not exist yields nothing.

    Raises
    ------
    StoreError
        If a folder is there but cannot be listed.
    """
    below: list[os.DirEntry[str]] = []
    files: list[os.DirEntry[str]] = []
    try:
        with os.scandir(folder) as listing:
            for entry in listing:
                (below if entry.is_dir() else files).append(entry)
    except FileNotFoundError:
        return
    except OSError as error:
        raise unlisted(folder, error) from error
    yield folder, files
    for entry in below:
        yield from walk(Path(entry))


def unlisted(folder: str | Path, error: OSError) -> StoreError:
    """Return the error for a folder that cannot be listed; it may hold anything, so it is not an empty one."""
    remedy = "When the folder can be read, run the same command again."
    return StoreError(f"cannot be listed ({error.strerror or error})", place=str(folder), remedy=remedy)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError as error:
        raise KeyExists(str(target)) from error
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK):
            what = f"the file system has no hard links ({error.strerror}), so a commit could overwrite another"
            remedy = "Keep the store on a POSIX file system (ext4, xfs, zfs, NFS); FAT and exFAT lack hard links."
            raise BackendRefused(what, place=str(target.parent), remedy=remedy) from error
        raise


def _explained(error: OSError, path: Path, n_bytes: int = 0) -> StoreError:
    """Return what a failed write means for the store; songbag's own errors pass unchanged."""
    if isinstance(error, StoreError):
        return error
    what, remedy = error.strerror or str(error), ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what = f"no space left (this object needs {n_bytes:,} bytes)"
        remedy = "Free some space and run the same command again: what was committed is safe."
    elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        what = f"cannot be written ({error.strerror})"
        remedy = "Reading and training work without write access; extraction needs it."
    elif error.errno == errno.ENOTDIR:
        path = next((one for one in path.parents if one.is_file()), path)
        what, remedy = "this is a file, and a folder is needed here", "Give another path."
    return StoreError(what, place=str(path), remedy=remedy)
