"""Contestants: processes that answer calls, and stand still while others run."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measuring import ONE_THREAD
from benchmarks.peers.environments import OWN, interpreter, reason, versions

ROOT = Path(__file__).parents[2]
LIMIT_S = 600.0
"""A contestant that answers later is ended, and missing."""

_SAMPLE_S = 0.02


class CannotRun(Exception):
    """A contestant that is not installed, or that failed: its message says why."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What a question compares: a class that runs in the environment of a group."""

    name: str
    place: str
    """Module and class below `benchmarks.peers`, as ``streaming.mds:Mds``."""

    group: str = OWN
    package: str = ""
    """The package whose version is reported, and without which the peer is missing; "" for songbag itself."""

    note: str = ""
    """What a reader of the table must know about how it is used."""

    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def version(self) -> str:
        """The version of its package, as installed."""
        return f"{self.package} {versions(self.group)[self.package.lower()]}" if self.package else "this checkout"


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What a call returned, and what it took."""

    value: Any
    wall_s: float
    processor_s: float


class Contestant:
    """A peer's process. Once it is ready, it is stopped but for its turns: the threads of some never rest."""

    def __init__(self, peer: Peer, folder: Path, *, one_core: bool = False, **options: Any) -> None:
        self.peer, self.peak = peer, 0
        if (why := reason(peer.group, peer.package)) is not None:
            raise CannotRun(why)
        folder.mkdir(parents=True, exist_ok=True)
        arguments = [f"benchmarks.peers.{peer.place}", str(folder), json.dumps({**peer.options, **options})]
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        own = {"PYTHONPATH": path if peer.group == OWN else str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._process = subprocess.Popen(
            [interpreter(peer.group), "-m", "benchmarks.peers.serve", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **own, **(ONE_THREAD if one_core else {})},
            cwd=folder,
            preexec_fn=_to_one_core if one_core else None,
        )

    def ask(self, do: str, *arguments: Any) -> Answer:
        """Let it run one method, alone."""
        assert self._process.stdin
        self._signal(signal.SIGCONT)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": do, "with": arguments}).encode() + b"\n")
            self._process.stdin.flush()
        return self._answer(do)

    def wait_until_ready(self) -> None:
        """Wait until it has loaded its libraries; it may do so while others load theirs."""
        self._answer("begin")

    def _answer(self, do: str) -> Answer:
        assert self._process.stdout
        late = threading.Timer(LIMIT_S, self.kill)
        late.start()
        began = time.monotonic()
        line = self._process.stdout.readline()
        late.cancel()
        if not line and time.monotonic() - began > LIMIT_S:
            raise CannotRun(f"no answer to {do!r} within {LIMIT_S:.0f} s")
        if not line:
            raise CannotRun(" ".join(["its process ended", *self.log().splitlines()[-1:]]))
        self._signal(signal.SIGSTOP)
        answer = json.loads(line)
        if "error" in answer:
            raise CannotRun(answer["error"])
        return Answer(answer["value"], answer["wall_s"], answer["processor_s"])

    def peak_bytes(self, do: str, *arguments: Any) -> int:
        """Let it run one method; return the most memory that it and its processes held, without mapped files."""
        with _watched(self._process.pid) as peak:
            try:
                self.ask(do, *arguments)
            finally:
                self.peak = peak[0]
        return self.peak

    def log(self) -> str:
        """Return what it and its libraries printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def kill(self) -> None:
        """Kill it and its processes, whatever they do."""
        self._signal(signal.SIGKILL)
        self._process.kill()

    def close(self) -> None:
        """End it and its processes."""
        self.kill()
        self._process.communicate()
        self._log.close()

    def _signal(self, number: int) -> None:
        # The process makes its group itself; until then the group is not there.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _to_one_core() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


@contextlib.contextmanager
def _watched(group: int) -> Iterator[list[int]]:
    peak, ended = [_held_bytes(group)], threading.Event()

    def watch() -> None:
        while not ended.wait(_SAMPLE_S):
            peak[0] = max(peak[0], _held_bytes(group))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
        peak[0] = max(peak[0], _held_bytes(group))


def _held_bytes(group: int) -> int:
    """Return the private and shared memory of a process and all below it; pages of mapped files are the cache's."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        # A process may end while it is looked at.
        with contextlib.suppress(OSError, IndexError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    below, total = {group}, 0
    # A child has mostly a higher number than its parent, but numbers begin again.
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    for pid in below:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
    return total * 1024
