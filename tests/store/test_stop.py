"""Signals that ask a process to stop."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from songbag_store.stop import StopRequest, doing, stop_if_asked
from tests.support.patience import PATIENCE_S

COMMAND = """
import ctypes, time
from songbag_store.cli import root

@root.app.command()
def wait(native: bool = False) -> None:
    if native:  # waits until standard input ends, whatever signals come
        ctypes.CDLL(None).system(b"echo ready; exec cat >/dev/null 2>&1")
    print("ready", flush=True)
    time.sleep(1000)

root.main()
"""


@pytest.mark.fault(47)
@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_the_first_signal_is_noted_and_answered_with_what_is_done(number: signal.Signals, name: str) -> None:
    said: list[str] = []
    before = signal.getsignal(number)
    with StopRequest(said.append) as stop, doing("the run works"), doing("songs are listed"):
        signal.raise_signal(number)
        deadline = time.monotonic() + PATIENCE_S
        while not said and time.monotonic() < deadline:
            time.sleep(0.001)
    assert stop.signal_number == number
    assert said == [f"{name}: stopping while songs are listed; once more ends it at once"]
    assert signal.getsignal(number) is before


@pytest.mark.fault(47)
@pytest.mark.parametrize("words", [["wait"], ["wait", "--native"]])
def test_a_command_answers_the_first_signal_wherever_it_is_and_ends_with_the_second(words: list[str]) -> None:
    command = [sys.executable, "-c", COMMAND, *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        answer = "songbag wait: SIGTERM: stopping; once more ends it at once. What is finished is kept.\n"
        assert process.stderr.readline() == answer
        if "--native" in words:
            process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 128 + signal.SIGTERM
        assert process.stderr.read() == ""


@pytest.mark.fault(47)
def test_a_stop_that_python_dropped_comes_at_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a handler raises while an object is deleted goes nowhere."""
    dropped: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: dropped.append(found.exc_type))

    class Deleted:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    with StopRequest(lambda line: None, lambda number: sys.exit(128 + number)):
        stop_if_asked()
        gone: list[Deleted] = [Deleted()]
        gone.clear()
        assert dropped == [SystemExit]
        with pytest.raises(SystemExit):
            stop_if_asked()
    stop_if_asked()


def test_outside_of_the_main_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    found: list[object] = []

    def look() -> None:
        with StopRequest(print):
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [before]
