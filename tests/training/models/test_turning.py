"""Which windows turn the answer, as what the network makes of windows tells it, against the network's own pooling."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import keras
import numpy as np
import pytest

from songbag_store import FeatureSpec
from songbag_training.evaluation.score import SongScorer
from songbag_training.models.model import song_model
from songbag_training.models.turning import TOLD, Answer, Outputs, turning
from songbag_training.songs.pieces import Piece
from songbag_training.songs.task import Task
from songbag_training.types import Floats, Ints

SPEC = FeatureSpec(kind="logmel", n_mels=16, window_s=0.4)
TASKS = {
    "two": Task(("a", "b")),
    "three": Task(("a", "b", "c")),
    "several": Task(("a", "b", "c"), several=True),
    "thresholds": Task(("a", "b"), thresholds=(0.3, 0.7)),
}


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("kind", TOLD)
def test_the_same_windows_turn_the_answer_as_by_the_pooling(kind: str, n_members: int) -> None:
    n_turning = 0
    for task in TASKS.values():
        keras.utils.set_random_seed(1)
        model = song_model(SPEC, task, encoder="dense", n_members=n_members, pooling=kind)
        model.get_layer("pooling").temperature.assign([1.7])
        scorer = SongScorer(model, task)
        for score, outputs in scorer.scored(_songs(n_windows=6)):
            without = task.predicted(scorer.without(outputs, np.eye(6, dtype=bool)))
            said = task.predicted(score.probabilities[None])[0]
            found = score.turning()
            assert sorted(found) == np.flatnonzero((without != said).any(axis=1)).tolist()
            for window, names in found.items():
                assert names == tuple(np.array(task.classes)[without[window]])
            n_turning += len(found)
    assert n_turning


def test_of_other_poolings_and_of_a_single_window_nothing_is_told() -> None:
    scorer = SongScorer(song_model(SPEC, TASKS["three"], pooling="noisy-or"), TASKS["three"])
    assert [score.turning() for score in scorer.score(_songs(n_windows=6, n_songs=2))] == [{}, {}]
    assert (
        turning(TASKS["two"], "mean", [Outputs(np.ones(1), np.array([[0.4]]))], _answer(TASKS["two"]), _unasked) == {}
    )


def test_a_window_that_has_nearly_all_the_weight_is_asked_of_the_network() -> None:
    task, logits = TASKS["three"], np.array([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 4.0, 0.0]])
    asked = list[int]()

    def without(windows: Ints) -> Floats:
        asked.extend(windows.tolist())
        return np.array([[0.1, 0.2, 0.7]])

    heavy = Outputs(np.array([1.0, 0.0, 0.0]), logits)
    assert turning(task, "attention", [heavy], _answer(task), without) == {0: ("c",)}
    assert asked == [0]
    light = Outputs(np.array([0.6, 0.3, 0.1]), logits)
    assert turning(task, "attention", [light], _answer(task), _unasked) == {0: ("b",)}


@pytest.mark.parametrize("kind", ["mean", "max"])
def test_a_long_song_is_taken_in_blocks(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    members = [Outputs(np.full(50, 0.02), rng.normal(size=(50, 3)) + 0.2) for _ in range(3)]
    for task in (TASKS["three"], TASKS["several"]):
        whole = turning(task, kind, members, _answer(task), _unasked)
        with monkeypatch.context() as patched:
            patched.setattr("songbag_training.models.turning._BLOCK_VALUES", 21)
            assert turning(task, kind, members, _answer(task), _unasked) == whole


def _answer(task: Task) -> Answer:
    return lambda logits, block: task.probabilities(logits)


def _unasked(windows: Ints) -> Floats:
    raise AssertionError(windows)


def _songs(n_windows: int, n_songs: int = 30) -> Iterator[Piece]:
    piece, rng = Piece("", np.zeros((0,)), last=True), np.random.default_rng(3)
    for number in range(n_songs):
        windows = rng.integers(-200, 200, (n_windows, *SPEC.window_shape)).astype(np.int16)
        yield dataclasses.replace(piece, song_id=str(number), windows=windows)
