"""What songbag takes from the operating system, and what works where that is not Linux."""

from __future__ import annotations

import os
import sys

from songbag_store.errors import UnsupportedSystem

IS_LINUX = sys.platform == "linux"
IS_WINDOWS = sys.platform == "win32"

_REMEDIES = {
    "darwin": "On macOS, stores can be opened, read and queried; on Linux, in a container too, all of songbag works.",
    "win32": "On Windows, use WSL (Windows Subsystem for Linux): there all of songbag works.",
}


def require_linux(place: str) -> None:
    """Refuse what needs Linux: processes that end with their owner and within limits of memory.

    Parameters
    ----------
    place : str
        The function that needs it.

    Raises
    ------
    UnsupportedSystem
        On another system; it says what works there.
    """
    if not IS_LINUX:
        raise _unsupported("needs Linux", place)


def require_unix(place: str) -> None:
    """Refuse what needs Linux or macOS, as `require_linux` does: files that several threads read at once, and locks."""
    if IS_WINDOWS:
        raise _unsupported("needs Linux or macOS", place)


def _unsupported(what: str, place: str) -> UnsupportedSystem:
    remedy = _REMEDIES.get(sys.platform, "On Linux all of songbag works.")
    return UnsupportedSystem(f"{what}, and this system is {sys.platform}", place=place, remedy=remedy)


def n_cores() -> int:
    """Return the cores that this process may use; where the system does not tell, those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def lock_file(descriptor: int, *, wait: bool = True) -> None:
    """Lock an open file for this process alone.

    Raises
    ------
    BlockingIOError
        If another process has locked it, and this one does not wait.
    """
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def is_locked(descriptor: int) -> bool:
    """Return whether `lock_file` holds an open file, here or in another process; False where there are no locks."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def reserve(descriptor: int, n_bytes: int) -> None:
    """Make an open file so long; on Linux its room on the disk is then certain.

    Raises
    ------
    OSError
        If there is too little room.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, max(1, n_bytes))
    else:
        os.ftruncate(descriptor, max(1, n_bytes))
