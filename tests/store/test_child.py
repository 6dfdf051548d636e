"""A process of songbag's own: how it begins and how it ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from songbag_store.child import Child
from tests.support.clusters import wait_until

ECHO = """
from songbag_store.child import serve
import os
channel, arguments = serve()
channel.sendall((" ".join(arguments) + " " + os.environ["TONE"] + chr(10)).encode())
channel.recv(1)
raise SystemExit(3)
"""


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "songbag_echo.py").write_text(ECHO)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "songbag_echo"


def line_of(child: Child) -> bytes:
    with child.channel.makefile("rb") as answers:
        return answers.readline()


def test_a_child_imports_what_its_owner_can_and_gets_arguments_and_environment(echo: str) -> None:
    child = Child(echo, "one", "two", environment={"TONE": "a"})
    assert line_of(child) == b"one two a\n"
    child.close()


def test_how_a_child_ended_is_told(echo: str) -> None:
    alone, killed = Child(echo, environment={"TONE": "a"}), Child(echo, environment={"TONE": "a"})
    line_of(alone)
    alone.channel.close()
    assert alone.stop(60.0) == "exit code 3"
    assert killed.stop() == "SIGKILL"
    alone.close()
    killed.close()


def test_a_fork_of_its_owner_leaves_a_child_alone(echo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(echo, environment={"TONE": "a"})
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: -1)
        assert child.stop() == ""
    assert line_of(child)
    child.close()


def test_the_last_words_of_a_child_say_why_it_did_not_start() -> None:
    child = Child("songbag_nowhere", heard=True)
    assert child.channel.recv(1) == b""
    assert "No module named songbag_nowhere" in child.last_words()
    child.close()


def test_what_a_child_started_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = "import subprocess\nchannel.sendall(b'%d\\n' % subprocess.Popen(['sleep', '600']).pid)\nchannel.recv(1)\n"
    begin = "from songbag_store.child import serve\nchannel, _ = serve()\n"
    (tmp_path / "songbag_starter.py").write_text(begin + started)
    monkeypatch.syspath_prepend(str(tmp_path))
    child = Child("songbag_starter")
    status = Path(f"/proc/{int(line_of(child))}/status")
    child.close()
    wait_until(lambda: not status.exists() or "State:\tZ" in status.read_text(), "it ended")
