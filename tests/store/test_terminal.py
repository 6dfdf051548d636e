"""What is shown: names in any script on any terminal, and none of them steers it."""

from __future__ import annotations

import io
import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.cli import main
from songbag_store.progress import shown_on
from songbag_store.terminal import encodable, lenient, plain_lines, say
from tests.support.stores import MakeStore, sixteenths

NAMES = ["猫/犬の歌.ogg", "été.mp3", "red\x1b[31m\x07.mp3", "right\u202e3pm.to-left", "🎵", "two\nlines", "\x9b2J", "c"]
ESCAPED = ["\\u732b/\\u72ac\\u306e\\u6b4c.ogg", "\\U0001f3b5", "\\u202e"]
STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SongStore:
    from songbag_store.commits.parts import read_part
    from songbag_store.writer import commit_parts, open_for_writing
    from tests.support.stores import fill

    made = open_for_writing(tmp_path_factory.mktemp("猫 é") / "store", FeatureSpec())
    windows = sixteenths(np.random.default_rng(3), 1, FeatureSpec().window_shape)
    columns = {"label": ["jazz", "猫", "a\x1b[2J"] + ["é"] * (len(NAMES) - 3), "\x1b[1mcolumn": list(NAMES)}
    fragment = fill(made, dict.fromkeys(NAMES, windows), columns)
    return commit_parts(made, {fragment: read_part(made.inside.storage, made.uuid, made.spec, fragment)})


class Stream(io.TextIOWrapper):
    """Standard output or error with an encoding; a terminal, if wished."""

    def __init__(self, encoding: str, *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="strict", newline="\n")
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def said(self) -> str:
        """Return what was written; other letters than the encoding's are an error."""
        self.flush()
        written = self.buffer.getvalue()  # type: ignore[attr-defined]
        return str(written.decode(self.encoding))


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run the command in this process, with streams of an encoding; return its exit code and what it said."""
    handler = signal.getsignal(signal.SIGINT)

    def songbag(encoding: str, *arguments: str, terminal: bool = False) -> tuple[int, str, str]:
        out, err = Stream(encoding, terminal=terminal), Stream(encoding, terminal=terminal)
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        monkeypatch.setattr(sys, "argv", ["songbag", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        monkeypatch.undo()
        return int(end.value.code or 0), out.said(), err.said()

    yield songbag
    signal.signal(signal.SIGINT, handler)


COMMANDS = [
    ["info", "STORE"],
    ["info", "STORE", "--json"],
    ["query", "STORE", "select * from songs"],
    ["query", "STORE", "select song_id, label from songs", "--format", "json"],
    ["query", "STORE", "summarize songs"],
    ["query", "STORE", 'pivot songs on label using count(*) group by "\x1b[1mcolumn"'],
    ["query", "STORE", "select '猫\x1b[31m', nope from songs"],
    ["query", "STORE", "select error('猫\x1b[31m')"],
    ["query", "STORE", "select 1", "-o", "猫\x1b[31m/x.csv"],
    ["failures", "STORE"],
    ["history", "STORE"],
    ["verify", "STORE"],
    ["info", "猫\x1b[31m"],
    ["extract", "猫\x1b[31m", "STORE"],
    ["nonsense-猫"],
    ["query", "--help"],
]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("command", COMMANDS, ids=[" ".join(map(ascii, command)) for command in COMMANDS])
def test_every_command_shows_any_name_on_any_terminal(
    store: SongStore, run: Run, command: list[str], encoding: str
) -> None:
    arguments = [store.address if one == "STORE" else one for one in command]
    code, out, err = run(encoding, *arguments)
    assert code in (0, 1, 2)
    assert "Unicode" not in out + err
    assert "unexpected" not in err
    assert not STEERING.search(out + err.replace("\x1b[1mcolumn", ""))


def test_a_table_is_as_straight_with_escapes_as_without(store: SongStore, run: Run) -> None:
    sql = "select song_id, label, 12 as n from songs where song_id != 'c'"
    _, out, _ = run("ascii", "query", store.address, sql)
    assert [one for one in ESCAPED if one not in out] == []
    assert {line[-2:] for line in out.splitlines()[1:]} == {"12"}
    assert len({len(line) for line in out.splitlines()}) == 1
    assert "猫" in run("utf-8", "query", store.address, sql)[1]


def test_json_is_the_same_whatever_the_terminal(store: SongStore, run: Run) -> None:
    sql = 'select song_id, label, "\x1b[1mcolumn" from songs order by n_windows, song_id'
    answers = [run(encoding, "query", store.address, sql, "--format", "json")[1] for encoding in ("ascii", "utf-8")]
    assert json.loads(answers[0]) == json.loads(answers[1])
    assert {row["song_id"] for row in json.loads(answers[0])} == set(NAMES)
    assert answers[0].isascii()
    assert "猫" in answers[1]


def test_csv_is_exact_in_a_pipe_and_harmless_on_a_terminal(store: SongStore, run: Run) -> None:
    asked = ["query", store.address, "select song_id from songs order by 1", "--format", "csv"]
    _, piped, _ = run("utf-8", *asked)
    assert piped == '"song_id"\n' + "".join(f'"{name}"\n' for name in sorted(NAMES))
    for encoding in ("utf-8", "ascii"):
        _, shown, _ = run(encoding, *asked, terminal=True)
        assert not STEERING.search(shown)
        assert r"red\x1b[31m\x07.mp3" in shown


def test_a_long_name_is_cut_with_a_mark_that_the_terminal_has(store: SongStore, run: Run) -> None:
    sql = "select repeat('x', 300) as a, repeat('y', 300) as b"
    assert "xxx..." in run("ascii", "query", store.address, sql, terminal=True)[1]
    assert "xxx…" in run("utf-8", "query", store.address, sql, terminal=True)[1]


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_progress_is_shown_on_any_terminal(encoding: str, terminal: bool) -> None:
    stream = Stream(encoding, terminal=terminal)
    progress = shown_on(stream)
    progress.begin(3, "songs")
    for done in range(3):
        progress.advance(done, "猫 é\x1b[2J", f"{done}: 猫 é\x1b[2J")
        progress.note("left out: 猫/é\x07")
    progress.end()
    said = stream.said()
    assert "\x1b[2J" not in said.replace("\x1b[2K", "")
    assert "\x07" not in said
    assert ("猫" in said) == (encoding == "utf-8")


def test_text_for_a_stream(capsys: pytest.CaptureFixture[str]) -> None:
    stream = Stream("latin-1")
    assert encodable("é猫", stream) == "é\\u732b"
    assert lenient(stream).write("é猫") == 7
    assert plain_lines("a\x1b\nb\x85") == "a\\x1b\nb\\x85"
    say("猫\x07", file=stream)
    assert stream.said() == "é\\u732b\\u732b\\x07\n"
    say("猫", "b")
    assert capsys.readouterr().out == "猫\nb\n"


def test_an_error_shows_what_a_stranger_wrote_as_escapes(make_store: MakeStore, run: Run, tmp_path: Path) -> None:
    windows = sixteenths(np.random.default_rng(3), 1, FeatureSpec().window_shape)
    store = make_store({"a\x1b[31m": windows})
    shard = next(path for path in Path(store.address).rglob("c/0/0/0"))
    shard.write_bytes(shard.read_bytes()[:-1])
    code, out, err = run("ascii", "verify", store.address)
    assert code == 1
    assert r"a\x1b[31m" in out
    assert not STEERING.search(out + err)
