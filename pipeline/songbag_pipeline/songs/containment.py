"""Reading songs where a crash, an endless loop or a huge allocation of a native decoder costs one song.

Every worker keeps a process for it, `songs.contained`, which is told a path and a spec (one line of JSON) and sent the
file of the batch. It puts the song's windows there and answers with the song's facts. What that process says is
data: nothing of it is executed here.
"""

from __future__ import annotations

import atexit
import dataclasses
import json
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from songbag_pipeline.audio.files import modification_time
from songbag_pipeline.errors import ContainmentError, SongError
from songbag_pipeline.songs.facts import SongFacts
from songbag_pipeline.sources.bucket import local_copy
from songbag_store.child import ONE_THREAD, Child
from songbag_store.errors import StoreError
from songbag_store.windows.spill import WindowSpill

_LAST_MOMENT_S = 5.0
_START_S = 120.0
_ONE_ARENA = {"MALLOC_ARENA_MAX": "1"}
# Buffers of one window are freed and asked for again: without this the C library gives them back to the kernel each
# time, which at the thresholds that Dask sets for its workers takes longer than the computation.
_KEEP_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Containment:
    """What reads songs, and within what limits. It decides no feature byte."""

    reader: str = "songbag_pipeline.songs.song:read_song"
    """A function of the signature `songbag_pipeline.songs.facts.Reader`, as ``module:function``."""
    memory_bytes: int = 384 << 20
    """Memory that reading one song may take, beyond the process itself.

    What is left of a worker's 600 MB when the process has imported what it needs (105 MB) and the worker too (70 MB),
    with 40 MB to spare. The worker's own memory grows only while it writes a fragment, when no song is read.
    """
    patience_s: float = 60.0
    """Time that any song may take, however small its file."""
    slowest_bytes_per_s: float = 50_000.0
    """Speed below which a song is given up: ten hours of speech in 30 MB must still be read on a busy core."""

    def timeout_s(self, file_bytes: int) -> float:
        """Return the time that a file of this size may take, in seconds."""
        return self.patience_s + file_bytes / self.slowest_bytes_per_s


class ContainedReader:
    """Reads songs in a process of its own, which is started when needed and replaced when it dies; not thread-safe.

    Parameters
    ----------
    containment : Containment
        What reads, and within what limits.
    """

    def __init__(self, containment: Containment | None = None) -> None:
        self.containment = containment or Containment()
        self._child: Child | None = None
        self._songs_read = 0

    def __enter__(self) -> ContainedReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._stop()

    def read(self, address: str, spill: WindowSpill, storage_options: Mapping[str, str] | None = None) -> SongFacts:
        """Compute the windows of one song; nothing that a file does gets out of the process.

        Parameters
        ----------
        address : str
            An audio file, or an object that is fetched first.
        spill : WindowSpill
            Gets the windows of a song that does not fail.
        storage_options : mapping of str to str, optional
            How to reach the object.

        Raises
        ------
        StoreError
            If there is no room for the windows.
        ContainmentError
            If the process cannot be started.
        """
        try:
            with local_copy(address, storage_options or {}) as path:
                return self._read(path, spill)
        except SongError as error:
            return SongFacts(status="failed", error_code=error.code, error=error.what)

    def _read(self, path: str, spill: WindowSpill) -> SongFacts:
        used = self._songs_read > 0
        facts = self._attempt(path, spill)
        if used and facts.error_code in ("decoder-crash", "out-of-memory"):
            # It may be the doing of an earlier song, or the process left for being idle: judge by a fresh one.
            self._stop()
            facts = self._attempt(path, spill)
        if facts.error_code == "out-of-memory":
            self._stop()
        return facts

    def _attempt(self, path: str, spill: WindowSpill) -> SongFacts:
        """Have the process read a song; what it wrote of one that failed is cut off again."""
        try:
            facts = self._answer(path, spill)
            if facts.status == "ok":
                spill.end_song()
            return facts
        finally:
            spill.drop_song()

    def _answer(self, path: str, spill: WindowSpill) -> SongFacts:
        facts = SongFacts()
        try:
            status = os.stat(path)
            facts.file_bytes, facts.modified_at = status.st_size, modification_time(status)
        except (OSError, ValueError):
            pass  # the reader says what is the matter
        timeout_s = self.containment.timeout_s(facts.file_bytes or 0)
        try:
            child = self._started()
            self._songs_read += 1
            answer = _ask(child, {"path": path, "spec": json.dumps(spill.spec.to_dict())}, spill.fileno(), timeout_s)
        except TimeoutError:
            self._stop()
            facts.fail("decoder-hang", f"decoding had come to no end after {timeout_s:.0f} s")
            return facts
        except EOFError:
            facts.fail("decoder-crash", f"the decoder died on this file ({self._stop(_LAST_MOMENT_S)})")
            return facts
        if "failed" in answer:
            facts.fail(*answer["failed"])
            return facts
        if "facts" not in answer:
            raise StoreError(**answer)
        found = SongFacts.from_json(answer["facts"])
        if found.status == "ok" and found.n_windows != spill.n_pending():
            facts.fail("internal-error", f"{spill.n_pending()} windows were written, and {found.n_windows} computed")
            return facts
        return found

    def _started(self) -> Child:
        """Return the process, ready to read."""
        if self._child is not None:
            return self._child
        arguments = self.containment.reader, str(self.containment.memory_bytes)
        environment = {**ONE_THREAD, **_ONE_ARENA, **_KEEP_MEMORY}
        try:
            child = Child("songbag_pipeline.songs.contained", *arguments, environment=environment, heard=True)
        except OSError as error:
            raise _not_started(error.strerror or str(error)) from error
        try:
            _await_answer(child, _START_S)
        except (EOFError, TimeoutError) as error:
            reason = child.last_words()
            child.close()
            raise _not_started(reason) from error
        self._child = child
        return child

    def _stop(self, patience_s: float = 0.0) -> str:
        """End the process if there is one, giving it a moment to be gone by itself; return how it ended."""
        if self._child is None:
            return ""
        child, self._child, self._songs_read = self._child, None, 0
        ended = child.stop(patience_s)
        child.close()
        return ended


def _ask(child: Child, request: dict[str, str], file: int, timeout_s: float) -> dict[str, Any]:
    """Send a request and the descriptor of a file; return the answer."""
    line = json.dumps(request).encode() + b"\n"
    try:
        sent = socket.send_fds(child.channel, [line], [file])
        child.channel.sendall(line[sent:])
    except (BrokenPipeError, ConnectionResetError):
        raise EOFError from None
    return _await_answer(child, timeout_s)


def _await_answer(child: Child, timeout_s: float) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    poll = select.poll()
    poll.register(child.channel, select.POLLIN)
    line = b""
    while not line.endswith(b"\n"):
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not poll.poll(left_s * 1000):
            raise TimeoutError
        try:
            piece = child.channel.recv(1 << 16)
        except ConnectionResetError:
            piece = b""
        if not piece:
            raise EOFError
        line += piece
    answer: dict[str, Any] = json.loads(line)
    return answer


def _not_started(reason: str) -> ContainmentError:
    return ContainmentError(
        f"the process that decodes could not be started ({reason})",
        place=sys.executable,
        remedy="Check that songbag[pipeline] is whole, and memory left, where the workers run.",
    )


_idle: list[ContainedReader] = []
_idle_lock = threading.Lock()


@contextmanager
def contained_reader(containment: Containment) -> Iterator[ContainedReader]:
    """Lend a reader whose process may have served earlier batches of this worker; one borrower at a time has it."""
    with _idle_lock:
        fitting = [one for one in _idle if one.containment == containment]
        if fitting:
            _idle.remove(fitting[0])
    reader = fitting[0] if fitting else ContainedReader(containment)
    try:
        yield reader
    except BaseException:
        reader.close()
        raise
    with _idle_lock:
        _idle.append(reader)


@atexit.register
def _close_idle() -> None:
    with _idle_lock:
        while _idle:
            _idle.pop().close()
