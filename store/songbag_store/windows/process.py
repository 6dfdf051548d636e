"""Processes that read bags into shared memory, and the rule that starts them.

Python runs one thread at a time, so threads alone do not read faster on more cores. See docs/decisions/0031.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pickle
import select
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from songbag_store.child import Child, threads
from songbag_store.format.spec import FeatureSpec
from songbag_store.machine import IS_LINUX, n_cores
from songbag_store.types import Ints, StoredWindows
from songbag_store.windows.spans import Spans

DONE, FAILED = b"+", b"-"

_MOST_WAITING = 64
_LONGEST_STEP_S = 0.1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRule:
    """How many processes read a folder, and when they start."""

    n_processes: int = dataclasses.field(default_factory=lambda: min(4, n_cores()) if IS_LINUX else 0)
    """One for each core; fewer than two do not start."""

    after_bytes: int = 256 << 20
    """Bags of so many bytes are read before the share of waiting is judged."""

    waiting_share: float = 0.1
    """Processes start if at least this share of the time is spent waiting for bags."""

    job_bytes: int = 4 << 20
    """A larger batch is read by several processes."""

    patience_s: float = 1.0
    """A process that does not answer in this time is given up: it needs an idle core, and there seems to be none."""


class WaitingShare:
    """The share of the time that is spent waiting for bags, judged after every `rule.after_bytes` of them.

    Attributes
    ----------
    latest : float or None
        The last judgement.
    """

    def __init__(self, rule: ProcessRule) -> None:
        self.latest: float | None = None
        self._rule = rule
        self._n_bytes, self._waited_s, self._passed_s = 0, 0.0, 0.0
        self._at_s: float | None = None

    def is_large(self, n_bytes: int, waited_s: float, at_s: float) -> bool:
        """Add a wait that ends now; return whether processes are worth starting.

        Parameters
        ----------
        n_bytes : int
            Size of the bags.
        waited_s : float
            How long they were waited for.
        at_s : float
            The time now, by any clock.
        """
        pause_s = 0.0 if self._at_s is None else max(0.0, at_s - waited_s - self._at_s)
        # A longer pause is not a training step.
        self._passed_s += waited_s + min(pause_s, _LONGEST_STEP_S)
        self._n_bytes, self._waited_s, self._at_s = self._n_bytes + n_bytes, self._waited_s + waited_s, at_s
        if self._n_bytes < self._rule.after_bytes:
            return False
        self.latest = self._waited_s / max(self._passed_s, 1e-9)
        self._n_bytes, self._waited_s, self._passed_s = 0, 0.0, 0.0
        return self.latest >= self._rule.waiting_share


class ReadingProcess:
    """A process that reads as long as this object lives. Safe for threads.

    It gets places in a file that both processes have mapped. It answers each job with a byte, in the order of the jobs;
    its first answer says that it is ready. If it dies, the caller reads the bags itself.

    Parameters
    ----------
    folder : Path
        Of the store.
    spec : FeatureSpec
        The store's.
    file : int
        Descriptor of the file.
    patience_s : float
        How long to wait for an answer.

    Attributes
    ----------
    is_gone : bool
        Whether it takes no more jobs.
    """

    def __init__(self, folder: Path, spec: FeatureSpec, file: int, patience_s: float) -> None:
        self._patience_s = patience_s
        self._jobs: deque[StoredWindows | None] = deque([None])
        self._n_begun, self._n_answered = 1, 0
        self._failed: set[int] = set()
        self.is_gone = False
        self._sending, self._receiving = threading.Lock(), threading.Lock()
        self._answers = select.poll()
        arguments = str(folder), json.dumps(spec.to_dict()), str(file)
        try:
            child = Child("songbag_store.windows.process_main", *arguments, environment=threads(1), files=(file,))
        except OSError:
            self.is_gone = True
            return
        self._requests = Connection(child.channel.detach())
        self._answers.register(self._requests.fileno(), select.POLLIN)
        self._end = weakref.finalize(self, Child.stop, child)

    def is_ready(self) -> bool:
        """Return whether it takes jobs."""
        return not self.is_gone and (self._n_answered > 0 or self.n_waiting() == 0)

    def n_waiting(self) -> int:
        """Return how many jobs it has not answered; before it is ready that is one."""
        # If another thread waits for an answer, that thread takes the answers.
        if self._receiving.acquire(blocking=False):
            try:
                with self._giving_up():
                    self._take_answers(0)
            finally:
                self._receiving.release()
        return self._n_begun - self._n_answered

    def begin(self, place: int | None, spans: Spans, windows: Ints, bags: StoredWindows) -> int | None:
        """Let the process read some windows of each of several songs.

        Parameters
        ----------
        place : int or None
            Offset of `bags` in the file; None if they are not in it.
        spans, windows, bags
            As `songbag_store.windows.reader.FragmentReader.fill_bags` takes them.

        Returns
        -------
        job : int or None
            Its number for `wait`; None if the process cannot take it.
        """
        with self._sending:
            if place is None or self.is_gone or len(self._jobs) == _MOST_WAITING:
                return None
            # Kept until the answer, even if no thread waits for it: until then no other batch may use this memory.
            self._jobs.append(bags)
            job, self._n_begun = self._n_begun, self._n_begun + 1
            with self._giving_up():
                numbers = np.column_stack([spans.row_starts, spans.n_windows, windows])
                self._requests.send_bytes(pickle.dumps((place, spans.fragments, numbers)))
        return job

    def wait(self, job: int) -> bool:
        """Wait at most `patience_s` for the answer to a job; return whether it was done."""
        with self._receiving, self._giving_up():
            while self._n_answered <= job and not self.is_gone:
                if not self._take_answers(self._patience_s):
                    raise TimeoutError
        return job < self._n_answered and job not in self._failed

    def _take_answers(self, within_s: float) -> bool:
        """Take the answers that are there or arrive in time; return whether there were any."""
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
        """End the process if an exchange with it is interrupted half done, by an error or by Ctrl-C."""
        try:
            yield
        except BaseException as error:
            # The socket stays open: another thread may be about to read from a descriptor of this number.
            self.is_gone = True
            self._end()
            if not isinstance(error, (OSError, EOFError)):
                raise
