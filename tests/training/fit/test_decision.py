"""Thresholds and costs of a run: chosen on the validation songs, kept, and used wherever it predicts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.progress import Lines, Silent
from songbag_training import TrainConfig, evaluate, predict, resume, train
from songbag_training.errors import DamagedRun, ModelError
from songbag_training.evaluation.thresholds import with_best_f1
from songbag_training.fit.cross_validation import cross_validate
from songbag_training.fit.material import prepare
from songbag_training.runs.run import Run
from songbag_training.runs.verification import verify_folder
from songbag_training.songs.task import Task
from tests.support.documents import edit_document
from tests.support.labelled import TAGS
from tests.support.long import LONG

TINY = TrainConfig(epochs=2, bag_size=2, batch_size=16, encoder="dense", no_floor=True)
F1 = dataclasses.replace(TINY, thresholds="f1", calibrate=True)
COSTS = dataclasses.replace(TINY, thresholds="cost:folk>jazz=9,folk>rock=9,rock>jazz=3")


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def by_f1(tagged: SongStore, tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> Run:
    return train(tagged, "label", tmp_path_factory.mktemp("f1") / "run", F1, progress=Lines(said.append))


@pytest.fixture(scope="module")
def by_costs(store: SongStore, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(store, "label", tmp_path_factory.mktemp("costs") / "run", COSTS, progress=Silent())


def songs_of(run: Run, *parts: str) -> tuple[Any, Any, Any]:
    """Return labels, probabilities and predictions of some subsets, from the run folder."""
    table = pd.read_parquet(run.folder / "predictions.parquet")
    table = table[table["part"].isin(parts)] if parts else table
    shares = table[[f"p_{name}" for name in run.facts.classes]].to_numpy()
    return table["label"].tolist(), shares, table["predicted"].tolist()


def test_thresholds_are_those_of_the_validation_songs_after_calibration(by_f1: Run, said: list[str]) -> None:
    labels, shares, _ = songs_of(by_f1, "validation")
    task = by_f1.facts.song_task.plain
    expected, _ = with_best_f1(task, task.encode(list(map(tuple, labels))), shares)
    assert list(by_f1.facts.thresholds or {}) == list(TAGS)
    assert by_f1.facts.song_task.thresholds == pytest.approx(expected.thresholds, abs=1e-6)
    order = [line.split(" ")[0] for line in said if line.startswith(("temperature", "best F1"))]
    assert order == ["temperature", "best"]
    assert repr(by_f1).count("every class above its threshold: brass 0.") == 1


def test_what_is_predicted_and_judged_goes_by_them(by_f1: Run, tagged: SongStore) -> None:
    thresholds = np.array(by_f1.facts.song_task.thresholds)
    labels, shares, predicted = songs_of(by_f1)
    expected = [[name for name, one in zip(TAGS, row, strict=True) if one] for row in shares > thresholds]
    assert list(map(list, predicted)) == expected
    assert expected != [[name for name, one in zip(TAGS, row, strict=True) if one] for row in shares > 0.5]
    table = predict(by_f1, tagged).set_index("song_id").drop("unlabelled")
    assert list(map(list, table["predicted"])) == expected

    labels, shares, _ = songs_of(by_f1, "test")
    own = by_f1.facts.song_task.encode(list(map(tuple, labels)))
    metrics = by_f1.metrics["test"]["song"]
    assert metrics["macro_f1"] == pytest.approx(
        sklearn_metrics.f1_score(own, shares > thresholds, average="macro", zero_division=0)
    )
    assert metrics["average_precision"] == pytest.approx(sklearn_metrics.average_precision_score(own, shares))


def test_they_stay_when_the_run_is_evaluated_again(by_f1: Run, tagged: SongStore, tmp_path: Path) -> None:
    before = by_f1.facts
    again = evaluate(by_f1.folder, tagged)
    assert Run.open(by_f1.folder).facts == before
    assert not verify_folder(by_f1.folder).damages
    elsewhere = evaluate(by_f1.folder, tagged, tmp_path / "elsewhere", progress=Silent())
    for name in ("macro_f1", "accuracy"):
        found = sum(of["song"][name] * of["song"]["n"] for key, of in again.metrics.items() if key != "snapshot") / 64
        if name == "accuracy":
            assert elsewhere.metrics["all"]["song"][name] == pytest.approx(found)


class _Killed(KeyboardInterrupt):
    """Ends a training as suddenly as a signal would, as far as files are concerned."""


@pytest.mark.long
@pytest.mark.parametrize("after", ["temperature", "best F1"] if LONG else ["temperature"])
def test_a_training_that_was_killed_at_its_end_is_calibrated_and_decided_once(
    by_f1: Run, tagged: SongStore, tmp_path: Path, after: str
) -> None:
    def kill(line: str) -> None:
        if line.startswith(after):
            raise _Killed

    with pytest.raises(_Killed):
        train(tagged, "label", tmp_path / "run", F1, progress=Lines(kill))
    run = resume(tmp_path / "run", progress=Silent())
    assert run.facts.thresholds == by_f1.facts.thresholds
    assert run.weights_path.read_bytes() == by_f1.weights_path.read_bytes()
    assert run.metrics["test"] == by_f1.metrics["test"]


def test_costs_choose_the_class_of_least_expected_cost(by_costs: Run, store: SongStore) -> None:
    costs = np.array(by_costs.facts.costs)
    assert costs.tolist() == [[0, 9, 9], [1, 0, 1], [1, 3, 0]]
    _, shares, predicted = songs_of(by_costs)
    classes = np.array(by_costs.facts.classes)
    assert predicted == classes[(shares @ costs).argmin(axis=1)].tolist()
    assert predicted != classes[shares.argmax(axis=1)].tolist()
    assert predict(by_costs, store).sort_values("song_id")["predicted"].tolist() == predicted
    # Costs weigh probabilities, so they are calibrated without --calibrate.
    assert by_costs.load_model().get_layer("pooling").temperature.numpy() != 1
    labels, _, predicted = songs_of(by_costs, "test")
    confusion = sklearn_metrics.confusion_matrix(labels, predicted, labels=classes)
    assert by_costs.metrics["test"]["confusion"] == confusion.tolist()
    wrong = {one["song_id"]: one["said"] for one in by_costs.metrics["test"]["mistakes"]}
    assert list(wrong.values()) == [str(by_costs.predictions().set_index("song_id")["predicted"][key]) for key in wrong]


def test_each_fold_has_its_own(tagged: SongStore, tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, encoder="tests.support.nets:flat", epochs=1, thresholds="f1")
    done = cross_validate(tagged, "label", tmp_path / "cv", config, folds=2, progress=Silent())
    first, second = (run.facts.song_task for run in done.runs)
    assert first.thresholds != second.thresholds
    table = pd.read_parquet(tmp_path / "cv" / "predictions.parquet")
    own = first.encode(list(map(tuple, table["label"])))
    said = first.encode(list(map(tuple, table["predicted"])))
    expected = sklearn_metrics.f1_score(own, said, average="macro", zero_division=0)
    assert done.metrics["pooled"]["macro_f1"] == pytest.approx(expected)
    low, high = done.metrics["intervals"]["accuracy"]
    assert low <= done.metrics["pooled"]["accuracy"] <= high
    for name, run in zip(("1", "2"), done.runs, strict=True):
        assert done.metrics["folds"][name]["accuracy"] == run.metrics["test"]["song"]["accuracy"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thresholds": "f1"}, r"one of 3 classes; f1 is for two classes, or for lists"),
        ({"thresholds": "cost:folk>metal=2"}, r"'metal' is none of the classes"),
    ],
)
def test_what_the_classes_cannot_have_is_refused_before_the_training(
    store: SongStore, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=f"thresholds: .*{message}"):
        prepare(store, "label", None, None, config=TrainConfig(**options))


def test_without_validation_songs_nothing_is_chosen(store: SongStore, tmp_path: Path, run: Run) -> None:
    split = pd.read_parquet(run.folder / "split.parquet").replace({"part": {"validation": "train"}})
    ids = split.loc[split["part"].isin(["train", "test"]), "song_id"].tolist()
    songs = run.split()
    parts = tuple("train" if one == "validation" else one for one in songs.subsets)
    assert set(ids) == set(songs.song_ids)
    given = type(songs)(songs.song_ids, songs.labels, parts)
    with pytest.raises(UsageError, match="thresholds: the split has no validation songs"):
        prepare(store, "label", None, given, config=COSTS)


@pytest.mark.parametrize("given", ["", "f2", "F1", "costs:a>b=1"])
def test_only_two_ways_to_choose_are_known(given: str) -> None:
    with pytest.raises(ModelError, match=r"thresholds: is .* but must be f1, or cost: and"):
        TrainConfig(thresholds=given)


def test_costs_and_class_weights_would_weigh_the_classes_twice() -> None:
    TrainConfig(thresholds="f1", class_weight="balanced")
    with pytest.raises(ModelError, match="class_weight changes these probabilities"):
        TrainConfig(thresholds="cost:a>b=2", class_weight="balanced")


@pytest.mark.parametrize(
    "changes",
    [
        {"thresholds": {"folk": 0.5, "jazz": 0.5, "rock": 0.5}},
        {"costs": [[0, 1], [1, 0]]},
        {"costs": [[0, 1, 1], [1, 0, 1], [1, -1, 0]]},
        {"costs": [[0, 1, 1], [1, 0, 1], [1, 1, 0]], "thresholds": {}},
    ],
)
def test_a_document_with_others_is_refused(by_costs: Run, tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "run.json"
    path.write_bytes((by_costs.folder / "run.json").read_bytes())
    edit_document(path, **changes)
    with pytest.raises(DamagedRun, match=r"the field '(thresholds|costs)' is"):
        Run.open(tmp_path)


def test_an_ordinary_run_names_none(run: Run) -> None:
    document = json.loads((run.folder / "run.json").read_text())
    assert "thresholds" not in document["config"]
    assert run.facts.song_task == Task(tuple(run.facts.classes))
