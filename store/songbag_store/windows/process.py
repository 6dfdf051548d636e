"""A process that reads bags beside this one, into memory that both see: of threads, Python lets one work at a time."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import select
import socket
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from songbag_store.format.spec import FeatureSpec
from songbag_store.types import Ints, StoredWindows
from songbag_store.windows.spans import Spans

DONE, FAILED = b"+", b"-"

PATIENCE_S = 1.0
"""A process that lets somebody wait for longer is given up: it runs only where nothing else does, and here something
else seems to run all the time."""

_MOST_WAITING = 64
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class ReadingProcess:
    """A process that reads for as long as this object lives. Safe for threads.

    It is told places in a file that both have mapped, and answers each job with a byte, in their order; the first
    answer says that it is ready. Whatever befalls it costs nothing but its help: a job that it has not done is for
    whoever asked to do.

    Parameters
    ----------
    folder : Path
        Of the store.
    spec : FeatureSpec
        The store's.
    file : int
        Descriptor of the file.

    Attributes
    ----------
    is_gone : bool
        Whether it takes no more jobs.
    """

    def __init__(self, folder: Path, spec: FeatureSpec, file: int) -> None:
        self._jobs: deque[StoredWindows | None] = deque([None])
        self._n_begun, self._n_answered = 1, 0
        self._failed: set[int] = set()
        self.is_gone = False
        self._sending, self._receiving = threading.Lock(), threading.Lock()
        here, there = socket.socketpair()
        self._requests = Connection(here.detach())
        self._answers = select.poll()
        self._answers.register(self._requests.fileno(), select.POLLIN)
        with there:
            inherited = there.fileno(), file
            arguments = map(str, (folder, json.dumps(spec.to_dict()), *inherited))
            try:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "songbag_store.windows.process_main", *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=inherited,
                    env={**os.environ, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
                    # Ctrl-C is for this process alone to answer.
                    process_group=0,
                )
            except OSError:
                self.is_gone = True
                return
        self._end = weakref.finalize(self, _end, process, os.getpid())

    def is_ready(self) -> bool:
        """Say whether it takes jobs."""
        return not self.is_gone and (self._n_answered > 0 or self.n_waiting() == 0)

    def n_waiting(self) -> int:
        """Return how many jobs it has yet to do; before it is ready that is one."""
        # While another thread waits for an answer there is one to wait for.
        if self._receiving.acquire(blocking=False):
            try:
                with self._giving_up():
                    self._take_answers(0)
            finally:
                self._receiving.release()
        return self._n_begun - self._n_answered

    def begin(self, place: int, spans: Spans, windows: Ints, bags: StoredWindows) -> int | None:
        """Have some windows of each of several songs read.

        Parameters
        ----------
        place : int
            Where in the file `bags` begin.
        spans, windows, bags
            As `songbag_store.windows.reader.FragmentReader.fill_bags` takes them.

        Returns
        -------
        job : int or None
            What to `wait` for; None if it cannot be begun.
        """
        with self._sending:
            if self.is_gone or len(self._jobs) == _MOST_WAITING:
                return None
            # Held until it is answered, even if nobody waits: the memory must not be another batch's before.
            self._jobs.append(bags)
            job, self._n_begun = self._n_begun, self._n_begun + 1
            with self._giving_up():
                numbers = np.column_stack([spans.row_starts, spans.n_windows, windows])
                self._requests.send_bytes(pickle.dumps((place, spans.fragments, numbers)))
        return job

    def wait(self, job: int) -> bool:
        """Wait for the answer to a job, for `PATIENCE_S` at most; return whether it was done."""
        with self._receiving, self._giving_up():
            while self._n_answered <= job and not self.is_gone:
                if not self._take_answers(PATIENCE_S):
                    raise TimeoutError
        return job < self._n_answered and job not in self._failed

    def _take_answers(self, within_s: float) -> bool:
        """Take the answers that there are, or come in time; say whether there were any."""
        if not self._answers.poll(1000 * within_s):
            return False
        answers = os.read(self._requests.fileno(), _MOST_WAITING)
        if not answers:
            raise EOFError
        for answer in answers:
            if answer != DONE[0]:
                self._failed.add(self._n_answered)
            self._jobs.popleft()
            self._n_answered += 1
        return True

    @contextlib.contextmanager
    def _giving_up(self) -> Iterator[None]:
        """End the process if anything breaks in on an exchange with it, which is then half done: Ctrl-C for one."""
        try:
            yield
        except (OSError, EOFError):
            self._give_up()
        except BaseException:
            self._give_up()
            raise

    def _give_up(self) -> None:
        # The socket stays open: another thread may be about to read from a descriptor of this number.
        self.is_gone = True
        self._end()


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """Kill a process, which has nothing to lose; in a fork of its owner let it be."""
    if os.getpid() == owner:
        process.kill()
        process.wait()
