"""`attempt.json`: who trains in a folder now, or how the last attempt ended. Neither Keras nor TensorFlow here.

The file is there while a run or a cross-validation is not finished. Its process holds a lock on it, so that a process
that was killed is not taken for one that goes on. Folders from before this file tell less, and so do file systems
without locks.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from songbag_store.errors import SongbagError, UsageError
from songbag_store.format.document import Time, parse_document, read_fields, write_fields
from songbag_store.machine import is_locked, lock_file
from songbag_store.storage.files import read_bounded
from songbag_store.terminal import plain_text

State = Literal["running", "failed", "interrupted"]

ATTEMPT = "attempt.json"
"""Name of the file."""

_MOST_BYTES = 2**16
_MOST_LETTERS = 2000
_TRIES, _PAUSE_S = 20, 0.05


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What `attempt.json` says."""

    host: str
    """Name of the machine."""
    process: int
    """Number of the process there."""
    began_at: Time
    """ISO 8601, UTC."""
    ended_at: Time | None = None
    """None as long as nothing said that it ended: its process may have been killed."""
    ended: Literal["failed", "interrupted"] | None = None
    """How it ended."""
    why: str = ""
    """What went wrong, or which signal came."""


@contextmanager
def attempt(folder: Path) -> Iterator[None]:
    """Record who trains in a folder while the block runs, and why it ended, if it does not end well.

    A folder in which nothing can be recorded is trained in all the same.

    Raises
    ------
    UsageError
        If another process trains there now: two would write over each other's checkpoints.
    """
    path = folder / ATTEMPT
    begun = Attempt(host=platform.node(), process=os.getpid(), began_at=_now())
    descriptor = -1
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    if not _lock(descriptor):
        os.close(descriptor)
        raise _busy(folder)
    try:
        _write(descriptor, begun)
        yield
        if descriptor >= 0:
            with suppress(OSError):
                path.unlink(missing_ok=True)
    except BaseException as error:
        _write(descriptor, _ended(begun, error))
        raise
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def refuse_running(folder: Path) -> None:
    """Refuse a folder in which a process trains now, before long work begins; see `attempt`."""
    if (last_attempt(folder) or ("", ""))[0] == "running":
        raise _busy(folder)


def _busy(folder: Path) -> UsageError:
    who = "another process"
    with suppress(SongbagError, OSError, ValueError):
        found = read_fields(Attempt, parse_document(read_bounded(folder / ATTEMPT, _MOST_BYTES)))
        who = f"process {found.process} on {plain_text(found.host)}"
    remedy = "Wait until it has ended, or stop it, or choose another `output`."
    return UsageError(f"{who} trains in this folder now", place=str(folder), remedy=remedy)


def record_failure(folder: Path, error: BaseException) -> None:
    """Record that a training failed before it began in its folder, or on another machine."""
    begun = Attempt(host=platform.node(), process=os.getpid(), began_at=_now())
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ATTEMPT).write_bytes(write_fields(_ended(begun, error)))


def last_attempt(folder: Path) -> tuple[State, str] | None:
    """Return what has become of the last attempt, and why; None if nothing is recorded that can be read."""
    path = folder / ATTEMPT
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if is_locked(descriptor):
            return "running", ""
        found = read_fields(Attempt, parse_document(read_bounded(path, _MOST_BYTES)))
    except (SongbagError, OSError, ValueError):
        return None
    finally:
        os.close(descriptor)
    return found.ended or "interrupted", found.why or "its process ended without a word"


def _lock(descriptor: int) -> bool:
    """Lock the file, and return False if a process holds the lock for longer than a command that lists runs does."""
    for _ in range(_TRIES if descriptor >= 0 else 0):
        try:
            lock_file(descriptor, wait=False)
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        except OSError:
            return True
        else:
            return True
    return descriptor < 0


def _write(descriptor: int, what: Attempt) -> None:
    """Write into the open file: another file in its place would have no lock."""
    if descriptor < 0:
        return
    data = write_fields(what)
    with suppress(OSError):
        os.pwrite(descriptor, data, 0)
        os.ftruncate(descriptor, len(data))
        os.fsync(descriptor)


def _ended(begun: Attempt, error: BaseException) -> Attempt:
    """Return how an attempt ended by what was raised."""
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        return dataclasses.replace(begun, ended_at=_now(), ended="interrupted", why="stopped by a signal")
    what = error.what if isinstance(error, SongbagError) else str(error)
    why = plain_text(f"{type(error).__name__}: {what}".strip())[:_MOST_LETTERS]
    return dataclasses.replace(begun, ended_at=_now(), ended="failed", why=why)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
