"""Files on disk: opened without waiting, hashed, dated."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BufferedReader

from songbag_pipeline.errors import SongError


@contextmanager
def open_regular(path: str) -> Iterator[BufferedReader]:
    """Open a regular file for reading; never wait for a pipe or a device.

    Raises
    ------
    SongError
        ``missing``, ``permission-denied``, ``not-a-file`` or ``unreadable-file``.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise SongError("missing", "there is no such file") from None
    except PermissionError:
        raise SongError("permission-denied", "the file may not be read") from None
    except (OSError, ValueError) as error:
        raise SongError("unreadable-file", f"the file cannot be opened ({error})") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SongError("not-a-file", "this is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def modification_time(status: os.stat_result) -> datetime:
    """Return a file's modification time to the microsecond, in UTC; the index keeps no more."""
    seconds, nanoseconds = divmod(status.st_mtime_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)


def file_sha256(path: str) -> str:
    """Return the SHA-256 of a file's content.

    Raises
    ------
    SongError
        If it cannot be read.
    """
    with open_regular(path) as file:
        return sha256_of(file)


def sha256_of(file: BufferedReader) -> str:
    """Return the SHA-256 of an open file's content, in hexadecimal."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()
