from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from scipy.special import log_expit, log_softmax

from songbag_training.models.loss import SongAccuracy, SongLoss
from songbag_training.songs.task import Task

TWO, MANY = np.array([[2.0], [-1.0], [0.5]]), np.array([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0], [-1.0, 0.0, 4.0]])
HOT = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 1]], np.float32)
ONE_OF_TWO, ONE_OF_THREE = Task(("a", "b")), Task(("a", "b", "c"))
SEVERAL = Task(("a", "b", "c"), several=True)


def test_the_loss_is_the_cross_entropy_of_the_task() -> None:
    losses = -np.log(ONE_OF_TWO.probabilities(TWO)[range(3), [1, 0, 0]])
    np.testing.assert_allclose(SongLoss(ONE_OF_TWO.softmax)(np.array([1, 0, 0]), TWO), losses.mean(), rtol=1e-6)
    losses = -np.log(ONE_OF_THREE.probabilities(MANY)[range(3), [1, 0, 0]])
    np.testing.assert_allclose(SongLoss(ONE_OF_THREE.softmax)(np.array([1, 0, 0]), MANY), losses.mean(), rtol=1e-6)
    losses = -(HOT * log_expit(MANY) + (1 - HOT) * log_expit(-MANY))
    np.testing.assert_allclose(SongLoss(SEVERAL.softmax)(HOT, MANY), losses.mean(), rtol=1e-6)


@pytest.mark.parametrize(("logits", "task"), [(TWO, ONE_OF_TWO), (MANY, ONE_OF_THREE)])
def test_class_numbers_may_come_in_any_shape_and_as_shares(logits: Any, task: Task) -> None:
    n_classes = len(task.classes)
    numbers = np.array([1, 0, 1])
    shares = numbers[:, None] if n_classes == 2 else np.eye(n_classes)[numbers]
    forms = (numbers, numbers[:, None], numbers.astype(np.float32), shares.astype(np.float32))
    for kind in (SongLoss(task.softmax, class_weights=range(1, n_classes + 1)), SongAccuracy(task.softmax)):
        values = []
        for form in forms:
            if isinstance(kind, SongAccuracy):
                kind.reset_state()
            values.append(float(kind(form, logits)))
        np.testing.assert_allclose(values, values[0], rtol=1e-6)


def test_mixed_songs_have_the_mixed_loss() -> None:
    for logits, ends in ((TWO, ([[0.0]] * 3, [[1.0]] * 3)), (MANY, (np.eye(3), np.eye(3)[::-1]))):
        loss = SongLoss(softmax=logits is MANY)
        first, second = (np.array(end, np.float32) for end in ends)
        expected = 0.3 * loss(first, logits) + 0.7 * loss(second, logits)
        np.testing.assert_allclose(loss(0.3 * first + 0.7 * second, logits), expected, rtol=1e-5)


def test_label_smoothing_gives_a_share_to_every_answer() -> None:
    smooth = SongLoss(ONE_OF_THREE.softmax, label_smoothing=0.3)(np.array([1, 0, 0]), MANY)
    targets = np.eye(3)[[1, 0, 0]] * 0.7 + 0.1
    np.testing.assert_allclose(smooth, -(targets * log_softmax(MANY, axis=1)).sum(axis=1).mean(), rtol=1e-6)
    smooth = SongLoss(SEVERAL.softmax, label_smoothing=0.2)(HOT, MANY)
    targets = HOT * 0.8 + 0.1
    np.testing.assert_allclose(
        smooth, -(targets * log_expit(MANY) + (1 - targets) * log_expit(-MANY)).mean(), rtol=1e-6
    )


@pytest.mark.parametrize(("logits", "task"), [(TWO, ONE_OF_TWO), (MANY, ONE_OF_THREE)])
def test_songs_count_by_the_weight_of_their_class(logits: Any, task: Task) -> None:
    weights, numbers = [0.5, 3.0, 1.5][: len(task.classes)], [1, 0, 1]
    losses = -np.log(task.probabilities(logits)[range(3), numbers])
    expected = (np.array(weights)[numbers] * losses).mean()
    np.testing.assert_allclose(SongLoss(task.softmax, class_weights=weights)(np.array(numbers), logits), expected, 1e-6)


def test_of_several_classes_each_answer_counts_by_its_weight() -> None:
    weights = np.array([[1.0, 2.0], [0.5, 4.0], [1.0, 3.0]])
    losses = -(HOT * log_expit(MANY) * weights[:, 1] + (1 - HOT) * log_expit(-MANY) * weights[:, 0])
    loss = SongLoss(SEVERAL.softmax, class_weights=weights)
    np.testing.assert_allclose(loss(HOT, MANY), losses.mean(), rtol=1e-6)


@pytest.mark.parametrize(
    ("task", "labels", "logits", "expected"),
    [
        (ONE_OF_TWO, [1, 1, 0], TWO, 1 / 3),
        (ONE_OF_THREE, [1, 1, 2], MANY, 2 / 3),
        (SEVERAL, HOT, MANY, 5 / 9),
    ],
)
def test_the_accuracy_is_the_share_of_right_answers(task: Task, labels: Any, logits: Any, expected: float) -> None:
    accuracy = SongAccuracy(task.softmax)
    assert float(accuracy(np.array(labels), logits)) == pytest.approx(expected)
    assert task.right(np.array(labels), task.probabilities(logits)).mean() == pytest.approx(expected)


@pytest.mark.parametrize(
    "kind",
    [
        SongLoss(False, class_weights=[[1, 2]] * 3, label_smoothing=0.1),
        SongLoss(True),
        SongAccuracy(False),
    ],
)
def test_losses_and_metrics_survive_keras_serialisation(kind: Any) -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(kind))
    assert type(again) is type(kind)
    assert again.get_config() == kind.get_config()
