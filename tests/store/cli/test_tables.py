"""`history` and `failures` as tables, beside their text for people."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from songbag_store import SongStore
from songbag_store.cli.root import app
from tests.support.command import songbag_here as songbag
from tests.support.labelled import songs_of_classes, write_store

ODD = {"song_id": 'x, "y"\n.mp3', "label": "folk", "status": "failed", "error_code": "corrupt", "error": "cut, off"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SongStore:
    made = write_store(tmp_path_factory.mktemp("tables") / "store", [*songs_of_classes({"folk": 1}, seed=0), ODD])
    made.tag("kept")
    return made


def printed(*words: str) -> str:
    """Return what a command writes to standard output, as bytes too."""
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_failures_are_written_in_every_form(store: SongStore, tmp_path: Path) -> None:
    (row,) = json.loads(printed("failures", store.address, "--format", "json"))
    assert (row["song_id"], row["error_code"], row["error"]) == (ODD["song_id"], "corrupt", "cut, off")
    assert "retry_failed" not in row["remedy"]
    (of_csv,) = csv.DictReader(io.StringIO(printed("failures", store.address, "--format", "csv")))
    assert of_csv == row
    path = tmp_path / "failures.parquet"
    done = songbag("failures", store.address, "-o", path)
    assert (done.returncode, done.stdout, pq.read_table(path).to_pylist()) == (0, "", [row])
    assert songbag("failures", store.address).stdout.startswith("corrupt (1): ")


def test_the_history_is_written_in_every_form_with_its_tags(store: SongStore, tmp_path: Path) -> None:
    rows = json.loads(printed("history", store.address, "--format", "json"))
    assert [(row["snapshot"], row["songs"], row["failed"], row["tags"]) for row in rows] == [(1, 1, 1, "kept")]
    path = tmp_path / "history.csv"
    assert songbag("history", store.address, "-o", path).stdout == ""
    first, *_ = csv.reader(path.read_text().splitlines())
    assert first == ["snapshot", "committed_at", "songs", "more", "failed", "change", "tags"]
    assert "snapshot 1 is kept by: kept" in songbag("history", store.address, "--format", "table").stdout
    wrong = songbag("history", store.address, "-o", tmp_path / "history.xyz")
    assert (wrong.returncode, "the suffix is of another format" in wrong.stderr) == (2, True)


def test_of_nothing_a_table_without_rows_is_written(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", songs_of_classes({"folk": 1}, seed=0))
    assert printed("failures", store.address, "--format", "json").strip() == "[]"
    assert songbag("failures", store.address).stdout == "No song failed.\n"
