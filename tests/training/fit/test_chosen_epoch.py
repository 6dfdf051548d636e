"""The epoch whose weights are kept is chosen by what is trained, or by a metric that is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.progress import Silent
from songbag_training import TrainConfig, train
from songbag_training.models.loss import SongLoss
from songbag_training.runs.history import MONITORED, History
from songbag_training.songs.task import Task

ENCODER = "tests.support.nets:flat"
CONFIG: dict[str, Any] = {"epochs": 4, "bag_size": 4, "batch_size": 8, "learning_rate": 0.01, "encoder": ENCODER}
CONFIG["no_floor"] = True


@pytest.fixture(scope="module")
def skewed(tmp_path_factory: pytest.TempPathFactory, make_store: Any, songs_of_classes: Any) -> SongStore:
    """Return a store in which one class is rare."""
    folder = tmp_path_factory.mktemp("skewed") / "store"
    return make_store(folder, songs_of_classes({"folk": 30, "jazz": 8}))  # type: ignore[no-any-return]


@pytest.mark.parametrize("task", [Task(("a", "b")), Task(("a", "b", "c")), Task(("a", "b", "c"), True)], ids=str)
def test_weighted_losses_are_those_of_the_loss_that_is_trained(task: Task, rng: np.random.Generator) -> None:
    logits = rng.normal(0, 2, (20, task.n_logits)).astype(np.float32)
    n = len(task.classes)
    true: Any = (rng.random((20, n)) < 0.3).astype(np.float32) if task.several else rng.integers(0, n, 20)
    weights = task.balanced_weights(true)
    trained = SongLoss(task.softmax, class_weights=weights, reduction="none")(true, logits)
    np.testing.assert_allclose(task.losses(true, task.probabilities(logits), weights), trained, rtol=1e-4)


@pytest.mark.fault(110)
def test_the_validation_loss_has_the_weights_of_the_training(skewed: SongStore, tmp_path: Path) -> None:
    config = TrainConfig(class_weight="balanced", **CONFIG)
    run = train(skewed, "label", tmp_path / "run", config=config, progress=Silent())
    songs, history = pd.read_parquet(run.folder / "predictions.parquet"), pd.read_csv(run.folder / "history.csv")
    of = dict(list(songs.groupby("part")))
    counts = of["train"]["label"].value_counts()
    assert counts["folk"] > 2 * counts["jazz"]
    of_truth = np.where(of["validation"]["label"] == "jazz", of["validation"]["p_jazz"], of["validation"]["p_folk"])
    weights = of["validation"]["label"].map(len(of["train"]) / (2 * counts))
    assert history["val_loss"].min() == pytest.approx((weights * -np.log(of_truth)).mean(), rel=1e-4)
    assert run.facts.best_epoch == history["val_loss"].idxmin() + 1


@pytest.mark.fault(110)
def test_a_named_metric_chooses_the_epoch(skewed: SongStore, tmp_path: Path) -> None:
    config = TrainConfig(monitor="macro-f1", **CONFIG)
    run = train(skewed, "label", tmp_path / "run", config=config, progress=Silent())
    history = pd.read_csv(run.folder / "history.csv")
    assert run.facts.best_epoch == history["val_macro_f1"].idxmax() + 1
    of_validation = json.loads((run.folder / "metrics.json").read_text())["validation"]["song"]
    assert of_validation["macro_f1"] == pytest.approx(history["val_macro_f1"].max())


@pytest.mark.parametrize("monitor", MONITORED)
def test_the_first_of_the_best_epochs_is_chosen(monitor: Any) -> None:
    values = [0.5, 0.2, 0.9, 0.2, 0.9]
    history = History([{"val_loss": 1.0, MONITORED[monitor]: value} for value in values], monitor)
    assert history.best_epoch == (2 if monitor == "loss" else 3)
    assert history.has_waited(3 if monitor == "loss" else 2)
    assert not history.has_waited(4)


def test_a_metric_that_the_task_does_not_have_is_refused(tmp_path: Path, make_store: Any, spec: Any) -> None:
    windows = np.zeros((2, *spec.window_shape), np.float32)
    songs = [{"song_id": f"{n:02}", "label": [["a"], ["b"]][n % 2], "windows": windows} for n in range(20)]
    store = make_store(tmp_path / "store", songs, label_type=pa.list_(pa.string()))
    with pytest.raises(UsageError, match="balanced-accuracy is not defined for a multi-label task"):
        train(store, "label", tmp_path / "run", config=TrainConfig(monitor="balanced-accuracy"), progress=Silent())
    assert not (tmp_path / "run").exists()
