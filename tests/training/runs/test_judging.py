"""Calibration, mistakes, pictures and tables of results."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from songbag_store import SongStore
from songbag_store.progress import Lines, Silent
from songbag_training import TrainConfig, predict, train
from songbag_training.evaluation.calibration import fit_temperature, scale
from songbag_training.evaluation.display import format_confusion, format_judgement, format_metrics
from songbag_training.evaluation.metrics import confident_mistakes, song_metrics
from songbag_training.evaluation.picture import draw_confusion
from songbag_training.songs.task import Task
from songbag_training.types import Floats

TWO, THREE = Task(("x", "y")), Task(("x", "y", "z"))


def _shares(logits: Floats) -> Floats:
    powers = np.exp(logits)
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


@pytest.mark.parametrize("several", [False, True])
def test_the_temperature_that_spoiled_the_probabilities_is_found(several: bool) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 3))
    honest = 1 / (1 + np.exp(-logits)) if several else _shares(logits)
    if several:
        true = (rng.random(honest.shape) < honest).astype(np.float32)
    else:
        true = (rng.random((len(honest), 1)) > honest.cumsum(axis=1)).sum(axis=1)
    task = dataclasses.replace(THREE, several=several)
    spoiled = scale(task, honest, 1 / 3)
    found = fit_temperature(task, true, spoiled)
    assert found == pytest.approx(3, rel=0.1)
    mended = scale(task, spoiled, found)
    np.testing.assert_allclose(mended, honest, atol=0.03)
    assert song_metrics(task, true, mended)["ece"] < song_metrics(task, true, spoiled)["ece"] / 2
    assert ((mended > 0.5) == (spoiled > 0.5)).all() if several else True
    assert (mended.argmax(axis=1) == spoiled.argmax(axis=1)).all()


def test_the_surest_mistakes_come_first_and_carry_their_song() -> None:
    shares = np.array([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9], [0.2, 0.8]])
    found = confident_mistakes(TWO, ["a", "b", "c", "d"], TWO.encode(["x", "x", "x", "y"]), shares)
    assert found == [
        {"song_id": "c", "label": "x", "said": "y", "probability": 0.9},
        {"song_id": "b", "label": "x", "said": "y", "probability": 0.6},
    ]


def test_mistakes_about_several_classes_say_what_was_answered() -> None:
    shares = np.array([[0.1, 0.2], [0.3, 0.8]])
    task = dataclasses.replace(TWO, several=True)
    found = confident_mistakes(task, ["a", "b"], task.encode([("x",), ()]), shares)
    assert [(one["song_id"], one["label"], one["said"]) for one in found] == [("a", ["x"], "not x"), ("b", [], "y")]


def test_a_confusion_matrix_is_drawn_whatever_its_classes_are_called(tmp_path: Path) -> None:
    path = tmp_path / "confusion.png"
    draw_confusion(np.array([[8, 0], [4, 4]]), ["$\\frac{", "演歌 " * 20], path, title="16 songs")
    pixels = matplotlib.image.imread(path)
    assert pixels.shape[0] > 400
    # The cell of 8 of 8 is dark blue; white paper is most of the rest.
    dark = (pixels[:, :, 0] < 0.1) & (pixels[:, :, 2] > 0.3)
    assert 0.01 < dark.mean() < 0.3


def test_a_confusion_matrix_is_printed_with_true_classes_as_rows() -> None:
    text = format_confusion(np.array([[5, 1], [0, 12]]), ["folk", "rock"])
    assert text.splitlines()[1:] == ["  1 folk   5   1", "  2 rock   .  12"]
    assert format_confusion(np.zeros((41, 41), np.int64), ["x"] * 41).startswith("41 classes: see confusion.png")


def test_metrics_are_a_table_with_a_line_for_songs_and_windows_of_each_part() -> None:
    nothing = song_metrics(TWO, np.zeros(0, np.int64), np.zeros((0, 2)))
    some = song_metrics(TWO, np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]]))
    lines = format_metrics({"train": {"song": some, "window": some}, "test": {"song": nothing, "window": some}})
    assert [line.split()[0] for line in lines.splitlines()[1:]] == ["train", "test", "train,", "test,"]
    assert lines.splitlines()[2].split() == ["test", "0", *"-" * 7]


def test_mistakes_are_told_in_words() -> None:
    mistake = {"song_id": "a/b.mp3", "label": "folk", "said": "rock", "probability": 0.97}
    text = format_judgement({"song": {"accuracy": 0.9}, "intervals": {"accuracy": (0.8, 0.95)}, "mistakes": [mistake]})
    assert "accuracy 0.900, 95 % between 0.800 and 0.950" in text
    assert "  a/b.mp3: folk, said to be rock (97%)" in text


def test_a_calibrated_run_predicts_with_its_temperature(tmp_path: Path, store: SongStore) -> None:
    config = TrainConfig(epochs=2, bag_size=4, batch_size=16, pooling="lse", encoder="dense", no_floor=True)
    plain = train(store, "label", tmp_path / "plain", config=config, progress=Silent())
    said: list[str] = []
    config = dataclasses.replace(config, calibrate=True)
    run = train(store, "label", tmp_path / "run", config=config, progress=Lines(said.append))
    temperature = float(run.load_model().get_layer("pooling").temperature[0])
    assert f"temperature {temperature:.2f}: log loss" in "".join(said)
    assert temperature != 1.0
    names = ["p_folk", "p_jazz", "p_rock"]
    before = pd.read_parquet(plain.folder / "predictions.parquet")
    scaled = scale(THREE, before[names].to_numpy(), temperature)
    evaluated = pd.read_parquet(run.folder / "predictions.parquet")
    np.testing.assert_allclose(evaluated[names], scaled, atol=1e-5)
    predicted = predict(run, store)
    np.testing.assert_allclose(predicted[names], evaluated[names], atol=1e-6)
    validation = before["part"] == "validation"
    true = before["label"][validation].map({"folk": 0, "jazz": 1, "rock": 2}).to_numpy()
    assert (
        THREE.losses(true, scaled[validation]).mean() < THREE.losses(true, before[names].to_numpy()[validation]).mean()
    )
