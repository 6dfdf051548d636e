from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import FileError, MissingExtra, UsageError
from songbag_store.format.array import decode
from songbag_store.storage.files import file_digest
from songbag_training import evaluate, export, predict
from songbag_training.apply.conversion import write_model
from songbag_training.apply.export import describe, portable_model
from songbag_training.cli import commands
from songbag_training.config import BaselineConfig, ExportFormat
from songbag_training.evaluation.score import SongScorer
from songbag_training.models.encoders import ENCODERS
from songbag_training.models.model import song_model
from songbag_training.models.poolings import POOLINGS
from songbag_training.runs.run import Run
from songbag_training.runs.weights import save_weights
from songbag_training.songs.pieces import Piece
from songbag_training.songs.task import Task
from songbag_training.summaries.blend import blended
from songbag_training.summaries.learning import trees_on
from songbag_training.summaries.statistics import summarised
from songbag_training.summaries.trees import Trees
from tests.support.documents import edit_document
from tests.support.long import LONG
from tests.support.patience import PATIENCE_S
from tests.support.small_files import small_files

Arrays = dict[str, Any]
Reader = Callable[[Path], Callable[[Arrays], Arrays]]

LOAD_WITHOUT_SONGBAG = """
import sys
import keras, numpy
model, bags, output = sys.argv[1:]
numpy.savez(output, **keras.models.load_model(model)(dict(numpy.load(bags))))
assert not [name for name in sys.modules if name.startswith("songbag")]
"""

CLASSES = ("a", "b", "c")
COSTS = [[0.0, 1.0, 8.0], [1.0, 0.0, 8.0], [1.0, 1.0, 0.0]]
KINDS: list[tuple[str, str, Task, int]] = [
    *(("tests.support.nets:flat", pooling, Task(CLASSES), 1) for pooling in POOLINGS),
    *((encoder, "attention", Task(CLASSES[:2]), 1) for encoder in ENCODERS),
    ("tests.support.nets:flat", "max", Task(CLASSES, several=True), 1),
    ("tests.support.nets:flat", "gated-attention", Task(CLASSES), 3),
    ("compact", "noisy-or", Task(CLASSES[:2]), 2),
]
WITH_TREES = {("tests.support.nets:flat", "max", Task(CLASSES, several=True), 1), KINDS[-2], KINDS[-1]}
"""Beside these networks there are trees."""


def _songs(spec: FeatureSpec) -> list[Any]:
    rng = np.random.default_rng(3)
    return [rng.integers(-2000, 2000, (n, *spec.window_shape)).astype("int16") for n in (1, 7, 12)]


def _bags(songs: list[Any]) -> Arrays:
    """Pad songs to one size with what must not matter."""
    longest = max(map(len, songs))
    windows = np.full((len(songs), longest, *songs[0].shape[1:]), 77.0, np.float32)
    mask = np.zeros(windows.shape[:2], np.float32)
    for row, song in enumerate(songs):
        windows[row, : len(song)] = decode(song, FeatureSpec())
        mask[row, : len(song)] = 1
    return {"windows": windows, "mask": mask}


FIRST_KIND = {"tflite": 0, "onnx": 1}
"""Converting takes seconds a kind: each is converted to one of the formats, in the long form to both."""


@pytest.fixture(scope="module")
def models(spec: FeatureSpec) -> dict[str, tuple[keras.Model, Task]]:
    """Return song models of every pooling, encoder and task, with weights of some size everywhere."""
    keras.utils.set_random_seed(4)
    rng = np.random.default_rng(4)
    made: dict[str, tuple[keras.Model, Task]] = {}
    for encoder, pooling, task, n_members in KINDS:
        statistics = rng.normal(0, 20, spec.window_shape[0]), rng.uniform(20, 50, spec.window_shape[0])
        model = song_model(spec, task, encoder=encoder, n_members=n_members, pooling=pooling, scaling=statistics)
        for weight in model.weights:
            if not weight.path.startswith("scaling/"):
                weight.assign(0.6 * weight.numpy() + np.abs(rng.normal(0, 0.02, weight.shape)))
        has_trees = (encoder, pooling, task, n_members) in WITH_TREES
        if has_trees:
            model = blended(model, spec, _trees(spec, task), task, 0.4)
        named = f"{encoder}_{pooling}_{task.n_logits}_{task.name}_{n_members}{'_trees' * has_trees}"
        made[re.sub(r"\W", "_", named)] = model, task
    return made


def _trees(spec: FeatureSpec, task: Task) -> Trees:
    """Trees that have learned random labels of random songs: their answers are unlike each other."""
    rng = np.random.default_rng(6)
    songs = [rng.integers(-2000, 2000, (n, *spec.window_shape)).astype("int16") for n in [1, 4] * 8]
    pieces = [Piece(str(row), song, True) for row, song in enumerate(songs)]
    known = np.stack([own for _, own in summarised(pieces, spec, "windows")])
    n_classes = len(task.classes)
    targets = rng.integers(0, 2, (16, n_classes)).astype(np.float32) if task.several else np.arange(16) % n_classes
    return trees_on(known, targets, task, BaselineConfig(), 20)


def _together(models: dict[str, tuple[keras.Model, Task]], spec: FeatureSpec) -> keras.Model:
    """All of them as one portable model, so that a format converts them all at once."""
    inputs = {
        "windows": keras.Input((None, *spec.window_shape), name="windows"),
        "mask": keras.Input((None,), name="mask"),
    }
    outputs = {}
    for name, (model, _) in models.items():
        portable = portable_model(model)
        portable.name = name
        outputs |= {f"{name}_{output}": values for output, values in portable(inputs).items()}
    return keras.Model(inputs, outputs)


@pytest.fixture(scope="module")
def expected(models: dict[str, tuple[keras.Model, Task]], spec: FeatureSpec) -> Arrays:
    """What songbag itself says of some songs, by the name of the portable model's output; 0 in padded slots."""
    values: dict[str, list[Any]] = {}
    songs = _songs(spec)
    for name, (model, task) in models.items():
        for score in SongScorer(model, task).score(Piece(str(row), song, True) for row, song in enumerate(songs)):
            padding = [(0, max(map(len, songs)) - len(score.weights))]
            values.setdefault(f"{name}_song_probabilities", []).append(score.probabilities)
            windows = np.pad(score.window_probabilities, [*padding, (0, 0)])
            values.setdefault(f"{name}_window_probabilities", []).append(windows)
            values.setdefault(f"{name}_weights", []).append(np.pad(score.weights, padding))
    return {name: np.array(rows) for name, rows in values.items()}


def _require_equal(found: Arrays, expected: Arrays, mask: Any) -> None:
    assert found.keys() == expected.keys()
    for name, values in found.items():
        if name.endswith("window_probabilities"):
            values = np.asarray(values) * mask[..., None]
        np.testing.assert_allclose(values, expected[name], atol=1e-4, err_msg=name)


def _read_keras(path: Path) -> Callable[[Arrays], Arrays]:
    def run(bags: Arrays) -> Arrays:
        np.savez(path.with_name("in.npz"), **bags)
        arguments = [path, path.with_name("in.npz"), path.with_name("out.npz")]
        # -I: what the tests add to the path is not there.
        command = [sys.executable, "-I", "-c", LOAD_WITHOUT_SONGBAG, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
        with np.load(path.with_name("out.npz")) as file:
            return dict(file)

    return run


def _read_saved_model(path: Path) -> Callable[[Arrays], Arrays]:
    loaded = tf.saved_model.load(str(path))
    run = loaded.signatures["serving_default"]
    return lambda bags: (loaded, run(**{name: tf.constant(values) for name, values in bags.items()}))[1]


def _read_tflite(path: Path) -> Callable[[Arrays], Arrays]:
    with warnings.catch_warnings():
        # It says that it is to move to a package of its own.
        warnings.filterwarnings("ignore", message=r"\s*Warning: tf\.lite\.Interpreter is deprecated")
        interpreter = tf.lite.Interpreter(model_path=str(path))
    used = {operation["op_name"] for operation in interpreter._get_ops_details()}
    assert not [name for name in used if name.startswith("Flex")]
    run = interpreter.get_signature_runner()
    return lambda bags: run(**bags)


def _read_onnx(path: Path) -> Callable[[Arrays], Arrays]:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return lambda bags: dict(zip(names, session.run(None, bags), strict=True))


READERS: dict[ExportFormat, tuple[str, Reader]] = {
    "keras": ("model.keras", _read_keras),
    "savedmodel": ("model", _read_saved_model),
    "tflite": ("model.tflite", _read_tflite),
    "onnx": ("model.onnx", _read_onnx),
}


@pytest.mark.long
@pytest.mark.parametrize("form", FIRST_KIND)
def test_every_pooling_says_in_every_format_what_songbag_says(
    models: dict[str, tuple[keras.Model, Task]],
    expected: Arrays,
    spec: FeatureSpec,
    tmp_path: Path,
    form: ExportFormat,
) -> None:
    kinds = list(models)[slice(None) if LONG else slice(FIRST_KIND[form], None, 2)]
    together = _together({kind: models[kind] for kind in kinds}, spec)
    config = json.dumps(keras.saving.serialize_keras_object(together))
    assert "songbag_training" not in config
    assert '"registered_name": "songbag' not in config
    expected = {name: values for name, values in expected.items() if name.startswith(tuple(kinds))}
    name, read = READERS[form]
    write_model(together, form, tmp_path / name)
    run = read(tmp_path / name)
    bags = _bags(_songs(spec))
    _require_equal(run(bags), expected, bags["mask"])
    shorter = {name: values[:, :7] for name, values in bags.items()}
    bags = {name: values[:2] for name, values in shorter.items()}
    songs = {name: v[:2] if "song_prob" in name else v[:2, :7] for name, v in expected.items()}
    _require_equal(run(bags), songs, bags["mask"])


def test_a_song_of_one_window_and_that_window_have_the_same_probabilities(expected: Arrays) -> None:
    """Where there are trees, they speak of the song alone."""
    for name in expected:
        if name.endswith("_song_probabilities") and "_trees_" not in name:
            window = expected[name.replace("_song_", "_window_")][0, 0]
            np.testing.assert_allclose(expected[name][0], window, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("task", "told"),
    [
        (Task(CLASSES), {"by": "most probable"}),
        (Task(CLASSES, several=True), {"by": "thresholds", "thresholds": [0.5] * 3}),
        (Task(CLASSES, several=True, thresholds=(0.1, 0.5, 0.9)), {"by": "thresholds", "thresholds": [0.1, 0.5, 0.9]}),
        (Task(CLASSES[:2], thresholds=(0.75, 0.25)), {"by": "thresholds", "thresholds": [0.75, 0.25]}),
    ],
)
def test_the_description_says_what_is_predicted(run: Run, task: Task, told: dict[str, Any]) -> None:
    thresholds = dict(zip(task.classes, task.thresholds, strict=True)) if task.thresholds else None
    facts = dataclasses.replace(run.facts, classes=list(task.classes), task=task.name, thresholds=thresholds)
    assert describe(Run(run.folder, facts))["prediction"] == told


@pytest.fixture(scope="module")
def calibrated(run: Run, store: SongStore, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a copy of the run that is half as sure of itself, and predicts by costs."""
    copy = Run.open(shutil.copytree(run.folder, tmp_path_factory.mktemp("calibrated") / "run"))
    model = copy.load_model()
    model.get_layer("pooling").temperature.assign([2.0])
    save_weights(model, copy.weights_path)
    files = {**(copy.facts.files or {}), copy.weights_path.name: file_digest(copy.weights_path)}
    edit_document(copy.folder / "run.json", files=files, costs=COSTS)
    copy = Run.open(copy.folder)
    before, after = evaluate(run, store).metrics["train"]["song"], evaluate(copy, store).metrics["train"]["song"]
    assert before["roc_auc"] == after["roc_auc"]
    assert abs(before["log_loss"] - after["log_loss"]) > 0.01
    return copy


@pytest.mark.parametrize("form", READERS)
def test_a_calibrated_run_is_exported_with_a_description_beside_it(
    calibrated: Run, store: SongStore, tmp_path: Path, form: ExportFormat
) -> None:
    name, read = READERS[form]
    run = calibrated
    done = CliRunner().invoke(commands, ["export", str(run.folder), "--format", form, "-o", str(tmp_path / name)])
    assert done.exit_code == 0, done.output
    assert {path.name for path in tmp_path.iterdir()} == {name, f"{name}.json"}
    described = json.loads((tmp_path / f"{name}.json").read_text())
    own = predict(run, store).set_index("song_id")
    windows = store.windows(own.index[0])
    bags = {"windows": windows[None], "mask": np.ones((1, len(windows)), np.float32)}
    found = {output: np.asarray(values) for output, values in read(tmp_path / name)(bags).items()}
    sizes = {"songs": 1, "windows": len(windows)}
    for part, arrays in (("inputs", bags), ("outputs", found)):
        shapes = {key: tuple(sizes.get(axis, axis) for axis in axes) for key, axes in described[part].items()}
        assert shapes == {key: values.shape for key, values in arrays.items()}
    classes = [f"p_{label}" for label in described["classes"]]
    np.testing.assert_allclose(found["song_probabilities"][0], own.iloc[0][classes].astype(float), atol=1e-4)
    assert (described["task"], described["prediction"]) == ("single-label", {"by": "costs", "costs": COSTS})
    chosen = int((found["song_probabilities"][0] @ np.array(COSTS)).argmin())
    assert described["classes"][chosen] == own.iloc[0]["predicted"]
    why = pd.read_parquet(run.folder / "windows.parquet").groupby("song_id").get_group(own.index[0])
    np.testing.assert_allclose(found["window_probabilities"][0], why[classes], atol=1e-4)
    np.testing.assert_allclose(found["weights"][0], why["weight"], atol=1e-4)
    assert (
        FeatureSpec.from_dict(described["features"]).fingerprint == described["fingerprint"] == store.spec.fingerprint
    )


@pytest.mark.parametrize("form", ["keras", "savedmodel"])
@pytest.mark.parametrize("there", ["the output", "the description"])
def test_nothing_is_written_over(run: Run, tmp_path: Path, form: ExportFormat, there: str) -> None:
    path = tmp_path / "out" / READERS[form][0]
    path.parent.mkdir()
    taken = path if there == "the output" else path.with_name(path.name + ".json")
    taken.write_text("mine")
    with pytest.raises(UsageError, match="something in its place"):
        export(run, form, path)
    assert [(one, one.read_text()) for one in path.parent.iterdir()] == [(taken, "mine")]


@pytest.mark.parametrize(
    ("form", "name", "message"),
    [
        ("h5", "model.h5", "no format 'h5'"),
        ("keras", "model.h5", r"End it in \.keras"),
        ("onnx", "model", r"End it in \.onnx"),
        ("tflite", "missing/model.tflite", "no folder"),
    ],
)
def test_an_output_that_cannot_be_is_refused(run: Run, tmp_path: Path, form: Any, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        export(run, form, tmp_path / name)


def test_onnx_without_its_extra_names_it(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(MissingExtra, match=r"pip install 'songbag\[onnx\]'"):
        export(run, "onnx", tmp_path / "model.onnx")


def test_a_model_that_cannot_be_written_leaves_nothing_behind(run: Run, tmp_path: Path) -> None:
    with small_files(10_000), pytest.raises(FileError, match="cannot be written"):
        export(run, "keras", tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []


def test_an_exported_folder_stands_alone(run: Run, tmp_path: Path) -> None:
    copy = shutil.copytree(run.folder, tmp_path / "run")
    export(copy, "savedmodel", tmp_path / "model")
    shutil.rmtree(copy)
    windows = np.zeros((1, 2, *run.facts.spec.window_shape), np.float32)
    found = _read_saved_model(tmp_path / "model")({"windows": windows, "mask": np.ones((1, 2), np.float32)})
    np.testing.assert_allclose(np.sum(found["song_probabilities"], axis=1), 1, atol=1e-6)
