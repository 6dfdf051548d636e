"""Ctrl-C and SIGTERM: the first is answered at once and lets the work end in order, the second ends the process."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any, Self

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
_doing: list[str] = []
_asked: list[Callable[[], object]] = []


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Say what the block does, in the words of an answer: "stopping while listing the songs"."""
    _doing.append(what)
    try:
        yield
    finally:
        _doing.remove(what)


def stop_if_asked() -> None:
    """Do again what the signal of a `StopRequest` did, if there was one; long work calls this between its steps.

    Python drops an exception that a handler raises while an object is deleted or a callback of a library runs.
    """
    for handle in _asked[:1]:
        handle()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let each Ctrl-C raise `KeyboardInterrupt` in this block, as a prompt needs it; inside a `StopRequest` too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wakeup, handler = signal.set_wakeup_fd(-1), signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)


class StopRequest:
    """A context in which the first SIGINT or SIGTERM is noted and answered, and the second ends the process at once.

    A thread of its own answers: the main thread may be in native code, and runs Python's handlers only after it.
    Outside of the main thread, where Python allows no handlers, this does nothing.

    Parameters
    ----------
    answer : callable
        Shows a line, such as "Ctrl-C: stopping while listing the songs".
    handle : callable, optional
        Called in the main thread with the number of the first signal. It may raise.

    Attributes
    ----------
    signal_number : int or None
        The signal that came.
    """

    def __init__(self, answer: Callable[[str], object], handle: Callable[[int], object] = lambda number: None) -> None:
        self.signal_number: int | None = None
        self._answer, self._handle = answer, handle
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            reading, self._writing = socket.socketpair()
            self._writing.setblocking(False)
            self._watcher = threading.Thread(target=self._watch, args=(reading,), daemon=True)
            self._watcher.start()
            # The C handler writes the number of each signal here, also while the main thread is in native code.
            self._wakeup = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
            self._handlers = {number: signal.signal(number, self._come) for number in _NAMES}
        return self

    def __exit__(self, *exception: object) -> None:
        _asked.clear()
        if self._handlers:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._wakeup)
            self._writing.close()
            self._watcher.join()

    def _come(self, number: int, frame: FrameType | None) -> None:
        _asked.append(partial(self._handle, number))
        self._handle(number)

    def _watch(self, reading: socket.socket) -> None:
        with reading:
            while numbers := reading.recv(64):
                for number in numbers:
                    if number in _NAMES:
                        self._take(number)

    def _take(self, number: int) -> None:
        if self.signal_number is not None:
            os._exit(128 + number)
        self.signal_number = number
        while_doing = f" while {_doing[-1]}" if _doing else ""
        with suppress(Exception):  # no terminal any more
            self._answer(f"{_NAMES[signal.Signals(number)]}: stopping{while_doing}; once more ends it at once")
