from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.progress import Lines
from songbag_store.writer import open_for_writing
from songbag_training import evaluate
from songbag_training.errors import LabelError
from songbag_training.runs.run import Run

pytestmark = pytest.mark.usefixtures("loaded_once")


@pytest.fixture
def copy(run: Run, tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(run.folder, tmp_path / "run"))


def test_evaluating_again_gives_the_same_metrics_and_touches_nothing_else(copy: Run, run: Run) -> None:
    result = evaluate(copy.folder)
    assert result.metrics == json.loads((run.folder / "metrics.json").read_text())
    for name in ("run.json", "weights.safetensors", "split.parquet", "history.csv"):
        assert (copy.folder / name).read_bytes() == (run.folder / name).read_bytes()
    assert result.confusion is not None
    assert result.confusion.sum() == result.metrics["test"]["song"]["n"]


def test_the_metrics_name_the_snapshot_that_was_judged_by(run: Run, store: SongStore) -> None:
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert metrics["snapshot"] == {"store_uuid": store.uuid, "number": 1, "sha256": store.inside.state.sha256}


def test_predictions_carry_song_label_part_and_probabilities(run: Run, store: SongStore) -> None:
    predictions = pd.read_parquet(run.folder / "predictions.parquet")
    assert predictions.columns.tolist() == ["song_id", "label", "predicted", "part", "p_folk", "p_jazz", "p_rock"]
    assert predictions["song_id"].tolist() == sorted(store.songs(arrow=True)["song_id"].to_pylist())
    shares = predictions[["p_folk", "p_jazz", "p_rock"]]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (shares.idxmax(axis=1).str.removeprefix("p_") == predictions["predicted"]).all()
    test = predictions[predictions["part"] == "test"]
    accuracy = json.loads((run.folder / "metrics.json").read_text())["test"]["song"]["accuracy"]
    assert (test["label"] == test["predicted"]).mean() == pytest.approx(accuracy)


def test_windows_carry_time_weight_and_probabilities_that_join_to_the_song(run: Run, store: SongStore) -> None:
    windows = pd.read_parquet(run.folder / "windows.parquet")
    names = ["song_id", "window", "start_s", "end_s", "weight", "p_folk", "p_jazz", "p_rock", "turns_to"]
    assert windows.columns.tolist() == names
    assert len(windows) == sum(store.songs(arrow=True)["n_windows"].to_pylist())
    np.testing.assert_allclose(windows.groupby("song_id")["weight"].sum(), 1, atol=1e-6)
    np.testing.assert_allclose(windows["end_s"] - windows["start_s"], 0.5)
    np.testing.assert_allclose(windows["start_s"], 0.25 * windows["window"])


def test_a_store_that_moved_is_found_where_it_is_said_to_be(copy: Run, store: SongStore, tmp_path: Path) -> None:
    moved = shutil.copytree(store.address, tmp_path / "elsewhere")
    assert evaluate(copy, moved).metrics["test"]["song"]["n"] == 6


def test_labels_and_windows_are_those_of_the_training_though_the_store_has_gone_on(
    copy: Run, store: SongStore, tmp_path: Path, make_store: Any, songs_of_classes: Any
) -> None:
    later = shutil.copytree(store.address, tmp_path / "store")
    songs = songs_of_classes({"polka": 3})
    assert make_store(later, songs).snapshot == 2
    assert evaluate(copy, later).metrics == evaluate(copy).metrics


@pytest.mark.parametrize("n_commits", [0, 1])
def test_another_store_is_refused(
    copy: Run, tmp_path: Path, make_store: Any, songs_of_classes: Any, spec: Any, n_commits: int
) -> None:
    open_for_writing(tmp_path / "other", spec)
    if n_commits:
        make_store(tmp_path / "other", songs_of_classes({"a": 1}))
    with pytest.raises(UsageError, match="not the store that the run was trained on"):
        evaluate(copy, tmp_path / "other")


@pytest.fixture
def other(tmp_path: Path, make_store: Any, songs_of_classes: Any) -> SongStore:
    """Return another store: the classes of the run, and one that it does not know."""
    return make_store(tmp_path / "other", songs_of_classes({"folk": 5, "jazz": 5, "polka": 2}, seed=9))


def test_a_run_is_judged_by_another_store(copy: Run, other: SongStore, tmp_path: Path) -> None:
    lines: list[str] = []
    before = (copy.folder / "metrics.json").read_bytes()
    result = evaluate(copy, other, tmp_path / "results", progress=Lines(lines.append))
    assert lines == [
        "2 songs are left out, of classes that the run does not know: 'polka' (2 songs)",
        "note: the songs were compared with those of the training by bytes and audio, not by likeness",
    ]
    assert result.metrics["all"]["song"]["n"] == 10
    assert result.metrics["all"]["song"]["accuracy"] >= 0.8
    assert result.confusion is not None
    assert result.confusion.sum(axis=1).tolist() == [5, 5, 0]
    names = {path.name for path in (tmp_path / "results").iterdir()}
    assert names == {"metrics.json", "predictions.parquet", "windows.parquet", "confusion.png"}
    predictions = pd.read_parquet(tmp_path / "results" / "predictions.parquet")
    assert predictions["song_id"].tolist() == sorted(i for i in other.songs()["song_id"] if not i.startswith("polka"))
    assert (copy.folder / "metrics.json").read_bytes() == before


def test_labels_of_another_store_may_be_in_another_column_and_of_one_class(
    copy: Run, tmp_path: Path, make_store: Any, songs_of_classes: Any
) -> None:
    songs = songs_of_classes({"jazz": 4})
    store = make_store(tmp_path / "other", songs)
    with pytest.raises(LabelError, match="no such column"):
        evaluate(copy, store, tmp_path / "results", label="mood")
    result = evaluate(copy, store, tmp_path / "results", label="label")
    assert result.metrics["all"]["song"]["roc_auc"] is None
    with pytest.raises(UsageError, match="not empty"):
        evaluate(copy, store, tmp_path / "results")


@pytest.mark.fault(109)
def test_copies_of_a_recording_say_as_much_as_one_song(
    copy: Run, tmp_path: Path, make_store: Any, songs_of_classes: Any
) -> None:
    songs = songs_of_classes({"folk": 8, "jazz": 8, "rock": 8})
    alone = evaluate(copy, make_store(tmp_path / "alone", songs), tmp_path / "results").metrics["all"]
    assert alone["without_interval"] == {}
    assert alone["intervals"]["balanced_accuracy"][0] < alone["song"]["balanced_accuracy"]
    for number, song in enumerate(songs):
        song["content_sha256"] = f"{number % 8 % 3 if song['label'] == 'folk' else number:064x}"
    copies = evaluate(copy, make_store(tmp_path / "copies", songs), tmp_path / "of-copies").metrics["all"]
    assert copies["without_interval"]["balanced_accuracy"] == "fewer than 5 songs or groups of 'folk' (8 of 3 groups)"
    assert copies["classes"]["folk"]["recall_interval"] is None
    assert copies["classes"]["jazz"]["recall_interval"] == alone["classes"]["jazz"]["recall_interval"]
    assert np.ptp(copies["intervals"]["accuracy"]) > np.ptp(alone["intervals"]["accuracy"])


@pytest.mark.fault(108)
def test_a_column_of_lists_does_not_judge_a_run_of_one_class_for_each_song(
    copy: Run, tmp_path: Path, make_store: Any, songs_of_classes: Any
) -> None:
    songs = [song | {"label": [song["label"]]} for song in songs_of_classes({"folk": 2, "jazz": 2})]
    store = make_store(tmp_path / "other", songs, label_type=pa.list_(pa.string()))
    with pytest.raises(LabelError, match=r"one class for each song \(single-label\), and .* any number .*multi-label"):
        evaluate(copy, store, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_store_of_unknown_classes_alone_is_refused(
    copy: Run, tmp_path: Path, make_store: Any, songs_of_classes: Any
) -> None:
    store = make_store(tmp_path / "other", songs_of_classes({"polka": 2, "ska": 1}))
    with pytest.raises(LabelError, match=r"knows none of the classes: 'polka' \(2 songs\), 'ska' \(1 song\)"):
        evaluate(copy, store, tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.mark.fault(112)
def test_other_spellings_of_classes_that_the_run_knows_are_named(
    copy: Run, tmp_path: Path, make_store: Any, songs_of_classes: Any
) -> None:
    store = make_store(tmp_path / "other", songs_of_classes({"Folk": 2, "jazz ": 2}))
    with pytest.raises(LabelError, match=r"'Folk' \('folk' in the run\), 'jazz ' \('jazz' in the run\)"):
        evaluate(copy, store, tmp_path / "results")
    notes: list[str] = []
    store = make_store(tmp_path / "mixed", songs_of_classes({"Folk": 2, "jazz": 2}))
    evaluate(copy, store, tmp_path / "results", progress=Lines(notes.append))
    assert "only in case, spaces or Unicode form: 'Folk' ('folk' in the run)" in " ".join(notes)


def test_every_subset_has_metrics_of_songs_windows_and_classes(run: Run, store: SongStore) -> None:
    metrics = json.loads((run.folder / "metrics.json").read_text())
    windows = pd.read_parquet(run.folder / "windows.parquet").merge(
        pd.read_parquet(run.folder / "predictions.parquet")[["song_id", "label", "part"]], on="song_id"
    )
    names = ["p_folk", "p_jazz", "p_rock"]
    said = windows[names].idxmax(axis=1).str.removeprefix("p_")
    for subset in ("train", "validation", "test"):
        own = windows["part"] == subset
        assert metrics[subset]["window"]["n"] == own.sum()
        assert metrics[subset]["window"]["accuracy"] == pytest.approx((said == windows["label"])[own].mean())
        low, high = metrics[subset]["intervals"]["accuracy"]
        assert low <= metrics[subset]["song"]["accuracy"] <= high
        assert {name: of["n"] for name, of in metrics[subset]["classes"].items()} == dict.fromkeys(
            ("folk", "jazz", "rock"), metrics[subset]["song"]["n"] // 3
        )
    assert "suspected_leaks" not in metrics["test"]
    assert np.trace(metrics["test"]["confusion"]) == metrics["test"]["song"]["accuracy"] * 6
