from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from songbag_store.errors import FileError, UsageError
from songbag_store.format.document import write_fields
from songbag_store.storage.files import claim_folder, replacing, write_whole
from songbag_training.errors import DamagedRun, NewerRun, RunNotFound
from songbag_training.runs.document import parse_run_document
from songbag_training.runs.facts import RunFacts
from songbag_training.runs.run import Run
from songbag_training.runs.weights import load_weights, save_weights
from tests.support.documents import edit_document
from tests.support.small_files import small_files


@pytest.fixture
def copy(run: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run.folder, tmp_path / "run"))


def _edit(folder: Path, **changes: Any) -> None:
    edit_document(folder / "run.json", **changes)


def test_a_model_is_rebuilt_from_the_folder_alone(run: Run, copy: Path) -> None:
    mine, theirs = run.load_model(), Run.open(copy).load_model()
    windows = np.random.default_rng(0).integers(-999, 999, (2, 5, *run.facts.spec.window_shape), np.int16)
    inputs = {"windows": windows, "mask": np.ones((2, 5), np.float32)}
    np.testing.assert_allclose(mine(inputs), theirs(inputs), atol=1e-6)
    for weight, other in zip(mine.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_facts_survive_json(run: Run) -> None:
    assert parse_run_document(RunFacts, write_fields(run.facts)) == run.facts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 0}, "'format' is 0 and not"),
        ({"format": "1"}, "'format' is '1' and not"),
        ({"task": "regression"}, "'task' is 'regression' and not"),
        ({"task": ["multi-label"]}, "'task' is"),
        ({"classes": ["folk"]}, "two or more"),
        ({"classes": ["folk", "folk"]}, "two or more"),
        ({"classes": ["folk", "\ud800"]}, "surrogates not allowed"),
        ({"classes": [1, 2]}, r"'classes' is \[1, 2\] and not a list of text"),
        ({"classes": "folk"}, "'classes' is 'folk' and not"),
        ({"snapshot": True}, "'snapshot' is True and not a whole number from 0"),
        ({"snapshot": -1}, "'snapshot' is -1 and not"),
        ({"snapshot": 1.0}, "'snapshot' is 1.0 and not a whole number from 0"),
        ({"best_epoch": "3"}, r"'best_epoch' is '3' and not a whole number from 1 or null"),
        ({"best_epoch": 0}, "'best_epoch' is 0 and not"),
        ({"versions": {"songbag": 1}}, "'versions' is"),
        ({"run_id": "../../etc"}, r"'run_id' is '\.\./\.\./etc' and not 32 hex"),
        ({"store_uuid": "F" * 32}, "'store_uuid' is"),
        ({"split_sha256": ""}, "'split_sha256' is '' and not 64 hex"),
        ({"created_at": "yesterday"}, "'created_at' is 'yesterday' and not a time"),
        ({"finished_at": "2026-01-01T00:00:00"}, "'finished_at' is '2026-01-01T00:00:00' and not a time"),
        ({"surprise": 1}, "unknown or missing: 'surprise'"),
        ({"fingerprint": "0" * 64}, "'fingerprint' is not that of the field 'spec'"),
        ({"config": {"encoder": "compact", "colour": "red"}}, "TrainConfig: has unknown fields: 'colour'"),
        ({"config": {"epochs": 0}}, "epochs: is 0 but must be a whole number from 1"),
        ({"spec": {}}, "'fingerprint' is not that of the field 'spec'"),
        ({"spec": {"colour": "red"}}, "FeatureSpec: has unknown fields: 'colour'"),
    ],
)
def test_a_changed_run_json_is_refused(copy: Path, changes: dict[str, Any], message: str) -> None:
    _edit(copy, **changes)
    with pytest.raises(DamagedRun, match=message):
        Run.open(copy)


def test_an_encoder_that_does_not_exist_is_refused(run: Run, copy: Path) -> None:
    _edit(copy, config=run.facts.config.to_dict() | {"encoder": "os.system"})
    with pytest.raises(DamagedRun, match=r"os\.system"):
        Run.open(copy)


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", "[" * 100_000, "\xff", '{"format": NaN}', '{"format": 1, "format": 1}', "9" * 9999]
)
def test_a_run_json_that_is_no_json_is_refused(copy: Path, text: str) -> None:
    (copy / "run.json").write_text(text, encoding="latin-1")
    with pytest.raises(DamagedRun, match=r"run\.json"):
        Run.open(copy)


def test_a_run_of_a_later_format_names_both_formats(copy: Path) -> None:
    _edit(copy, format=7, surprise="of a later songbag")
    with pytest.raises(
        NewerRun, match=r"run\.json: the document is of format 7; this songbag knows format 1"
    ) as caught:
        Run.open(copy)
    assert "pip install --upgrade songbag" in caught.value.remedy


def test_an_unfinished_run_is_refused(copy: Path) -> None:
    _edit(copy, finished_at=None)
    with pytest.raises(RunNotFound, match="not finished"):
        Run.open(copy)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match="no run here"):
        Run.open(tmp_path)


@pytest.mark.parametrize("change", ["shape", "type", "missing", "more"])
def test_weights_of_another_model_are_refused_before_any_is_loaded(copy: Path, change: str) -> None:
    path = copy / "weights.safetensors"
    tensors = safetensors.numpy.load_file(path)
    if change == "shape":
        tensors["head/kernel"] = np.zeros((128, 100), np.float32)
    elif change == "type":
        tensors["head/kernel"] = tensors["head/kernel"].astype(np.float64)
    elif change == "missing":
        del tensors["head/kernel"]
    else:
        tensors["head/more"] = np.zeros(3, np.float32)
    safetensors.numpy.save_file(tensors, path)
    model = Run.open(copy).build_model()
    before = [weight.numpy().copy() for weight in model.weights]
    with pytest.raises(DamagedRun, match=r"'head/(kernel|more)' is"):
        load_weights(model, path)
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_named_and_none_is_loaded(copy: Path, number: float) -> None:
    path = copy / "weights.safetensors"
    tensors = safetensors.numpy.load_file(path)
    tensors["head/bias"][-1] = number
    safetensors.numpy.save_file(tensors, path)
    model = Run.open(copy).build_model()
    before = [weight.numpy().copy() for weight in model.weights]
    with pytest.raises(DamagedRun, match="'head/bias' are not all finite"):
        load_weights(model, path)
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.parametrize("keep", [0, 7, 1000])
def test_weights_that_are_cut_off_are_refused(copy: Path, keep: int) -> None:
    path = copy / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DamagedRun, match="weights cannot be read"):
        Run.open(copy).load_model()


def test_missing_weights_are_named(copy: Path) -> None:
    (copy / "weights.safetensors").unlink()
    with pytest.raises(DamagedRun, match=r"weights\.safetensors"):
        Run.open(copy).load_model()


def test_another_split_is_refused(copy: Path, run: Run) -> None:
    split = run.split()
    type(split)(split.song_ids, split.labels, split.subsets[::-1]).write(copy / "split.parquet")
    with pytest.raises(DamagedRun, match="not the split"):
        Run.open(copy).split()


def test_a_folder_that_holds_something_is_never_written_over(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Choose another `output`"):
        claim_folder(run.folder)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="a file in the place"):
        claim_folder(tmp_path / "file")


@pytest.mark.fault(82)
def test_weights_that_cannot_be_written_leave_the_earlier_ones(copy: Path) -> None:
    run = Run.open(copy)
    path, model = copy / "weights.safetensors", run.build_model()
    before = path.read_bytes()

    with small_files(1000), pytest.raises(FileError, match="File too large"):
        save_weights(model, path)
    assert path.read_bytes() == before
    assert not list(copy.glob(".tmp-*"))


def test_a_failure_halfway_leaves_no_temporary_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"first")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a") as temporary:
        temporary.write_bytes(bytes([1 // 0]))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"first"]


def test_a_run_gives_its_metrics_and_predictions(run: Run, copy: Path) -> None:
    opened = Run.open(copy)
    assert opened.metrics == json.loads((copy / "metrics.json").read_text())
    frame, table = opened.predictions(), opened.predictions(arrow=True)
    assert frame.columns.tolist() == table.column_names
    assert frame["song_id"].tolist() == table["song_id"].to_pylist() == list(run.split().song_ids)


def test_metrics_and_predictions_that_are_missing_or_damaged_are_named(copy: Path) -> None:
    run = Run.open(copy)
    (copy / "predictions.parquet").write_bytes(b"x")
    with pytest.raises(DamagedRun, match=r"predictions\.parquet: is not what was .*\n.*songbag evaluate RUN"):
        run.predictions()
    _edit(copy, files=None)
    run = Run.open(copy)  # one that was made before there were seals
    with pytest.raises(DamagedRun, match=r"predictions\.parquet: cannot be read .*\n.*songbag evaluate RUN"):
        run.predictions()
    (copy / "metrics.json").write_text("{")
    with pytest.raises(DamagedRun, match=r"metrics\.json"):
        run.metrics  # noqa: B018 (what reading it raises)
    (copy / "metrics.json").unlink()
    with pytest.raises(DamagedRun, match=r"metrics\.json: is missing"):
        run.metrics  # noqa: B018 (what reading it raises)
    assert "finished" in repr(run)


def test_a_run_and_its_split_say_what_is_in_them_and_escape_what_strangers_wrote(run: Run) -> None:
    assert repr(run).startswith(f"<Run: run {run.folder}, label label, classes folk, jazz, rock, model ")
    assert f"held-out accuracy {run.metrics['test']['song']['accuracy']:.4g}" in repr(run)
    assert "<th>label</th><td>label</td>" in run._repr_html_()
    assert repr(run.split()).startswith("<Split: songs 36, train ")
    hostile = dataclasses.replace(run.facts, classes=["<script>alert(1)</script>", "b"])
    shown = Run(run.folder, hostile)._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
