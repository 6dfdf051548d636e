"""Machines of a network: network namespaces of their own, joined by a bridge in another one (iproute2).

The real network of the machine has no part in it. Processes of all machines are forked from one process that has loaded
their libraries (`tests.support.network_process`), so that a machine costs a tenth of a second.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil

from tests.support.patience import PATIENCE_S

_CLONE_NEWNET = 0x40000000
_PREFIX = "songbag-test"
_T = TypeVar("_T")


@cache
def why_none() -> str:
    """Return why no network can be made here, or nothing."""
    try:
        with Network(["probe"]):
            return ""
    except FileNotFoundError:
        return "iproute2 (`ip`) is not installed"
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or [str(error)]
        return f"network namespaces may not be made here: {said[0]}"


class Network:
    """Some machines that reach each other; use it as a context.

    Whatever happens inside, all processes of the machines are killed at the end, and the namespaces deleted.

    Parameters
    ----------
    machines : iterable of str
        Short names.
    folder : pathlib.Path, optional
        Where what the processes say is kept, in ``MACHINE.log``.
    environment : mapping, optional
        Of all processes.
    modules : iterable of str
        What the processes share, loaded once.
    """

    def __init__(
        self,
        machines: Iterable[str],
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        modules: Iterable[str] = (),
    ) -> None:
        self._names = list(machines)
        self._folder, self._environment, self._modules = folder, dict(environment or {}), list(modules)
        self._prefix = f"{_PREFIX}-{os.getpid()}-"
        self._ending = contextlib.ExitStack()
        self._server: subprocess.Popen[str] | None = None
        self._asking = threading.Lock()

    def __enter__(self) -> Self:
        _end_abandoned()
        try:
            self._make("switch")
            _ip("-n", self._space("switch"), "link", "add", "switch0", "type", "bridge")
            _ip("-n", self._space("switch"), "link", "set", "switch0", "up")
            for number, name in enumerate(self._names, start=2):
                self._connect(name, number)
        except BaseException:
            self._ending.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ending.close()

    def address(self, machine: str) -> str:
        """Return the address of a machine."""
        return f"10.99.0.{self._names.index(machine) + 2}"

    def cut(self, machine: str) -> None:
        """Cut a machine off; nothing that it sends arrives, and nobody is told."""
        _ip("-n", self._space("switch"), "link", "set", f"port{self._names.index(machine)}", "down")

    def join(self, machine: str) -> None:
        """Connect a machine again."""
        _ip("-n", self._space("switch"), "link", "set", f"port{self._names.index(machine)}", "up")

    def start(self, machine: str, module: str, *arguments: str | Path) -> int:
        """Start ``python -m module arguments`` on a machine; return the number of the process."""
        log = str(self.log(machine))
        return self._ask(start=[self._space(machine), log, module, *map(str, arguments)])

    def run(self, machine: str, module: str, *arguments: str | Path) -> int:
        """Run ``python -m module arguments`` on a machine to its end; return its exit code."""
        return self.wait(self.start(machine, module, *arguments))

    def wait(self, process: int) -> int:
        """Wait for a process; return its exit code, which is negative after a signal."""
        deadline = time.monotonic() + PATIENCE_S
        while (code := self._ask(code_of=process)) is None:
            assert time.monotonic() < deadline, f"process {process} does not end"
            time.sleep(0.02)
        return int(code)

    def log(self, machine: str) -> Path:
        """Return the file of what the processes of a machine say."""
        assert self._folder is not None
        return self._folder / f"{machine}.log"

    def processes(self, machine: str) -> list[int]:
        """Return the numbers of the processes of a machine."""
        return _processes(self._space(machine))

    def on(self, machine: str, ask: Callable[[], _T]) -> _T:
        """Call a function that uses the network of a machine, in a thread that has entered it."""
        answers: list[_T] = []

        def enter() -> None:
            enter_namespace(self._space(machine))
            answers.append(ask())

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        (answer,) = answers
        return answer

    def _space(self, name: str) -> str:
        return self._prefix + name

    def _make(self, name: str) -> None:
        _ip("netns", "add", self._space(name))
        self._ending.callback(_end, self._space(name))

    def _connect(self, name: str, number: int) -> None:
        switch, machine, port = self._space("switch"), self._space(name), f"port{number - 2}"
        self._make(name)
        ends = ("link", "add", "cable", "netns", machine, "type", "veth", "peer", "name", port, "netns", switch)
        _ip(*ends)
        _ip("-n", switch, "link", "set", port, "master", "switch0")
        _ip("-n", switch, "link", "set", port, "up")
        _ip("-n", machine, "addr", "add", f"10.99.0.{number}/24", "dev", "cable")
        _ip("-n", machine, "link", "set", "lo", "up")
        _ip("-n", machine, "link", "set", "cable", "up")

    def _ask(self, **question: Any) -> Any:
        with self._asking:
            self._server = self._server or self._started()
            assert self._server.stdin is not None
            assert self._server.stdout is not None
            self._server.stdin.write(json.dumps(question) + "\n")
            self._server.stdin.flush()
            return json.loads(self._server.stdout.readline())

    def _started(self) -> subprocess.Popen[str]:
        assert self._folder is not None
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.network_process", *self._modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))} | self._environment,
        )
        self._ending.callback(server.__exit__, None, None, None)
        self._ending.callback(server.kill)
        return server


def enter_namespace(name: str) -> None:
    """Move this thread, and what it starts, into a network namespace."""
    descriptor = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


def _processes(namespace: str) -> list[int]:
    return [int(pid) for pid in _ip("netns", "pids", namespace).split()]


def _end(namespace: str) -> None:
    """Kill what runs in a namespace, and delete it: its cables go with it."""
    deadline = time.monotonic() + PATIENCE_S
    while (left := _processes(namespace)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    _ip("netns", "del", namespace)


def _end_abandoned() -> None:
    """Delete the namespaces of tests that were killed."""
    for namespace in _ip("netns", "list").split():
        owner = re.fullmatch(rf"{_PREFIX}-(\d+)-\w+", namespace)
        if owner and not psutil.pid_exists(int(owner[1])):
            with contextlib.suppress(subprocess.CalledProcessError):  # another test does it as well
                _end(namespace)


@contextlib.contextmanager
def stopped(processes: Iterable[int]) -> Iterator[None]:
    """Stop processes for a while: their connections stay open, and they answer nothing."""
    pids = list(processes)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout
