"""Windows judged by the labels that segments give them."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.format.index import SEGMENTS_TYPE, index_schema
from songbag_store.sql.query import asking
from songbag_store.upkeep.change import relabel
from songbag_training import evaluate
from songbag_training.evaluation.display import format_metrics
from songbag_training.evaluation.window_labels import window_shares, window_targets
from songbag_training.runs.run import Run
from songbag_training.songs.task import Task


def test_a_window_is_of_the_label_that_covers_most_of_it() -> None:
    shares = {"a": [0.5, 0.6, 0.5, 0.4, 0.0, 0.9], "b": [0.1, 0.7, 0.5, 0.3, 0.0, 0.0], "c": [0, 0, 0, 0, 0, 1.0]}
    given = {name: np.array(own) for name, own in shares.items()}
    rows, targets = window_targets(Task(("a", "b"), False), given, 6)
    assert (rows.tolist(), targets.tolist()) == ([0, 1], [0, 1])
    rows, targets = window_targets(Task(("a", "b"), True), given, 6)
    assert rows.tolist() == [0, 1, 2, 3, 4, 5]
    assert targets.tolist() == [[1, 0], [1, 1], [1, 1], [0, 0], [0, 0], [1, 0]]
    for several, n_rows in ((False, 0), (True, 4)):
        rows, targets = window_targets(Task(("a", "b"), several), {}, 4)
        assert (len(rows), len(targets)) == (n_rows, n_rows)


def test_halves_of_a_window_are_equal_whatever_binary_numbers_make_of_their_bounds() -> None:
    spec = FeatureSpec(sample_rate_hz=16000, window_s=0.96, window_hop_s=0.48)
    bounds = [float(f"{0.48 * number:.2f}") for number in range(202)]
    segments = [
        {"start_s": start, "end_s": end, "label": "ab"[number % 2]}
        for number, (start, end) in enumerate(itertools.pairwise(bounds))
    ]
    shares = window_shares(segments, 200, None, spec)
    assert {*shares["a"].tolist(), *shares["b"].tolist()} == {0.5}
    assert len(window_targets(Task(("a", "b"), False), shares, 200)[0]) == 0
    assert window_targets(Task(("a", "b"), True), shares, 200)[1].all()
    song = [{"song_id": "x", "status": "ok", "n_windows": 200, "duration_s": 96.48, "segments": segments}]
    rows = pa.Table.from_pylist(song, schema=index_schema([pa.field("segments", SEGMENTS_TYPE)]))
    with asking(rows, "select distinct share from window_labels", spec=spec) as answer:
        assert answer.table()["share"].to_pylist() == [0.5]


@pytest.fixture(scope="module")
def judged(
    run: Run, store: SongStore, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SongStore, dict[str, Any], Path]:
    """A store with segments at random, and the run's metrics by them."""
    folder = tmp_path_factory.mktemp("segments")
    shutil.copytree(store.address, folder / "store")
    rng = np.random.default_rng(0)
    rows = [
        (song_id, start, start + rng.uniform(0.1, 1.5), str(rng.choice(["rock", "jazz", "noise"])))
        for song_id in store.songs()["song_id"].tolist()[::2]
        for start in rng.uniform(0, 3, 3)
    ]
    pd.DataFrame(rows, columns=["song_id", "start_s", "end_s", "label"]).to_csv(folder / "segments.csv", index=False)
    labelled, _ = relabel(folder / "store", segments=folder / "segments.csv")
    return labelled, evaluate(run.folder, labelled, folder / "out").metrics, folder / "out"


def test_the_table_of_windows_has_the_shares_that_are_judged_by(judged: tuple[SongStore, Any, Path]) -> None:
    store, _, _ = judged
    listed = store.sql("from window_labels").set_index(["song_id", "label", "window"])["share"].to_dict()
    found = {}
    for row in store.songs("segments is not null", arrow=True).to_pylist():
        for label, shares in window_shares(row["segments"], row["n_windows"], row["duration_s"], store.spec).items():
            found |= {(row["song_id"], label, number): share for number, share in enumerate(shares) if share > 0}
    assert listed == pytest.approx(found)
    assert len(found) > 20


def test_the_windows_are_judged_by_their_own_labels(judged: tuple[SongStore, Any, Path]) -> None:
    store, metrics, folder = judged
    labels = store.sql("from window_labels")
    largest = labels.groupby(["song_id", "window"])["share"].transform("max")
    best = labels[(labels["share"] == largest) & (labels["share"] >= 0.5)]
    best = best.drop_duplicates(["song_id", "window"], keep=False)
    best = best[best["label"] != "noise"]
    own = pd.read_parquet(folder / "windows.parquet").merge(best[["song_id", "window", "label"]])
    said = own[["p_folk", "p_jazz", "p_rock"]].idxmax(axis=1).str.removeprefix("p_")
    found = metrics["all"]["window_labels"]
    assert found["n"] == len(own) > 10
    assert found["accuracy"] == pytest.approx((said == own["label"]).mean())
    assert metrics["all"]["window"]["n"] > found["n"]
    assert "all, labelled" in format_metrics(metrics)


def test_without_segments_there_is_no_such_metric(run: Run) -> None:
    assert "window_labels" not in evaluate(run.folder).metrics["test"]
