from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.cells import cell_len

from songbag_store import FeatureSpec, SongStore
from songbag_store.sql.output import bytes_text, print_table, write_table
from tests.support.stores import MakeStore, sixteenths

TABLE = pa.table(
    {
        "song_id": ["a\x1b[31m\n", "b"],
        "n": [1, None],
        "x": [float("nan"), 0.1],
        "sums": [[1.0] * 13, None],
        "at": [datetime(2026, 1, 2, tzinfo=UTC), None],
    }
)


def test_a_table_shows_every_cell_on_one_line_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(TABLE)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"a\x1b[31m\n" in out
    assert "[13 values]" in out
    assert len(out.splitlines()) == 3


def test_a_long_table_says_how_many_rows_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(pa.table({"n": list(range(1000))}))
    assert "800 more rows" in capsys.readouterr().out


def test_json_is_valid_and_knows_no_nan(tmp_path: Path) -> None:
    write_table(TABLE, "json", tmp_path / "t.json")
    rows = json.loads((tmp_path / "t.json").read_text())
    assert rows[0]["x"] is None
    assert rows[0]["sums"] == [1.0] * 13


def test_csv_holds_lists_as_json(tmp_path: Path) -> None:
    write_table(TABLE.select(["n", "sums"]), "csv", tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines()[0] == '"n","sums"'
    assert "[1.0, 1.0" in (tmp_path / "t.csv").read_text()


def test_parquet_comes_back_as_it_was(tmp_path: Path) -> None:
    write_table(TABLE, "parquet", tmp_path / "t.parquet")
    assert pq.read_table(tmp_path / "t.parquet").schema == TABLE.schema


@pytest.mark.parametrize(
    ("size", "text"), [(999, "999 bytes"), (1500, "1.5 kB"), (2.5e9, "2.5 GB"), (3e15, "3000.0 TB")]
)
def test_sizes_are_in_powers_of_a_thousand(size: float, text: str) -> None:
    assert bytes_text(size) == text


def in_terminal(columns: int, *arguments: str) -> list[str]:
    """Run songbag in a real terminal of this width; return the lines it shows, without their colours."""
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover (the child becomes songbag)
        # readline puts COLUMNS into the C environment, unseen by os.environ.
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
        # The size is set here and not by the parent, who would come too late.
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.execve(sys.executable, [sys.executable, "-m", "songbag", *arguments], environment)
    said = b""
    # Linux says EIO when the other end has closed.
    with suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as file:
        while data := file.read(4096):
            said += data
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return re.sub(r"\x1b\[\d*m", "", said.decode()).splitlines()


@pytest.fixture
def wide(make_store: MakeStore, rng: np.random.Generator) -> SongStore:
    ids = ["short.mp3", "artist/album/" + "a long title " * 20 + ".flac", "猫/犬の歌.ogg"]
    columns = {"genre": ["rock", "jazz", "pop"], "comment": ["x " * 400, None, "line\nbreak\x1b[31m\x07"]}
    return make_store({i: sixteenths(rng, 3, FeatureSpec().window_shape) for i in ids}, columns)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("width", [40, 80, 200])
def test_in_a_terminal_a_wide_table_keeps_to_its_width_and_names_what_is_hidden(wide: SongStore, width: int) -> None:
    lines = in_terminal(width, "query", wide.address, "select * from songs")
    table, note = lines[:4], "".join(lines[4:])
    assert [line for line in table if cell_len(line) > width] == []
    shown = table[0].split()
    assert len(shown) >= 3
    assert note.startswith(f"... {len(wide.index(arrow=True).column_names) - len(shown)} more columns: ")
    assert "…" in table[2]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_in_a_terminal_one_long_text_leaves_room_for_the_others_and_numbers_are_whole(wide: SongStore) -> None:
    sql = "select song_id, genre, comment, 1234567890123456 as n from songs"
    lines = in_terminal(60, "query", wide.address, sql)
    assert lines[0].split() == ["song_id", "genre", "comment", "n"]
    assert [line.split()[-1] for line in lines[1:]] == ["1234567890123456"] * 3
    assert ["rock" in lines[1], "jazz" in lines[2], "pop" in lines[3]] == [True] * 3


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("command", [["info"], ["query", "select comment from songs"]])
def test_nothing_a_stranger_wrote_steers_the_terminal(wide: SongStore, command: list[str]) -> None:
    lines = in_terminal(80, command[0], wide.address, *command[1:])
    assert not {"\x1b", "\x07"} & set("".join(lines))
