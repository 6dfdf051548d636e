"""The demo as a user runs it, in full: real audio files, Dask, training, prediction."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from songbag_store import SongStore
from tests.support.command import songbag_here as songbag


def test_the_demo_ends_with_predictions_that_join_to_the_index(demo: Path) -> None:
    rows = duckdb.execute(
        "select count(*), count(distinct p.song_id), avg((p.predicted = i.label)::int) "
        "from read_csv($1) p join read_parquet($2) i using (song_id) where i.status = 'ok'",
        [str(demo / "predictions.csv"), str(max((demo / "store" / "index").glob("*.parquet")))],
    ).fetchall()
    assert rows[0][:2] == (64, 64)
    assert rows[0][2] > 0.8


def test_the_demo_learns_what_it_has_not_seen(demo: Path) -> None:
    metrics = json.loads((demo / "run" / "metrics.json").read_text())
    # Chance is 1/4; of 8 held-out songs, 5 right or more come by chance once in 37 runs.
    assert metrics["test"]["song"]["accuracy"] >= 0.6


def test_the_two_broken_files_of_the_demo_are_listed_with_their_reason(demo: Path) -> None:
    failures = SongStore.open(demo / "store").sql("select error_code from failures order by 1")
    assert failures["error_code"].tolist() == ["empty-file", "not-audio"]


def test_the_run_folder_is_complete(demo: Path) -> None:
    names = {path.name for path in (demo / "run").iterdir()}
    files = "run.json weights.safetensors split.parquet history.csv metrics.json predictions.parquet windows.parquet"
    assert names == {*files.split(), "checkpoint.safetensors", "confusion.png", "report.html"}


def test_predicting_from_the_store_and_from_the_audio_agrees(demo: Path, tmp_path: Path) -> None:
    done = songbag("predict", demo / "run", demo / "store", "-o", tmp_path / "store.csv")
    assert done.returncode == 0, done.stderr
    differing = duckdb.execute(
        "select count(*) from read_csv($1) a join read_csv($2) b using (song_id) "
        "where a.predicted <> b.predicted or abs(a.p_tidehum - b.p_tidehum) > 1e-5",
        [str(demo / "predictions.csv"), str(tmp_path / "store.csv")],
    ).fetchall()
    assert differing == [(0,)]


@pytest.mark.parametrize(
    ("label", "said"), [("mood", "no such column"), ("song_id", "too few recordings"), ("status", "of the class 'ok'")]
)
def test_a_label_that_cannot_be_learned_is_one_message_before_training(
    demo: Path, tmp_path: Path, label: str, said: str
) -> None:
    done = songbag("train", demo / "store", "--label", label, "-o", tmp_path / "run")
    assert said in done.stderr
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
