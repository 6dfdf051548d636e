"""Files that are written as a whole or not at all."""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from songbag_store.errors import FileError, SongbagError, UsageError
from songbag_store.machine import lock_file

TEMPORARY = ".tmp-"
"""Prefix of the name of a file that is being written."""

_STAGED = ".staged"


def temporary_beside(path: Path) -> Path:
    """Return a new temporary name in the folder of a file."""
    return path.parent / f"{TEMPORARY}{uuid.uuid4().hex}{path.suffix}"


def sync(path: Path) -> None:
    """Force a file or the names in a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _temporary(path: Path, temporary: Path) -> Iterator[Path]:
    """Yield a temporary path, and remove what is there in the end; an error of the system names `path`."""
    try:
        yield temporary
    except SongbagError:
        raise  # an error of the code that writes the content
    except OSError as error:
        remedy = "What was there before is untouched; make room or give access, and run the same again."
        what = f"cannot be written ({error.strerror or error})"
        raise FileError(what, place=str(path), remedy=remedy) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside a file; on success force it to disk and put it in the file's place.

    On any failure, such as a full disk, the old file stays as it was.

    Raises
    ------
    UsageError
        If there is a folder or a device in its place.
    FileError
        If the file cannot be written.
    """
    with _temporary(path, temporary_beside(path)) as temporary:
        _refuse_device(path)
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)


@contextmanager
def creating(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside a new file or folder; on success force it to disk and rename it.

    Raises
    ------
    UsageError
        If the name is taken, before or after the writing.
    FileError
        If it cannot be written.
    """
    remedy = "Choose another name: nothing is written over."
    taken = UsageError("there is something in its place", place=str(path), remedy=remedy)
    if os.path.lexists(path):
        raise taken
    with _temporary(path, temporary_beside(path)) as temporary:
        yield temporary
        for made in (*temporary.rglob("*"), temporary):
            sync(made)
        try:
            # `rename` replaces an empty folder, and fails on anything else; `link` fails on everything.
            (os.rename if temporary.is_dir() else os.link)(temporary, path)
        except OSError as error:
            raise taken if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR) else error from error
        sync(path.parent)


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder inside a folder, for files that are moved out of it together; remove it in the end.

    It is locked as long as its process lives. Those that killed processes have left are removed, where there are locks.

    Raises
    ------
    FileError
        If a file cannot be written; it is named by its place in `folder`.
    """
    with ExitStack() as held, _temporary(folder, temporary_beside(folder / f"results{_STAGED}")) as temporary:
        with opened(folder) as alone:
            # Held meanwhile: another process would take a new folder without a lock for one that was left behind.
            locks = _locks(alone)
            if locks:
                _remove_left(folder)
            temporary.mkdir()
            if locks:
                lock_file(held.enter_context(opened(temporary)))
        try:
            yield temporary
        except FileError as error:
            error.place = error.place.replace(str(temporary), str(folder))
            raise


def _remove_left(folder: Path) -> None:
    for left in folder.glob(f"{TEMPORARY}*{_STAGED}"):
        with suppress(OSError), opened(left) as descriptor:
            lock_file(descriptor, wait=False)
            shutil.rmtree(left)


def _locks(descriptor: int) -> bool:
    """Lock an open folder, and return whether its file system can."""
    try:
        lock_file(descriptor)
    except OSError:
        return False
    return True


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """Open a folder, and yield its descriptor; a lock on it ends with the block."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file as a whole; see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def is_there(path: Path) -> bool:
    """Return whether there is a file or a folder; only "no such file or folder" means that there is none.

    `Path.exists` also says no where it cannot be looked at, in some versions of Python.

    Raises
    ------
    FileError
        If it cannot be looked at.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        remedy = "When it can be read, run the same again."
        raise FileError(f"cannot be looked at ({error.strerror})", place=str(path), remedy=remedy) from error
    return True


def within(folder: Path, pattern: str = "*") -> list[Path]:
    """Return what lies in a folder, by name, of the names that match a pattern; nothing if there is no such folder.

    Raises
    ------
    FileError
        If the folder cannot be listed, which `Path.glob` takes for an empty one.
    """
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise FileError(f"cannot be listed ({error.strerror})", place=str(folder)) from error
    return [folder / name for name in sorted(fnmatch.filter(names, pattern))]


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """Read a file that should be small.

    Raises
    ------
    ValueError
        If it is larger, or not a regular file.
    OSError
        If it cannot be read.
    """
    require_regular(path)
    if (n_bytes := path.stat().st_size) > most_bytes:
        raise ValueError(f"it has {n_bytes:,} bytes, and at most {most_bytes:,} can be right")
    with path.open("rb") as file:
        return file.read(most_bytes)


def require_regular(path: Path) -> None:
    """Refuse a device or a pipe: reading it may wait for ever.

    Raises
    ------
    ValueError
        If the path is not a regular file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a regular file")


def require_output(path: Path, *suffixes: str, new: bool = False) -> None:
    """Refuse an output file that cannot be written, before any work is done.

    Parameters
    ----------
    suffixes : str
        The suffixes that it may have; any if none is given.
    new : bool
        Whether the file must not exist yet.

    Raises
    ------
    UsageError
        If it has another suffix, its folder is missing, it is no file, or it exists already.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        remedy = f"End it in {' or '.join(suffixes)}."
        raise UsageError("the suffix is of another format", place=str(path), remedy=remedy)
    try:
        if new and path.exists():
            raise UsageError("is there already", place=str(path), remedy="Choose another `output`, or remove it first.")
        if not path.parent.is_dir():
            raise UsageError(f"there is no folder {str(path.parent)!r}", place=str(path), remedy="Make it first.")
        _refuse_device(path)
    except OSError as error:
        what = f"is not the name of a file ({error.strerror})"
        raise UsageError(what, place=str(path), remedy="Choose another `output`.") from error


def _refuse_device(path: Path) -> None:
    """Refuse what is there and is no file: putting a file in the place of ``/dev/null`` breaks the machine.

    Raises
    ------
    UsageError
        If it is a folder, a device, a pipe, or one of the system's links to them.
    """
    at = path.absolute().parent
    of_system = path.is_symlink() and any(one in (at, *at.parents) for one in (Path("/dev"), Path("/proc")))
    if of_system or (path.exists() and not path.is_file()):
        raise UsageError(
            "is no file",
            place=str(path),
            remedy="Move it away, or choose another `output`.",
        )


def claim_folder(folder: Path) -> None:
    """Make the folder of a new result; refuse one that holds anything.

    Raises
    ------
    UsageError
        If it is a file or not empty.
    FileError
        If it cannot be made.
    """
    remedy = "Choose another `output`: nothing is written over."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError("the folder is not empty", place=str(folder), remedy=remedy)
    except (FileExistsError, NotADirectoryError):
        raise UsageError("there is a file in the place of the folder", place=str(folder), remedy=remedy) from None
    except OSError as error:
        raise FileError(f"the folder cannot be made ({error.strerror})", place=str(folder)) from error
