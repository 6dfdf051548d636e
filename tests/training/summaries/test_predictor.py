"""Linear models and trees as arrays: as scikit-learn predicts, whole after a file, refused if they do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from songbag_training.config import BaselineConfig
from songbag_training.songs.task import Task
from songbag_training.summaries.learning import choose, drawn, fit
from songbag_training.summaries.predictor import Predictor, Tensors
from songbag_training.summaries.statistics import summary_names
from songbag_training.summaries.trees import as_arrays, forest_of
from songbag_training.types import FloatArray, Targets
from tests.support.labelled import SPEC

F = len(summary_names(SPEC, "windows"))
TASKS = (Task(("a", "b")), Task(("a", "b", "c", "d")), Task(("a", "b", "c"), several=True))
CONFIG = BaselineConfig(learner="mean")


def songs(task: Task, n: int = 60) -> tuple[FloatArray, Targets]:
    rng = np.random.default_rng(len(task.classes))
    values = rng.normal(size=(n, F)).astype(np.float32)
    values[:, 3] = np.rint(values[:, 3])  # equal numbers, which thresholds lie between
    if task.several:
        return values, (values[:, : len(task.classes)] > 0.3).astype(np.float32)
    return values, values[:, : len(task.classes)].argmax(axis=1)


@pytest.mark.parametrize("task", TASKS, ids=["two", "many", "several"])
def test_trees_predict_as_scikit_learn_does(task: Task) -> None:
    values, targets = songs(task)
    if task.several:
        targets[:, 1] = 1  # a class of every song has one kind of answer
    forest = forest_of(values, targets, None, 20, 7)
    others = np.concatenate([values, np.random.default_rng(1).normal(size=(500, F)).astype(np.float32)])
    wanted = forest.predict_proba(others)
    if task.several:
        wanted = np.stack([own[:, -1] for own in wanted], axis=1)
    np.testing.assert_allclose(as_arrays(forest, task).probabilities(others, len(task.classes)), wanted, atol=1e-6)


@pytest.mark.parametrize("task", TASKS, ids=["two", "many", "several"])
def test_a_predictor_is_the_same_after_its_arrays_were_read_and_for_the_same_seed(task: Task) -> None:
    values, targets = songs(task)
    made = fit(values, targets, task, CONFIG, "mean", 10)
    read = Predictor.of_tensors(made.tensors(), task, SPEC, CONFIG)
    shares = made.probabilities(values)
    np.testing.assert_array_equal(read.probabilities(values), shares)
    assert shares.shape == (60, len(task.classes))
    if not task.several:
        np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert task.right(targets, shares).mean() > 0.9
    again = fit(values, targets, task, CONFIG, "mean", 10).tensors()
    assert {name: one.tobytes() for name, one in again.items()} == {
        name: one.tobytes() for name, one in made.tensors().items()
    }


@pytest.mark.parametrize("task", TASKS, ids=["two", "many", "several"])
@pytest.mark.parametrize("n_summaries", [F, 4])
def test_songs_that_are_all_alike_teach_how_common_the_classes_are(task: Task, n_summaries: int) -> None:
    """Silence, or a constant feature of one's own: no summary tells one song from another."""
    classes = np.array([0, 1, 1, 1] * 6)
    targets: Targets = np.eye(len(task.classes), dtype=np.float32)[classes] if task.several else classes
    values = np.full((len(classes), n_summaries), 3.0, np.float32)
    shares = fit(values, targets, task, CONFIG, "mean", 5).of_learners(values)
    for name, own in shares.items():
        np.testing.assert_allclose(own[:, 1], 0.75, atol=0.02, err_msg=name)


def test_few_songs_of_many_classes_are_fitted_without_a_word(recwarn: pytest.WarningsRecorder) -> None:
    """Such as artists with two songs each, of which the parts that choose a learner have one or two."""
    task, classes = Task(tuple(f"artist {number:02}" for number in range(40))), np.repeat(np.arange(40), 2)
    values = np.random.default_rng(0).normal(size=(80, F)).astype(np.float32)
    fit(values, classes, task, CONFIG, "mean", 5)
    choose(values, classes, task, CONFIG, np.arange(80) % 3)
    assert not [str(one.message) for one in recwarn]


def broken(tensors: Tensors, name: str) -> Tensors:
    own = {key: value.copy() for key, value in tensors.items()}
    if name == "a loop":
        own["trees/left"][0] = 0
    elif name == "outside":
        own["trees/right"][0] = len(own["trees/right"])
    elif name == "a summary too many":
        own["trees/feature"][0] = F
    elif name == "a class too many":
        own["trees/classes"][0] = 9
    elif name == "another length":
        own["linear/mean"] = own["linear/mean"][1:]
    elif name == "another type":
        own["trees/threshold"] = own["trees/threshold"].astype(np.float64)
    elif name == "entries":
        own["trees/starts"][1] = len(own["trees/classes"]) + 1
    elif name == "temperature":
        own["temperature"][0] = 0
    else:
        del own["linear/bias"]
    return own


@pytest.mark.parametrize(
    "name",
    [
        *("a loop", "outside", "a summary too many", "a class too many", "another length"),
        *("another type", "entries", "temperature", "missing"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name: str) -> None:
    values, targets = songs(TASKS[1])
    tensors = fit(values, targets, TASKS[1], CONFIG, "mean", 2).tensors()
    with pytest.raises(ValueError, match="array"):
        Predictor.of_tensors(broken(tensors, name), TASKS[1], SPEC, CONFIG)


def test_the_learner_is_chosen_by_parts_of_the_training_songs() -> None:
    task, rng = Task(("a", "b")), np.random.default_rng(0)
    values = rng.normal(size=(90, F)).astype(np.float32)
    straight = (values[:, :6].sum(axis=1) > 0).astype(np.int64)
    bent = (np.abs(values[:, 0]) > 0.7).astype(np.int64)
    few = values[:, :6] * 1.0
    parts = np.arange(90) % 3
    assert choose(np.pad(few, ((0, 0), (0, F - 6))), straight, task, CONFIG, parts)[0] != "trees"
    learner, scores = choose(np.pad(few[:, :1], ((0, 0), (0, F - 1))), bent, task, CONFIG, parts)
    assert learner != "linear"
    assert scores["trees"] > scores["linear"]
    assert choose(values, bent, task, CONFIG, np.zeros(90, np.int64)) == ("mean", {})


def test_a_class_that_is_in_no_part_but_one_can_be_chosen_by() -> None:
    task = Task(("a", "b", "c"))
    values, targets = songs(task, 30)
    targets[:] = np.arange(30) % 2
    targets[0] = 2
    learner, scores = choose(values, targets, task, CONFIG, np.arange(30) % 3)
    assert learner in scores
    assert all(0 <= score < 1 for score in scores.values())


def test_of_many_songs_some_are_drawn_and_every_class_is_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("songbag_training.summaries.learning.MOST_SONGS", 10)
    numbers = np.zeros(100, np.int64)
    numbers[[50, 70]] = 1, 2
    rows = drawn((np.arange(100), numbers), 100, 0)
    assert len(rows) == 10
    assert (np.diff(rows) > 0).all()
    assert {50, 70} <= set(rows.tolist())
    np.testing.assert_array_equal(rows, drawn((np.arange(100), numbers), 100, 0))
    assert len(drawn((np.arange(9), numbers[:9]), 9, 0)) == 9
