"""Trees beside the networks of one model: the mean of what both say, by the network's graph and by NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from songbag_store import FeatureSpec
from songbag_training.config import BaselineConfig
from songbag_training.evaluation.calibration import scale
from songbag_training.evaluation.score import SongScorer
from songbag_training.models.model import song_model
from songbag_training.songs.pieces import Piece
from songbag_training.songs.task import Task
from songbag_training.summaries.blend import blended
from songbag_training.summaries.learning import trees_on
from songbag_training.summaries.statistics import summarised
from songbag_training.summaries.trees import Trees
from songbag_training.types import FloatArray, Floats

SPEC = FeatureSpec(kind="logmel", n_mels=8, window_s=0.4)
TASKS = {
    "two": Task(("a", "b")),
    "three": Task(("a", "b", "c")),
    "several": Task(("a", "b", "c"), several=True),
}
SHARE = 0.3


def songs(n: int = 40) -> list[Piece]:
    """Songs of 1 to 7 windows; the level of their bands tells the class."""
    rng = np.random.default_rng(5)
    made = []
    for number in range(n):
        level = rng.normal(-40, 12, (1, *SPEC.window_shape[:1], 1))
        values = level + rng.normal(0, 8, (1 + number % 7, *SPEC.window_shape))
        made.append(Piece(f"song {number:02}", np.rint(values / SPEC.step).astype(np.int16), True))
    return made


def trees(task: Task) -> Trees:
    known = summed_up()
    levels = known[:, : len(task.classes)]
    targets: Any = (levels > -40).astype(np.float32) if task.several else levels.argmax(axis=1)
    return trees_on(known, targets, task, BaselineConfig(), 20)


def summed_up() -> FloatArray:
    return np.stack([own for _, own in summarised(songs(), SPEC, "windows")])


def mean(task: Task, own: Floats, others: Floats) -> Floats:
    """Return the weighted geometric mean of probabilities; those of trees are at least a thousandth."""
    others = np.clip(others, 1e-3, 1 - 1e-3)
    yes, no = (a ** (1 - SHARE) * b**SHARE for a, b in ((own, others), (1 - own, 1 - others)))
    return yes / (yes + no) if task.several or len(task.classes) == 2 else yes / yes.sum(axis=1, keepdims=True)


def networks(task: Task, n_members: int = 1, pooling: str = "mean") -> keras.Model:
    keras.utils.set_random_seed(1)
    model = song_model(SPEC, task, encoder="dense", n_members=n_members, pooling=pooling)
    model.get_layer("window_network").get_layer("scaling").set_statistics([-40.0] * 8, [12.0] * 8)
    model.get_layer("pooling").temperature.assign([1.7])
    return model


@pytest.mark.parametrize("n_members", [1, 2])
@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_a_song_has_the_mean_of_what_both_say_at_the_temperature(task: Task, n_members: int) -> None:
    model, own = networks(task, n_members), trees(task)
    scores = list(SongScorer(blended(model, SPEC, own, task, SHARE), task).score(songs()))
    alone = list(SongScorer(model, task).score(songs()))
    of_trees = own.probabilities(summed_up(), len(task.classes))
    at_one = np.stack([scale(task, one.probabilities[None], 1 / 1.7)[0] for one in alone])
    wanted = scale(task, mean(task, at_one, of_trees), 1.7)
    np.testing.assert_allclose(np.stack([one.probabilities for one in scores]), wanted, atol=2e-5)
    for one, other in zip(scores, alone, strict=True):
        np.testing.assert_array_equal(one.window_probabilities, other.window_probabilities)
        np.testing.assert_array_equal(one.weights, other.weights)
    assert list(scores[0].of_learners) == [*(f"member {n + 1}" for n in range(n_members)), "trees"]
    found = np.stack([one.of_learners["trees"] for one in scores])
    np.testing.assert_allclose(found, scale(task, of_trees, 1.7), atol=2e-5)


@pytest.mark.parametrize("pooling", ["mean", "attention", "max"])
@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_the_same_windows_turn_the_answer_as_by_the_graph(task: Task, pooling: str) -> None:
    scorer, n_turning = SongScorer(blended(networks(task, 2, pooling), SPEC, trees(task), task, SHARE), task), 0
    for score, outputs in scorer.scored(songs()):
        if (n := len(score.weights)) > 1:
            without = task.predicted(scorer.without(outputs, np.eye(n, dtype=bool)))
            said = task.predicted(score.probabilities[None])[0]
            found = score.turning()
            assert sorted(found) == np.flatnonzero((without != said).any(axis=1)).tolist()
            n_turning += len(found)
    assert n_turning


def test_embeddings_and_vectors_are_those_of_the_networks_alone() -> None:
    task = TASKS["three"]
    model = networks(task, 2)
    alone, both = SongScorer(model, task), SongScorer(blended(model, SPEC, trees(task), task, SHARE), task)
    assert both.width == alone.width
    for (_, own), (_, other) in zip(both.embeddings(songs()), alone.embeddings(songs()), strict=True):
        np.testing.assert_array_equal(own, other)
    for (_, one), (_, another) in zip(both.vectors(songs()), alone.vectors(songs()), strict=True):
        np.testing.assert_allclose(one, another, atol=1e-6)
