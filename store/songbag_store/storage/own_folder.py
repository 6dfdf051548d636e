"""A folder of this user's own: no link or file that another user put there is followed, read or written to."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from songbag_store.errors import UsageError

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
# Not FileNotFoundError: a name that is a link, a socket, a pipe, or a file that another user keeps from this one.
_NO_FILE = (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EACCES, errno.EPERM)


class OwnFolder:
    """An open folder that belongs to this user, and that no other user may write to.

    Its files are opened by their names in the open folder, so what happens to the folder's own path does not matter.
    Make one with `opened`.

    Parameters
    ----------
    descriptor : int
        Of the open folder.
    """

    def __init__(self, descriptor: int) -> None:
        self._at = descriptor

    @classmethod
    @contextmanager
    def opened(cls, path: Path, *, place: str) -> Iterator[OwnFolder]:
        """Open a folder for the length of a block; one that is not there is made, for this user alone.

        Parameters
        ----------
        place : str
            Name of the argument that gave the path.

        Raises
        ------
        UsageError
            If it belongs to another user, others may write to it, or it is a link that another user made.
        OSError
            If it cannot be made or opened.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        descriptor = os.open(_without_link(path, place), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            _require_own(os.fstat(descriptor), path, place)
            yield cls(descriptor)
        finally:
            os.close(descriptor)

    def open(self, name: str, flags: int) -> int | None:
        """Open a regular file of this user that has no second name.

        Anything else of this name is deleted and never written to: a link leads to a file outside the folder.

        Returns
        -------
        descriptor : int or None
            None if there was no such file.
        """
        try:
            # Without O_NONBLOCK, opening a pipe would wait for its other end.
            descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600, dir_fd=self._at)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            self.delete(name)
            return None
        status = os.fstat(descriptor)
        theirs = status.st_uid != os.geteuid() or status.st_mode & _WRITABLE_BY_OTHERS
        if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1 and not theirs:
            return descriptor
        os.close(descriptor)
        self.delete(name)
        return None

    def delete(self, name: str) -> None:
        """Delete a file or a link, if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._at)

    def rename(self, old: str, new: str) -> None:
        """Rename a file; one that had the new name is replaced."""
        os.rename(old, new, src_dir_fd=self._at, dst_dir_fd=self._at)

    def names(self) -> list[str]:
        """Return the names in the folder."""
        return os.listdir(self._at)

    def status(self, name: str) -> os.stat_result:
        """Return size and times of a file; those of a link are its own."""
        return os.stat(name, dir_fd=self._at, follow_symlinks=False)

    def is_file(self, descriptor: int, name: str) -> bool:
        """Return whether a name still is that of an open file."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), self.status(name))
        return False


def digest_of(descriptor: int) -> str:
    """Return the SHA-256 of an open file."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _without_link(path: Path, place: str) -> Path:
    """Return the path of the folder itself; a link to it must be this user's or the administrator's."""
    status = path.lstat()
    if not stat.S_ISLNK(status.st_mode):
        return path
    if status.st_uid not in (0, os.geteuid()):
        raise UsageError(f"{path} is a link that another user made", place=place, remedy=_another(place))
    return path.resolve()


def _require_own(status: os.stat_result, path: Path, place: str) -> None:
    if status.st_uid != os.geteuid():
        raise UsageError(f"the folder {path} belongs to another user", place=place, remedy=_another(place))
    if status.st_mode & _WRITABLE_BY_OTHERS:
        remedy = (
            f"Take the right from them (chmod go-w), or give a `{place}` that is not there yet: it is made for you."
        )
        raise UsageError(f"others may write to the folder {path}", place=place, remedy=remedy)


def _another(place: str) -> str:
    return f"Give a `{place}` that is not there yet: it is made for you alone."
