"""Ways to run a training: in half precision, on several devices, with events for TensorBoard, in a full disk."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import tensorflow as tf

from songbag_store import SongStore
from songbag_store.errors import FileError
from songbag_store.progress import Lines, Silent
from songbag_training import TrainConfig, resume, train
from songbag_training.config import AUGMENTATIONS
from songbag_training.errors import RunError
from songbag_training.fit.fit import compiled_model, fit_epochs
from songbag_training.fit.material import prepare
from songbag_training.runs.checkpoints import NAME, Reached, read_reached
from songbag_training.runs.evaluate import evaluate
from songbag_training.songs.bags import BagDataset
from tests.support.epochs import Epochs
from tests.support.patience import PATIENCE_S
from tests.support.small_files import small_files

ROOT = Path(__file__).parents[3]
CONFIG = TrainConfig(epochs=2, bag_size=3, batch_size=8, encoder="tests.support.nets:flat", no_floor=True)


def test_mixed_precision_leaves_float32_weights_whose_metrics_anybody_gets(tmp_path: Path, store: SongStore) -> None:
    config = dataclasses.replace(CONFIG, encoder="reference", mixed_precision=True, log="tensorboard")
    run = train(store, "label", tmp_path / "run", config=config, progress=Silent())
    weights = safetensors.numpy.load_file(run.folder / "weights.safetensors")
    assert {str(weight.dtype) for weight in weights.values()} == {"float32"}
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert evaluate(run).metrics == metrics
    history = pd.read_csv(run.folder / "history.csv")
    (events,) = (run.folder / "tensorboard").iterdir()
    written = [event for event in tf.compat.v1.train.summary_iterator(str(events)) if event.step]
    values = {value.tag: value.simple_value for value in written[-1].summary.value}
    assert [event.step for event in written] == history["epoch"].tolist()
    assert values["epoch_val_loss"] == pytest.approx(history["val_loss"].iloc[-1], rel=1e-6)


@pytest.mark.parametrize(("steps_per_execution", "calls"), [(1, [((0, 0), 2)]), (5, [((0, 0), 1), ((1, 0), 2)])])
def test_epochs_that_executions_divide_are_fed_from_one_dataset(
    store: SongStore, steps_per_execution: int, calls: list[tuple[tuple[int, int], int]]
) -> None:
    config = dataclasses.replace(CONFIG, steps_per_execution=steps_per_execution)
    material = prepare(store, "label", None, None, config=config)
    bags = BagDataset(store, *material.subset("train"), bag_size=3, batch_size=8)
    assert bags.n_steps % 5
    made: list[tuple[tuple[int, int], int]] = []

    def batches(epoch: int, step: int, stop: int) -> tf.data.Dataset:
        made.append(((epoch, step), stop))
        return bags.dataset((epoch, step), stop_epoch=stop)

    epochs: list[int] = []
    noting = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, _: epochs.append(epoch))
    reached = Reached(rows=[], step=0, seconds=0.0)
    fit_epochs(compiled_model(material), batches, bags.n_steps, reached, config, [noting])
    assert made == calls
    assert epochs == list(range(CONFIG.epochs))


def test_two_devices_share_every_batch_and_come_near_what_one_does(tmp_path: Path, store: SongStore) -> None:
    config = dataclasses.replace(CONFIG, epochs=1, **dict.fromkeys(AUGMENTATIONS, 0.0))
    options = json.dumps(config.to_dict())
    command = [sys.executable, "-m", "tests.support.mirrored_process", store.address, str(tmp_path / "two"), options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    assert "devices 2" in done.stdout
    train(store, "label", tmp_path / "one", config=config, progress=Silent())
    one, two = (pd.read_csv(tmp_path / name / "history.csv") for name in ("one", "two"))
    np.testing.assert_allclose(two["loss"], one["loss"], rtol=0.05)
    np.testing.assert_allclose(two["val_loss"], one["val_loss"], rtol=0.05)


@pytest.mark.fault(82)
def test_a_disk_that_fills_up_leaves_the_checkpoint_before(tmp_path: Path, store: SongStore) -> None:
    """As on a full disk: from the first checkpoint on, no file may be as large as one."""
    with contextlib.ExitStack() as disk:

        class FillingUp(Epochs):
            def reached(self, done: float) -> None:
                disk.enter_context(small_files((tmp_path / "run" / NAME).stat().st_size // 2))

        with pytest.raises(FileError, match=r"checkpoint\.safetensors: cannot be written \(File too large\)"):
            train(store, "label", tmp_path / "run", config=CONFIG, checkpoint_s=0, progress=FillingUp())
    assert read_reached(tmp_path / "run" / NAME).step == 1
    assert not list((tmp_path / "run").glob(".tmp-*"))
    lines: list[str] = []
    resume(tmp_path / "run", encoder=CONFIG.encoder, progress=Lines(lines.append))
    assert lines[0].startswith("resuming")


GREEDY = """
import keras
from keras import layers, ops


class Greedy(layers.Layer):
    def call(self, features):
        return features + 1e-30 * ops.sum(ops.tile(features[:, :1, None], (1, 2**20, 2**20)))


def greedy(n_bands, n_frames, n_channels):
    images = keras.Input((n_bands, n_frames, n_channels))
    return keras.Model(images, Greedy()(layers.GlobalAveragePooling2D()(images)))
"""


@pytest.mark.fault(88)
def test_too_little_memory_for_a_step_ends_the_training_and_says_what_to_lower(
    tmp_path: Path, store: SongStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "greedy_net.py").write_text(GREEDY)
    monkeypatch.syspath_prepend(tmp_path)
    config = dataclasses.replace(CONFIG, encoder="greedy_net:greedy")
    with pytest.raises(RunError, match=r"too little memory for this batch\.\n.*`batch_size`, `bag_size` or `members`"):
        train(store, "label", tmp_path / "run", config=config, progress=Silent())
    assert not (tmp_path / "run" / "weights.safetensors").exists()
