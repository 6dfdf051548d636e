"""Runs, splits, cross-validations and checkpoints of format 1, kept as they were first written: they open for good."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from songbag_store import SongStore
from songbag_store.progress import Lines, Silent
from songbag_training import TrainConfig, predict, resume, train
from songbag_training.fit.cross_validation import cross_validate
from songbag_training.runs.run import Run
from songbag_training.splits.split import Split

OLD = Path(__file__).parents[2] / "fixtures" / "training-format-1"
CONFIG = TrainConfig(encoder="reference", bag_size=2, batch_size=4, epochs=3, learning_rate=0.01)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a copy of the folder, for what writes into it."""
    shutil.copytree(OLD, tmp_path / "old")
    return tmp_path / "old"


def test_an_old_run_says_what_it_said_and_predicts_what_it_predicted() -> None:
    run = Run.open(OLD / "run")
    assert (run.facts.label, run.facts.classes, run.facts.best_epoch) == ("label", ["folk", "jazz"], 1)
    assert run.facts.config == CONFIG
    before = pd.read_parquet(OLD / "run" / "predictions.parquet").set_index("song_id")
    now = predict(run, OLD / "store").set_index("song_id").loc[before.index]
    np.testing.assert_allclose(now["p_jazz"], before["p_jazz"], atol=1e-5)
    assert (now["predicted"] == before["predicted"]).all()


def test_an_old_split_is_trained_with(old: Path, tmp_path: Path) -> None:
    split = Split.read(OLD / "split.parquet")
    assert (split.group, split.counts()) == (("artist",), {"train": 8, "validation": 4, "test": 4})
    assert split.digest == Run.open(OLD / "run").facts.split_sha256
    run = train(SongStore.open(old / "store"), "label", tmp_path / "run", split=split, config=CONFIG, progress=Silent())
    assert run.split().digest == split.digest


def test_an_old_training_that_was_killed_goes_on_from_its_checkpoint(old: Path) -> None:
    lines: list[str] = []
    run = resume(old / "interrupted", old / "store", progress=Lines(lines.append))
    assert lines[0] == "resuming after epoch 2 of 3"
    undisturbed = pd.read_csv(old / "run" / "history.csv")
    now = pd.read_csv(run.folder / "history.csv")
    pd.testing.assert_frame_equal(now.drop(columns="seconds"), undisturbed.drop(columns="seconds"), atol=1e-4)


def test_the_same_call_finds_an_old_cross_validation_finished(old: Path) -> None:
    metrics = json.loads((old / "cross-validation" / "metrics.json").read_text())
    lines: list[str] = []
    again = cross_validate(
        old / "store",
        "label",
        old / "cross-validation",
        split=old / "folds.parquet",
        config=TrainConfig(encoder="reference", bag_size=2, batch_size=8, epochs=1),
        progress=Lines(lines.append),
    )
    assert [line for line in lines if "finished before" in line] == [
        f"  finished before: {old / 'cross-validation' / name}" for name in ("fold-1", "fold-2")
    ]
    assert again.metrics["folds"] == metrics["folds"]
