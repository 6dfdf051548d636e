"""Baselines as runs and cross-validations, and what takes them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.progress import Lines, Silent
from songbag_training.apply.predict import predict
from songbag_training.config import BaselineConfig, TrainConfig
from songbag_training.errors import DamagedRun, LabelError
from songbag_training.evaluation.headline import floor_lines, mean_floor
from songbag_training.fit.baselines.baseline import baseline
from songbag_training.fit.cross_validation import resume_cross_validation
from songbag_training.fit.pooled import CrossValidation
from songbag_training.fit.train import train
from songbag_training.runs.evaluate import evaluate
from songbag_training.runs.run import Run
from songbag_training.runs.summary import describe, info
from songbag_training.runs.verification import verify
from songbag_training.summaries.statistics import summaries
from tests.support.once import made_once
from tests.support.patience import PATIENCE_S

RESULTS = ("metrics.json", "predictions.parquet", "split.parquet", "weights.safetensors")


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory, store: SongStore) -> Run:
    def make(folder: Path) -> None:
        baseline(store, "label", folder, progress=Silent())

    return Run.open(made_once(tmp_path_factory, "floor-of-classes", make))


def test_it_learns_and_says_which_learner_the_parts_chose(floor: Run, store: SongStore, tmp_path: Path) -> None:
    lines: list[str] = []
    again = baseline(store, "label", tmp_path / "again", progress=Lines(lines.append))
    assert isinstance(again, Run)
    chosen = again.facts.baseline.learner
    assert any(line.startswith(f"parts of the training songs choose {chosen}: right linear ") for line in lines)
    test = floor.metrics["test"]
    assert test["song"] == test["learners"][chosen]
    assert test["song"]["accuracy"] >= 0.8
    assert set(test["learners"]) == {"linear", "trees", "mean"}
    assert "window" not in test
    for name in RESULTS:
        assert (again.folder / name).read_bytes() == (floor.folder / name).read_bytes(), name
    assert sorted(path.name for path in floor.folder.iterdir()) == sorted(
        [*RESULTS, "run.json", "confusion.png", "report.html"]
    )


def test_evaluate_predict_verify_and_info_take_it(floor: Run, store: SongStore, tmp_path: Path) -> None:
    before = {name: (floor.folder / name).read_bytes() for name in RESULTS}
    evaluate(floor)
    assert {name: (floor.folder / name).read_bytes() for name in RESULTS} == before
    assert verify(floor, progress=Silent()) == []
    elsewhere = evaluate(floor, store, tmp_path / "elsewhere", progress=Silent())
    assert elsewhere.metrics["all"]["song"]["n"] == 36
    assert not (tmp_path / "elsewhere" / "windows.parquet").exists()
    table = predict(floor, store).set_index("song_id")
    shares = floor.load_predictor().probabilities(summaries(store, store.songs(arrow=True)))
    np.testing.assert_allclose(table[["p_folk", "p_jazz", "p_rock"]], shares, atol=1e-12)
    told = dict(describe(info(floor)))
    assert "song summaries" in told["model"]
    assert told["again"].startswith("songbag baseline ")
    with pytest.raises(UsageError, match="is a baseline"):
        predict(floor, store, tmp_path / "a.csv", windows=tmp_path / "b.csv")
    with pytest.raises(UsageError, match="is a baseline"):
        floor.load_model()
    with pytest.raises(UsageError, match="is a baseline"):
        floor.allow_encoder("nets:own")


def test_the_index_alone_can_be_learned_from(store: SongStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("songbag_training.summaries.statistics.stored_pieces")
    run = baseline(store, "label", tmp_path / "run", BaselineConfig(summaries="index"), progress=Silent())
    assert isinstance(run, Run)
    assert run.metrics["test"]["song"]["accuracy"] >= 0.8
    assert evaluate(run, store).metrics == run.metrics


def test_songs_of_several_classes(tagged: SongStore, tmp_path: Path) -> None:
    config = BaselineConfig(calibrate=True, thresholds="f1", class_weight="balanced")
    run = baseline(tagged, "label", tmp_path / "run", config, progress=Silent())
    assert isinstance(run, Run)
    assert run.metrics["test"]["song"]["accuracy"] > 0.7
    assert run.facts.thresholds is not None
    assert run.load_predictor().temperature != 1
    assert evaluate(run, tagged).metrics == run.metrics


def test_folds_are_a_cross_validation_that_the_same_call_goes_on_with(store: SongStore, tmp_path: Path) -> None:
    def call(progress: Any = None) -> CrossValidation:
        found = baseline(store, "label", tmp_path / "cv", folds=2, progress=progress or Silent())
        assert isinstance(found, CrossValidation)
        return found

    first = call()
    assert first.metrics["pooled"]["n"] == 36
    assert first.metrics["pooled"]["accuracy"] >= 0.8
    assert verify(tmp_path / "cv", progress=Silent()) == []
    kept = (tmp_path / "cv" / "fold-1" / "run.json").read_bytes()
    # The second fold was stopped while it was written.
    facts = json.loads((tmp_path / "cv" / "fold-2" / "run.json").read_bytes())
    assert facts["config"]["learner"] in ("linear", "trees", "mean")
    (tmp_path / "cv" / "fold-2" / "run.json").unlink()
    assert call().metrics == first.metrics
    assert (tmp_path / "cv" / "fold-1" / "run.json").read_bytes() == kept
    with pytest.raises(UsageError, match="is of baselines"):
        resume_cross_validation(tmp_path / "cv", store)


def test_what_it_refuses(store: SongStore, floor: Run, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="mood"):
        baseline(store, "mood", tmp_path / "new")
    with pytest.raises(UsageError, match="not empty"):
        baseline(store, "label", floor.folder)
    with pytest.raises(UsageError, match="learner"):
        BaselineConfig(learner="forest")  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("change", [{"learner": "auto"}, {"learner": "trees", "odd": 1}, {"summaries": "index"}])
def test_a_changed_run_json_is_refused(
    floor: Run, tmp_path: Path, change: dict[str, Any], copied: Callable[[Run, Path, dict[str, Any]], Path]
) -> None:
    with pytest.raises(DamagedRun):
        Run.open(copied(floor, tmp_path / "run", change)).load_scorer()


@pytest.fixture
def copied() -> Callable[[Run, Path, dict[str, Any]], Path]:
    """Copy the two files that prediction needs, without seals, with changed options."""

    def copy(run: Run, folder: Path, change: dict[str, Any]) -> Path:
        folder.mkdir()
        facts = json.loads((run.folder / "run.json").read_bytes())
        facts["config"] |= change
        (folder / "run.json").write_text(json.dumps({name: own for name, own in facts.items() if name != "seal"}))
        (folder / "weights.safetensors").write_bytes((run.folder / "weights.safetensors").read_bytes())
        return folder

    return copy


def test_tensorflow_is_not_loaded(floor: Run, store: SongStore, tmp_path: Path) -> None:
    code = (
        "import sys, songbag; songbag.baseline(sys.argv[1], 'label', sys.argv[2]);"
        "songbag.evaluate(sys.argv[2]); songbag.info(sys.argv[2]);"
        "songbag.predict(sys.argv[2], sys.argv[1]); print(*{m.split('.')[0] for m in sys.modules})"
    )
    command = [sys.executable, "-c", code, store.address, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"tensorflow", "keras"}
    assert "songbag_training" in loaded


def test_a_training_ends_with_its_floor_which_an_evaluation_keeps(store: SongStore, floor: Run, tmp_path: Path) -> None:
    lines: list[str] = []
    config = TrainConfig(epochs=1, bag_size=2, batch_size=32, encoder="dense")
    run = train(store, "label", tmp_path / "run", config, progress=Lines(lines.append))
    own, of_baseline = run.metrics["test"], floor.metrics["test"]["learners"]
    assert own["floor"] == {"learner": floor.facts.baseline.learner} | {
        name: metrics["accuracy"] for name, metrics in of_baseline.items()
    }
    told = next(line for line in lines if line.startswith("the network: "))
    assert told.endswith(f"on song summaries: {floor.metrics['test']['song']['accuracy']:.2f}")
    is_below = own["song"]["accuracy"] < floor.metrics["test"]["song"]["accuracy"]
    assert any("is below its floor" in line for line in lines) == is_below
    assert evaluate(run, store).metrics == run.metrics
    assert "on song summaries" in (run.folder / "report.html").read_text()


def test_the_floor_of_folds_is_their_mean_and_a_worse_network_is_told_what_to_try() -> None:
    folds = [
        {"learner": "trees", "linear": 0.5, "trees": 0.75, "mean": 0.5},
        {"learner": "trees", "linear": 0.5, "trees": 0.25, "mean": 1.0},
        {"learner": "mean", "linear": 0.5, "trees": 0.5, "mean": 0.75},
    ]
    found = mean_floor(folds)
    assert found == {"learner": "trees", "linear": 0.5, "trees": 0.5, "mean": 0.75}
    assert floor_lines(0.5, found) == ["the network: 0.50; trees on song summaries: 0.50"]
    assert "is below its floor" in floor_lines(0.4, found)[1]
