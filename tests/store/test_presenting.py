from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from songbag_store.presenting import bytes_text, print_table, write_table

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
