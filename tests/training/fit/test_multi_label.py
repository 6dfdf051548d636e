"""Songs of any number of classes, from the label column to predictions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from songbag_store import SongStore
from songbag_store.progress import Silent
from songbag_training import TrainConfig, evaluate, predict, train
from songbag_training.errors import LabelError
from songbag_training.runs.run import Run
from tests.support.labelled import TAGS as CLASSES


@pytest.fixture(scope="module")
def run(tagged: SongStore, tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = TrainConfig(
        epochs=25, bag_size=6, batch_size=8, learning_rate=0.003, pooling="linear-softmax", no_floor=True, members=1
    )
    # What is heard is in coefficients of its own: no spectrum, and colour is all there is to learn.
    config = dataclasses.replace(config, encoder="compact", equalizer_db=0.0, band_shift=0.0, band_mix=0.0)
    return train(tagged, "label", tmp_path_factory.mktemp("run") / "run", config=config, progress=Silent())


def test_the_run_says_its_task_and_learns_it(run: Run) -> None:
    assert (run.facts.task, run.facts.classes) == ("multi-label", list(CLASSES))
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert metrics["train"]["song"]["accuracy"] > 0.85
    assert metrics["test"]["song"]["accuracy"] > 0.75


@pytest.mark.fault(108)
def test_a_column_of_single_labels_does_not_judge_it(
    run: Run, tmp_path: Path, make_store: Any, spec: Any, rng: np.random.Generator
) -> None:
    windows = rng.normal(0, 20, (2, *spec.window_shape)).astype(np.float32)
    store = make_store(tmp_path / "store", [{"song_id": "a", "label": "drums", "windows": windows}])
    with pytest.raises(LabelError, match=r"any number .* \(multi-label\), and .* one class .* \(single-label\)"):
        evaluate(run, store, tmp_path / "results")


def test_predictions_are_all_classes_above_one_half(run: Run, tagged: SongStore) -> None:
    own = pq.read_table(run.folder / "predictions.parquet")
    assert own.num_rows == 64
    table = predict(run, tagged, arrow=True)
    for rows in (own, table):
        assert rows.schema.field("predicted").type == pa.list_(pa.string())
        shares = np.stack([rows[f"p_{name}"].to_numpy() for name in CLASSES], axis=1)
        expected = [[name for name, one in zip(CLASSES, row, strict=True) if one] for row in shares > 0.5]
        assert rows["predicted"].to_pylist() == expected
    assert own["label"].to_pylist()[:4] == [[], ["brass"], ["drums"], ["brass", "drums"]]


def test_windows_have_weights_and_a_probability_for_each_class(run: Run) -> None:
    windows = pd.read_parquet(run.folder / "windows.parquet")
    np.testing.assert_allclose(windows.groupby("song_id")["weight"].sum(), 1, atol=1e-5)
    shares = windows[[f"p_{name}" for name in CLASSES]].to_numpy()
    assert ((shares >= 0) & (shares <= 1)).all()
    assert (shares.sum(axis=1) - 1).std() > 0.1


def test_windows_tell_for_each_class_in_which_seconds_it_is_heard(run: Run, tagged: SongStore, tmp_path: Path) -> None:
    done = predict(run, tagged, tmp_path / "out.parquet", windows=tmp_path / "why.parquet")
    why = pd.read_parquet(tmp_path / "why.parquet")
    own = pd.read_parquet(run.folder / "windows.parquet")
    both = why.merge(own, on=["song_id", "window"], suffixes=("", "_of_run"))
    assert len(both) == len(own) > 64
    labels = tagged.songs().set_index("song_id")
    long = labels[labels["n_windows"] >= 4]
    for name in CLASSES:
        np.testing.assert_allclose(both[f"p_{name}"], both[f"p_{name}_of_run"], atol=1e-6)
        # Each class of a song is heard in the first half of its windows.
        having = [song_id for song_id, label in long["label"].items() if label is not None and name in label]
        rows = why[why["song_id"].isin(having)].assign(n=lambda table: table["song_id"].map(labels["n_windows"]))
        heard = rows["window"] < (rows["n"] + 1) // 2
        assert rows[f"p_{name}"][heard].mean() > rows[f"p_{name}"][~heard].mean() + 0.3, name
    several = next(line for line in done.explanations if line.startswith("07: "))
    assert all(f"{name} " in several for name in CLASSES)
    assert " s (weight " in several


def test_lists_go_into_csv_as_json(run: Run, tagged: SongStore, tmp_path: Path) -> None:
    predict(run, tagged, tmp_path / "out.csv")
    written = pd.read_csv(tmp_path / "out.csv", dtype={"song_id": str})
    assert [json.loads(text) for text in written["predicted"]] == predict(run, tagged, arrow=True)[
        "predicted"
    ].to_pylist()
