"""Optimizer, learning rates and callbacks from outside songbag; `tests/training/fit/test_resume.py` resumes them."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import keras
import pandas as pd
import pytest

import songbag
from songbag_store import SongStore
from songbag_store.errors import MissingExtra, UsageError
from songbag_store.progress import Silent
from songbag_training import TrainConfig, train
from songbag_training.errors import ModelError
from songbag_training.parts.parts import OwnCallback, Parts, build_callbacks, build_optimizer
from songbag_training.parts.tracking import require_log
from songbag_training.runs.checkpoints import NAME, read_reached
from songbag_training.runs.interruption import ways_on
from tests.support import parts
from tests.support.long import LONG

HERE = "tests.support.parts:"
CONFIG = TrainConfig(epochs=2, bag_size=2, batch_size=8, encoder="dense", no_floor=True, mixup=0.0, **parts.OWN)


def test_a_callback_that_fails_leaves_the_checkpoint_before_and_the_training_goes_on(
    store: SongStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.SEEN.clear()
    monkeypatch.setattr(parts.Greedy, "fails_in", 1)
    with pytest.raises(ModelError, match=r"Greedy.*fails in on_epoch_end with RuntimeError: as it was told"):
        train(store, "label", tmp_path / "run", CONFIG, progress=Silent())
    reached = read_reached(tmp_path / "run" / NAME)
    assert (reached.epoch, reached.step) == (1, 0)
    assert reached.rows[0]["val_loss"] > 0
    assert parts.SEEN[0] == ("begin", None)
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(parts.SEEN[1][1])
    with pytest.raises(UsageError, match=r"its optimizer is .* not run unasked"):
        songbag.resume(tmp_path / "run", store, progress=Silent())
    with pytest.raises(UsageError, match=r"its callbacks are .*Greedy"):
        songbag.resume(tmp_path / "run", store, optimizer=CONFIG.optimizer, schedule=CONFIG.schedule, progress=Silent())
    (typed, python) = ways_on(tmp_path / "run", store.address)
    assert f"--resume --optimizer {HERE}momentum --schedule {HERE}falling --callbacks {HERE}Greedy" in typed
    assert f"callbacks=['{HERE}Greedy']" in python
    monkeypatch.setattr(parts.Greedy, "fails_in", -1)
    run = songbag.resume(tmp_path / "run", store, progress=Silent(), **parts.OWN)
    assert (run.facts.config, parts.SEEN[-1]) == (CONFIG.settled(store.spec, 42), ("end", None))


def test_what_a_checkpoint_could_not_hold_is_refused() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    model.optimizer.build(model.trainable_variables)
    own = OwnCallback("callback 'own'", parts.Careless(Path(), CONFIG))
    own.set_model(model)
    with pytest.raises(ModelError, match="changes weights at the end of an epoch"):
        own.on_epoch_end(0, {})
    other = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "optimizer", model_sgd()))
    own = OwnCallback("callback 'own'", other)
    own.set_model(model)
    with pytest.raises(ModelError, match="number or the shapes of the variables"):
        own.on_epoch_end(0, {})


def model_sgd() -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(0.1)


@pytest.mark.fault(159)
@pytest.mark.parametrize(
    ("field", "name", "what"),
    [
        ("optimizer", "nothing", "optimizer 'tests.support.parts:nothing': returns NoneType"),
        ("optimizer", "failing", "fails with ZeroDivisionError: of its own"),
        ("optimizer", "absent", "has no function 'absent'"),
        ("optimizer", "used", "in use already"),
        ("schedule", "nothing", "schedule 'tests.support.parts:nothing': returns NoneType"),
        ("schedule", "Odd", "gives the rate -1.0 at step 9"),
        ("callbacks", "nothing", "callback 'tests.support.parts:nothing': returns NoneType"),
        ("callbacks", "absent", "has no function 'absent'"),
    ],
)
def test_a_function_that_returns_no_such_part_is_refused(tmp_path: Path, field: str, name: str, what: str) -> None:
    changed: Any = {field: (HERE + name,) if field == "callbacks" else HERE + name}
    config = TrainConfig(**changed)
    build = partial(build_callbacks, config, tmp_path) if field == "callbacks" else partial(build_optimizer, config, 10)
    with pytest.raises(ModelError, match=what):
        build()


@pytest.mark.parametrize("field", ["optimizer", "schedule", "callbacks"])
def test_a_name_that_is_no_function_of_a_module_is_refused(field: str) -> None:
    changed: Any = {field: "adam"}
    with pytest.raises(ModelError, match="must be named as module:function"):
        TrainConfig(**changed)


def test_parts_are_in_the_json_by_name_only_if_they_are_used() -> None:
    assert not {"optimizer", "schedule", "callbacks", "log", "tensorboard"} & TrainConfig().to_dict().keys()
    assert TrainConfig.from_dict(CONFIG.to_dict()) == CONFIG
    assert Parts.of(CONFIG.to_dict()) == Parts(**parts.OWN)


def test_a_run_from_before_log_says_tensorboard() -> None:
    assert TrainConfig.from_dict({"tensorboard": True}) == TrainConfig(log="tensorboard")
    assert TrainConfig.from_dict({"tensorboard": False}) == TrainConfig()
    for odd in ({"tensorboard": "yes"}, {"tensorboard": True, "log": "mlflow"}):
        with pytest.raises(ModelError, match="unknown fields: 'tensorboard'"):
            TrainConfig.from_dict(dict(odd))


def test_without_mlflow_its_install_line_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'songbag\[mlflow\]'"):
        require_log(TrainConfig(log="mlflow"))
    require_log(TrainConfig(log="tensorboard"))


@pytest.mark.long
@pytest.mark.skipif(not LONG, reason="needs mlflow, and make test-long")
def test_mlflow_has_settings_history_and_results_once_after_an_interruption(
    store: SongStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(parts.Greedy, "fails_in", 1)
    config = dataclasses.replace(CONFIG, log="mlflow")
    folder = tmp_path / "run name"
    with pytest.raises(ModelError, match="as it was told"):
        train(store, "label", folder, config, progress=Silent())
    monkeypatch.setattr(parts.Greedy, "fails_in", -1)
    run = songbag.resume(folder, store, progress=Silent(), **parts.OWN)
    client = MlflowClient((folder / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("songbag")
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == ("run name", "FINISHED")
    assert (found.data.params["epochs"], found.data.params["label"]) == ("2", "label")
    losses = client.get_metric_history(found.info.run_id, "val_loss")
    assert [(one.step, one.value) for one in losses] == [
        (row.epoch, pytest.approx(row.val_loss, rel=1e-6)) for row in pd.read_csv(folder / "history.csv").itertuples()
    ]
    assert found.data.metrics["test_accuracy"] == run.metrics["test"]["song"]["accuracy"]
    assert songbag.verify(folder) == []
