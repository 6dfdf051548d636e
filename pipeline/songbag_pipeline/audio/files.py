"""Audio files on disk: opened, hashed, dated."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from songbag_pipeline.errors import SongError

_HASHED_AT_ONCE = 1 << 18


class RegularFile(io.BufferedReader):
    """A file that can be hashed while it is read, so that it is not read twice."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(io.FileIO(descriptor))
        self._digest: Any = None
        self._hashed = 0

    def hash_while_read(self) -> None:
        """Hash the bytes that `read_at` returns; `sha256` hashes the rest."""
        self._digest = hashlib.sha256()

    def read_at(self, n_bytes: int, at: int) -> bytes:
        """Return at most so many bytes from a place."""
        data = os.pread(self.fileno(), n_bytes, at)
        if self._digest is not None and at >= self._hashed:
            self._hash_to(at)
            if at == self._hashed:
                self._digest.update(data)
                self._hashed += len(data)
        return data

    def sha256(self) -> str:
        """Return the SHA-256 of the file's content, in hexadecimal."""
        if self._digest is None:
            self.hash_while_read()
        self._hash_to(sys.maxsize)
        digest: str = self._digest.hexdigest()
        return digest

    def _hash_to(self, end: int) -> None:
        """Hash the bytes up to some place, or to the end of the file."""
        while self._hashed < end:
            data = os.pread(self.fileno(), min(_HASHED_AT_ONCE, end - self._hashed), self._hashed)
            if not data:
                return
            self._digest.update(data)
            self._hashed += len(data)


class FilePart(io.RawIOBase):
    """A part of a file, for decoders that must not see what stands in front of the audio or behind it.

    Parameters
    ----------
    file : RegularFile
        The file; its own position does not change.
    start : int
        Where the part begins, in bytes.
    end : int, optional
        Where it ends; by default with the file.

    Attributes
    ----------
    descriptor, start, n_bytes : int
        The descriptor of the file, where the part begins in it, and its length.
    """

    def __init__(self, file: RegularFile, start: int, end: int | None = None) -> None:
        self._file, self.descriptor, self.start, self._at = file, file.fileno(), start, 0
        self.n_bytes = max(0, (os.fstat(self.descriptor).st_size if end is None else end) - start)

    def again(self) -> FilePart:
        """Return the same part with a position of its own."""
        return FilePart(self._file, self.start, self.start + self.n_bytes)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read_at(self, n_bytes: int, at: int) -> bytes:
        """Return at most so many bytes from a place in the part."""
        return os.pread(self.descriptor, max(0, min(n_bytes, self.n_bytes - at)), self.start + at)

    def read(self, size: int = -1, /) -> bytes:
        data = self.read_at(self.n_bytes if size < 0 else size, self._at)
        self._at += len(data)
        return data

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.n_bytes}
        self._at = max(0, begin[whence] + offset)
        return self._at

    def tell(self) -> int:
        return self._at


@contextmanager
def open_regular(path: str) -> Iterator[RegularFile]:
    """Open a regular file for reading, without waiting for a pipe or a device.

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
    with RegularFile(descriptor) as file:
        yield file


def file_identity(status: os.stat_result) -> tuple[int, ...]:
    """Return what tells a file from others, and from itself after a change."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def modification_time(status: os.stat_result) -> datetime:
    """Return a file's modification time in UTC, to the microsecond, as the index keeps it."""
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
        return file.sha256()
