"""Reading songs where a crash, an endless loop or a huge allocation of a native decoder costs one song.

Every worker keeps a process for it, `songs.contained`, which is told a path and a spec (one line of JSON),
puts the song's windows into a file that both have open, and answers with the song's facts. What that process says is
data: nothing of it is executed here.
"""

from __future__ import annotations

import atexit
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from songbag_pipeline.audio.files import modification_time
from songbag_pipeline.errors import ContainmentError
from songbag_pipeline.songs.facts import Sink, SongFacts
from songbag_store import FeatureSpec
from songbag_store.errors import StoreError

_BYTES_AT_ONCE = 8 << 20
_LAST_MOMENT_S = 5.0
_START_S = 120.0
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
# Buffers of one window are freed and asked for again: without this the C library gives them back to the kernel each
# time, which at the thresholds that Dask sets for its workers takes longer than the computation.
_KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(64 << 20), "MALLOC_MMAP_THRESHOLD_": str(64 << 20)}


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
        self._windows = tempfile.TemporaryFile(prefix="songbag-")  # noqa: SIM115 (closed by close)
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1
        self._songs_read = 0

    def __enter__(self) -> ContainedReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._stop()
        self._windows.close()

    def read(self, path: str, spec: FeatureSpec, sink: Sink) -> SongFacts:
        """Compute the windows of one song; as `read_song`, but nothing a file does gets out.

        Raises
        ------
        StoreError
            If there is no room for the windows.
        ContainmentError
            If the process cannot be started.
        """
        used = self._songs_read > 0
        facts = self._attempt(path, spec, sink)
        if used and facts.error_code in ("decoder-crash", "out-of-memory"):
            # It may be the doing of an earlier song, or the process left for being idle: judge by a fresh one.
            self._stop()
            facts = self._attempt(path, spec, sink)
        if facts.error_code == "out-of-memory":
            self._stop()
        return facts

    def _attempt(self, path: str, spec: FeatureSpec, sink: Sink) -> SongFacts:
        facts = SongFacts()
        try:
            status = os.stat(path)
            facts.file_bytes, facts.modified_at = status.st_size, modification_time(status)
        except (OSError, ValueError):
            pass  # the reader says what is the matter
        timeout_s = self.containment.timeout_s(facts.file_bytes or 0)
        try:
            self._start()
            self._songs_read += 1
            answer = self._ask({"path": path, "spec": json.dumps(spec.to_dict())}, timeout_s)
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
        facts = SongFacts.from_json(answer["facts"])
        self._pass_on(facts.n_windows, spec, sink)
        return facts

    def _pass_on(self, n_windows: int, spec: FeatureSpec, sink: Sink) -> None:
        self._windows.seek(0)
        at_once = max(1, _BYTES_AT_ONCE // spec.window_bytes)
        for start in range(0, n_windows, at_once):
            count = min(at_once, n_windows - start)
            data = self._windows.read(count * spec.window_bytes)
            sink(np.frombuffer(data, spec.encoding).reshape(count, *spec.window_shape))

    def _start(self) -> None:
        if self._process is not None:
            return
        lifeline, self._lifeline = os.pipe()
        inherited = (self._windows.fileno(), lifeline)
        arguments = map(str, (self.containment.reader, self.containment.memory_bytes, *inherited))
        try:
            self._process = subprocess.Popen(
                # -P: a file that happens to be named numpy.py where the worker was started is not to be imported.
                [sys.executable, "-P", "-m", "songbag_pipeline.songs.contained", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=inherited,
                env=_environment(),
                # Ctrl-C is for the coordinator alone to answer.
                process_group=0,
            )
        except OSError as error:
            os.close(self._lifeline)
            raise _not_started(error.strerror or str(error)) from error
        finally:
            os.close(lifeline)
        try:
            self._await_answer(_START_S)
        except (EOFError, TimeoutError) as error:
            raise _not_started(self._last_words()) from error

    def _last_words(self) -> str:
        assert self._process is not None
        self._process.kill()
        said = self._process.communicate()[1].decode(errors="replace").strip().splitlines()
        self._stop()
        return said[-1] if said else "it said nothing"

    def _stop(self, patience_s: float = 0.0) -> str:
        """End the process if there is one, giving it a moment to be gone by itself; return how it ended."""
        if self._process is None:
            return ""
        process, self._process, self._songs_read = self._process, None, 0
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
        process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()
        os.close(self._lifeline)
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _ask(self, request: dict[str, str], timeout_s: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise EOFError from None
        return self._await_answer(timeout_s)

    def _await_answer(self, timeout_s: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        answers, deadline = self._process.stdout.fileno(), time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(answers, select.POLLIN)
        line = b""
        while not line.endswith(b"\n"):
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not poll.poll(left_s * 1000):
                raise TimeoutError
            piece = os.read(answers, 1 << 16)
            if not piece:
                raise EOFError
            line += piece
        answer: dict[str, Any] = json.loads(line)
        return answer


def _environment() -> dict[str, str]:
    """Return the environment of the process: what can be imported here can be imported there."""
    importable = {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    return {**os.environ, **_ONE_THREAD, **_KEEP_MEMORY, **importable}


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
