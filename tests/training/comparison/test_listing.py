"""The table of the runs below a folder."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import songbag
from songbag_store.errors import UsageError
from songbag_store.format.document import write_fields
from songbag_training.errors import RunNotFound
from songbag_training.runs.attempt import ATTEMPT, attempt, last_attempt
from songbag_training.runs.run import Run


def copied(run: Run, folder: Path, **changes: object) -> Path:
    """Copy the documents of a run; changes are fields of `run.json`."""
    folder.mkdir(parents=True)
    for name in ("metrics.json", "split.parquet"):
        shutil.copy(run.folder / name, folder / name)
    (folder / "run.json").write_bytes(write_fields(dataclasses.replace(run.facts, **changes)))  # type: ignore[arg-type]
    return folder


def test_a_row_has_the_metrics_and_only_the_settings_that_differ(run: Run, tmp_path: Path) -> None:
    copied(run, tmp_path / "a")
    copied(run, tmp_path / "deep" / "b", config=dataclasses.replace(run.facts.config, learning_rate=0.5))
    table = songbag.runs(tmp_path, arrow=True)
    rows = table.to_pylist()
    assert [row["name"] for row in rows] == ["a", "deep/b"]
    song, ends = run.metrics["test"]["song"], run.metrics["test"]["intervals"]
    assert rows[0]["accuracy"] == song["accuracy"]
    assert [rows[0]["accuracy_low"], rows[0]["accuracy_high"]] == ends["accuracy"]
    assert rows[0]["songs"] == len(run.split().song_ids)
    assert [row["learning_rate"] for row in rows] == [0.01, 0.5]
    assert "epochs" not in table.column_names
    assert "log_loss" not in table.column_names
    everything = songbag.runs(tmp_path, all=True, arrow=True)
    assert {"epochs", "log_loss", "store"} <= set(everything.column_names)


def test_rows_are_sorted_by_a_metric_the_best_first(run: Run, tmp_path: Path) -> None:
    for name, value in (("a", 0.25), ("b", 0.75), ("c", None)):
        folder = copied(run, tmp_path / name, files=None)
        metrics = json.loads((folder / "metrics.json").read_text())
        metrics["test"]["song"] |= {"accuracy": value, "log_loss": value}
        (folder / "metrics.json").write_text(json.dumps(metrics))
    names = songbag.runs(tmp_path, arrow=True)["name"].to_pylist()
    assert names == ["b", "a", "c"]
    assert songbag.runs(tmp_path, sort="log-loss", all=True, arrow=True)["name"].to_pylist() == ["a", "b", "c"]
    with pytest.raises(UsageError, match="accurate"):
        songbag.runs(tmp_path, sort="accurate")


def test_the_state_says_what_became_of_a_training(run: Run, tmp_path: Path) -> None:
    for name in ("old", "running", "failed", "stopped", "killed"):
        copied(run, tmp_path / name, finished_at=None, best_epoch=None)
    with pytest.raises(ValueError, match="broken"), attempt(tmp_path / "failed"):
        raise ValueError("broken")
    with pytest.raises(KeyboardInterrupt), attempt(tmp_path / "stopped"):
        raise KeyboardInterrupt
    die = "import os, sys, pathlib; from songbag_training.runs.attempt import attempt\n"
    die += "with attempt(pathlib.Path(sys.argv[1])): os._exit(9)"
    subprocess.run([sys.executable, "-c", die, tmp_path / "killed"], check=False)
    with attempt(tmp_path / "running"):
        rows = {row["name"]: row for row in songbag.runs(tmp_path, arrow=True).to_pylist()}
    assert {name: row["state"] for name, row in rows.items()} == {
        "failed": "failed",
        "killed": "interrupted",
        "old": "unfinished",
        "running": "running",
        "stopped": "interrupted",
    }
    assert rows["failed"]["note"] == "after 0 of 8 epochs: ValueError: broken"
    assert rows["running"]["note"] == "epoch 1 of 8"
    assert rows["old"]["songs"] == len(run.split().song_ids)
    assert not (tmp_path / "running" / ATTEMPT).exists()


@pytest.mark.fault(150)
def test_a_folder_in_which_a_process_trains_is_refused_and_left_as_it_is(run: Run, tmp_path: Path) -> None:
    folder = copied(run, tmp_path / "run", finished_at=None, best_epoch=None)
    with attempt(folder):
        before = (folder / ATTEMPT).read_bytes()
        with pytest.raises(UsageError, match=f"process {os.getpid()} on .* trains in this folder now"), attempt(folder):
            pass
        with pytest.raises(UsageError, match="trains in this folder now"):
            songbag.resume(folder)
        with pytest.raises(UsageError, match="trains in this folder now"):
            songbag.train("nowhere", "label", folder)
        assert (folder / ATTEMPT).read_bytes() == before
        assert last_attempt(folder) == ("running", "")
    with attempt(folder):
        pass


def test_a_record_that_is_half_written_is_no_record(tmp_path: Path) -> None:
    (tmp_path / ATTEMPT).write_text('{"host": "x"')
    assert last_attempt(tmp_path) is None


def test_what_is_no_run_or_is_damaged_is_a_row_that_says_so(run: Run, tmp_path: Path) -> None:
    copied(run, tmp_path / "good")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "run.json").write_text('{"name": "of another tool"}')
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "run.json").write_text('{"format": 99}')
    (tmp_path / "folder" / "run.json").mkdir(parents=True)
    os.mkfifo(copied(run, tmp_path / "fifo") / "other")
    changed = copied(run, tmp_path / "changed")
    (changed / "metrics.json").write_text("{}")
    (copied(run, tmp_path / "lost") / "metrics.json").unlink()
    (tmp_path / "good" / "up").symlink_to(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "good")
    (tmp_path / ".hidden").mkdir()
    copied(run, tmp_path / os.fsdecode(b"caf\xe9 \x1b[31m"))
    table = songbag.runs(tmp_path, arrow=True)
    rows = {row["name"]: row for row in table.to_pylist()}
    assert len(rows) == table.num_rows == 8
    assert (rows["foreign"]["state"], rows["newer"]["state"]) == ("damaged", "newer")
    assert rows["folder"]["state"] in ("damaged", "unreadable")
    assert (rows["changed"]["note"], rows["lost"]["note"]) == (
        "metrics.json is not what was written",
        "metrics.json is missing",
    )
    assert [name for name in rows if name.startswith("caf")] == ["caf\\xe9 \x1b[31m"]
    assert len(songbag.runs(tmp_path)) == 8


def test_a_folder_that_is_not_there_is_refused_and_an_empty_one_is_an_empty_table(tmp_path: Path) -> None:
    assert songbag.runs(tmp_path, arrow=True).num_rows == 0
    with pytest.raises(RunNotFound, match="no folder"):
        songbag.runs(tmp_path / "no")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_without_permission_is_a_row(run: Run, tmp_path: Path) -> None:
    copied(run, tmp_path / "a")
    (tmp_path / "locked").mkdir(mode=0)
    states = songbag.runs(tmp_path, arrow=True).select(["name", "state"]).to_pylist()
    assert {"name": "locked", "state": "unreadable"} in states


def test_a_run_itself_is_one_row(run: Run) -> None:
    table = songbag.runs(run.folder, arrow=True)
    assert table["name"].to_pylist() == [run.folder.name]
    assert isinstance(table, pa.Table)
