"""Reading and writing a file of a run as a whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from songbag_store.errors import SongbagError, UsageError
from songbag_training.errors import RunError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside a file; on success force it to disk and put it in the file's place.

    Whatever happens before, a disk that is full included, the file that was there stays as it was.

    Raises
    ------
    RunError
        If the file cannot be written.
    """
    temporary = path.parent / f".tmp-{uuid.uuid4().hex}{path.suffix}"
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        if isinstance(error, SongbagError):
            raise  # of whoever makes the content, and no fault of this file
        raise _unwritten(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def creating(path: Path) -> Iterator[Path]:
    """Give a temporary path beside a file or folder that is to be; on success force it to disk and give it its name.

    Raises
    ------
    UsageError
        If something has that name, before or after.
    RunError
        If it cannot be written.
    """
    temporary = path.parent / f".tmp-{uuid.uuid4().hex}{path.suffix}"
    try:
        if os.path.lexists(path):
            raise FileExistsError
        yield temporary
        for made in (*temporary.rglob("*"), temporary):
            _sync(made)
        if temporary.is_dir():
            # A folder takes the place of an empty one without a word, of anything else never.
            os.rename(temporary, path)
        else:
            os.link(temporary, path)
        _sync(path.parent)
    except SongbagError:
        raise
    except OSError as error:
        if error.errno in (None, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            remedy = "Choose another name: nothing is written over."
            raise UsageError("there is something in its place", place=str(path), remedy=remedy) from error
        raise _unwritten(path, error) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def _unwritten(path: Path, error: OSError) -> RunError:
    return RunError(
        f"cannot be written ({error.strerror or error})",
        place=str(path),
        remedy="What was there before is untouched; make room or give access, and run the same again.",
    )


def write_whole(path: Path, data: bytes) -> None:
    """Write a file as a whole; see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """Read a file that should be small; of one that is not, or that is no file, nothing.

    Raises
    ------
    ValueError
        If it is larger, or a device or a pipe, which may never end.
    OSError
        If it cannot be read.
    """
    require_regular(path)
    n_bytes = path.stat().st_size
    if n_bytes > most_bytes:
        raise ValueError(f"it has {n_bytes:,} bytes, and at most {most_bytes:,} can be right")
    with path.open("rb") as file:
        return file.read(most_bytes)


def require_regular(path: Path) -> None:
    """Refuse a path that is neither missing nor a regular file: opening a pipe would wait for ever.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a regular file")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_new_file(path: Path, suffix: str) -> None:
    """Refuse an output that is of another kind, is there already, or has no folder to stand in.

    Raises
    ------
    UsageError
        Saying which.
    """
    if path.suffix.lower() != suffix:
        raise UsageError(f"the name does not end in {suffix}", place=str(path), remedy=f"Give a {suffix} file.")
    if path.exists():
        raise UsageError("the file is there already", place=str(path), remedy="Choose another -o, or remove it first.")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {str(path.parent)!r}", place=str(path), remedy="Make it first.")
