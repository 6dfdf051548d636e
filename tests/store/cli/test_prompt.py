"""`songbag query STORE` without SQL: a prompt on a terminal, standard input elsewhere; SQL and store in any order."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from tests.support.command import songbag_here
from tests.support.patience import PATIENCE_S
from tests.support.stores import MakeStore, sixteenths

COUNT = "select count(*) as n from songs"


@pytest.fixture
def store(make_store: MakeStore, rng: np.random.Generator) -> SongStore:
    return make_store({name: sixteenths(rng, 1, FeatureSpec().window_shape) for name in "abc"})


class Terminal:
    """The command on a terminal."""

    def __init__(self, home: Path, *words: str) -> None:
        environment = {**os.environ, "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "TERM": "dumb"}
        self.ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "songbag", *words]
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        )
        os.close(theirs)

    def until(self, text: str) -> str:
        """Return what is shown until a text comes."""
        shown, end_s = "", time.monotonic() + PATIENCE_S
        while text not in shown:
            assert time.monotonic() < end_s, shown
            if select.select([self.ours], [], [], 1)[0]:
                shown += os.read(self.ours, 4096).decode()
        return shown

    def interrupt_until(self, text: str) -> str:
        """Press Ctrl-C until a text comes: one that meets `input` between its prompt and its waiting is forgotten."""
        while True:
            os.killpg(self.process.pid, signal.SIGINT)
            if select.select([self.ours], [], [], 5)[0]:
                return self.until(text)

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def type_until(self, text: str, answer: str) -> str:
        """Type a text, again if it was lost to a Ctrl-C that came late, until an answer comes."""
        while True:
            self.type(text)
            shown, end_s = "", time.monotonic() + 10
            while time.monotonic() < end_s:
                if select.select([self.ours], [], [], 1)[0]:
                    shown += os.read(self.ours, 4096).decode()
                if answer in shown:
                    return shown

    def ended_by(self, key: str) -> int:
        """Press a key until the command ends, and return its exit code: between two prompts a key may be lost."""
        end_s = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < end_s
            self.type(key)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
        os.close(self.ours)
        return self.process.returncode


@pytest.fixture
def terminal(store: SongStore, tmp_path: Path) -> Iterator[Terminal]:
    shown = Terminal(tmp_path, "query", store.address)
    yield shown
    if shown.process.poll() is None:
        shown.process.kill()
        shown.process.wait()


def test_the_prompt_stays_open_after_errors_and_ctrl_c_and_ends_with_ctrl_d(terminal: Terminal, tmp_path: Path) -> None:
    terminal.until("songbag> ")
    terminal.type("select nope from songs;\n")
    assert "nope" in terminal.until("songbag> ")
    terminal.type("drop view songs;\n")
    assert "read-only" in terminal.until("songbag> ")
    terminal.type("select 40 +\n")
    terminal.until("...> ")
    terminal.interrupt_until("songbag> ")
    terminal.type_until("select 40 +\n2 as n\n\n", "42")
    assert terminal.ended_by("\x04") == 0
    kept = tmp_path / "state" / "songbag" / "queries"
    assert "select 40 +" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


def test_sql_is_read_from_standard_input_where_there_is_no_terminal(
    store: SongStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for text, code, said in (
        (COUNT, 0, "3"),
        (f"{COUNT};\n", 0, "3"),
        (" \n", 2, "SQL: is missing"),
        ("drop view songs", 2, "read-only"),
    ):
        (tmp_path / "sql").write_text(text)
        with (tmp_path / "sql").open() as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            done = songbag_here("query", store.address)
        assert done.returncode == code
        assert said in done.stdout + done.stderr


def test_sql_before_the_store_is_understood(store: SongStore) -> None:
    done = songbag_here("query", COUNT, store.address)
    assert (done.returncode, done.stdout.split()) == (0, ["n", "3"])
    assert "note: the SQL stands before the store" in done.stderr


def test_sql_without_a_store_or_in_its_place_is_named() -> None:
    assert "STORE: is missing" in songbag_here("query", COUNT).stderr
    assert "STORE: is SQL" in songbag_here("query", COUNT, COUNT).stderr


def test_a_store_whose_name_begins_like_sql_is_a_store(
    store: SongStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("select songs").symlink_to(store.address)
    assert songbag_here("query", "select songs", COUNT).stdout.split() == ["n", "3"]
