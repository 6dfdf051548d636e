from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from scipy.special import expit, log_expit, log_softmax
from sklearn.utils.class_weight import compute_class_weight

from songbag_training.errors import ModelError
from songbag_training.models.task import (
    SongAccuracy,
    SongLoss,
    balanced_weights,
    n_logits,
    predicted_labels,
    probabilities,
)
from songbag_training.types import Task

TWO, MANY = np.array([[2.0], [-1.0], [0.5]]), np.array([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0], [-1.0, 0.0, 4.0]])
HOT = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 1]], np.float32)


def test_two_classes_have_one_logit_unless_a_song_may_be_of_both() -> None:
    assert [n_logits(n) for n in (2, 3)] == [1, 3]
    assert [n_logits(n, "multi-label") for n in (2, 3)] == [2, 3]
    for task in ("single-label", "multi-label"):
        with pytest.raises(ModelError, match="1 classes"):
            n_logits(1, task)  # type: ignore[arg-type]


def test_probabilities_are_sigmoids_or_a_softmax() -> None:
    np.testing.assert_allclose(probabilities(TWO)[:, 1], expit(TWO[:, 0]))
    np.testing.assert_allclose(probabilities(TWO).sum(axis=1), 1)
    np.testing.assert_allclose(probabilities(MANY), np.exp(log_softmax(MANY, axis=1)))
    np.testing.assert_allclose(probabilities(MANY, "multi-label"), expit(MANY), rtol=1e-12)
    assert probabilities([[-1e4, 1e4]], "multi-label").tolist() == [[0, 1]]


def test_the_loss_is_the_cross_entropy_of_the_task() -> None:
    losses = -np.log(probabilities(TWO)[range(3), [1, 0, 0]])
    np.testing.assert_allclose(SongLoss(2)(np.array([1, 0, 0]), TWO), losses.mean(), rtol=1e-6)
    losses = -np.log(probabilities(MANY)[range(3), [1, 0, 0]])
    np.testing.assert_allclose(SongLoss(3)(np.array([1, 0, 0]), MANY), losses.mean(), rtol=1e-6)
    losses = -(HOT * log_expit(MANY) + (1 - HOT) * log_expit(-MANY))
    np.testing.assert_allclose(SongLoss(3, "multi-label")(HOT, MANY), losses.mean(), rtol=1e-6)


@pytest.mark.parametrize(("logits", "n_classes"), [(TWO, 2), (MANY, 3)])
def test_class_numbers_may_come_in_any_shape_and_as_shares(logits: Any, n_classes: int) -> None:
    numbers = np.array([1, 0, 1])
    shares = numbers[:, None] if n_classes == 2 else np.eye(n_classes)[numbers]
    forms = (numbers, numbers[:, None], numbers.astype(np.float32), shares.astype(np.float32))
    for kind in (SongLoss(n_classes, class_weights=range(1, n_classes + 1)), SongAccuracy(n_classes)):
        values = []
        for form in forms:
            if isinstance(kind, SongAccuracy):
                kind.reset_state()
            values.append(float(kind(form, logits)))
        np.testing.assert_allclose(values, values[0], rtol=1e-6)


def test_mixed_songs_have_the_mixed_loss() -> None:
    for logits, ends in ((TWO, ([[0.0]] * 3, [[1.0]] * 3)), (MANY, (np.eye(3), np.eye(3)[::-1]))):
        loss = SongLoss(len(logits[0]) if len(logits[0]) > 1 else 2)
        first, second = (np.array(end, np.float32) for end in ends)
        expected = 0.3 * loss(first, logits) + 0.7 * loss(second, logits)
        np.testing.assert_allclose(loss(0.3 * first + 0.7 * second, logits), expected, rtol=1e-5)


def test_label_smoothing_gives_a_share_to_every_answer() -> None:
    smooth = SongLoss(3, label_smoothing=0.3)(np.array([1, 0, 0]), MANY)
    targets = np.eye(3)[[1, 0, 0]] * 0.7 + 0.1
    np.testing.assert_allclose(smooth, -(targets * log_softmax(MANY, axis=1)).sum(axis=1).mean(), rtol=1e-6)
    smooth = SongLoss(3, "multi-label", label_smoothing=0.2)(HOT, MANY)
    targets = HOT * 0.8 + 0.1
    np.testing.assert_allclose(
        smooth, -(targets * log_expit(MANY) + (1 - targets) * log_expit(-MANY)).mean(), rtol=1e-6
    )


@pytest.mark.parametrize(("logits", "n_classes"), [(TWO, 2), (MANY, 3)])
def test_songs_count_by_the_weight_of_their_class(logits: Any, n_classes: int) -> None:
    weights, numbers = [0.5, 3.0, 1.5][:n_classes], [1, 0, 1]
    losses = -np.log(probabilities(logits)[range(3), numbers])
    expected = (np.array(weights)[numbers] * losses).mean()
    np.testing.assert_allclose(SongLoss(n_classes, class_weights=weights)(np.array(numbers), logits), expected, 1e-6)


def test_of_several_classes_each_answer_counts_by_its_weight() -> None:
    weights = np.array([[1.0, 2.0], [0.5, 4.0], [1.0, 3.0]])
    losses = -(HOT * log_expit(MANY) * weights[:, 1] + (1 - HOT) * log_expit(-MANY) * weights[:, 0])
    loss = SongLoss(3, "multi-label", class_weights=weights)
    np.testing.assert_allclose(loss(HOT, MANY), losses.mean(), rtol=1e-6)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    numbers = np.array([0] * 7 + [1] * 2 + [2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=numbers)
    np.testing.assert_allclose(balanced_weights(numbers, 3), expected, rtol=1e-6)
    expected = [compute_class_weight("balanced", classes=np.arange(2), y=column) for column in HOT.T]
    np.testing.assert_allclose(balanced_weights(HOT, 3, "multi-label"), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("task", "labels", "logits", "expected"),
    [
        ("single-label", [1, 1, 0], TWO, 1 / 3),
        ("single-label", [1, 1, 2], MANY, 2 / 3),
        ("multi-label", HOT, MANY, 5 / 9),
    ],
)
def test_the_accuracy_is_the_share_of_right_answers(task: Task, labels: Any, logits: Any, expected: float) -> None:
    accuracy = SongAccuracy(2 if logits is TWO else 3, task)
    assert float(accuracy(np.array(labels), logits)) == pytest.approx(expected)
    predicted = probabilities(logits, task)
    right = (predicted > 0.5) == labels if task == "multi-label" else predicted.argmax(axis=1) == labels
    assert np.mean(right) == pytest.approx(expected)


def test_the_most_probable_class_is_predicted_or_all_above_one_half() -> None:
    shares = np.array([[0.6, 0.7, 0.1], [0.2, 0.5, 0.3]])
    assert predicted_labels(shares, ["a", "b", "c"], "single-label").to_pylist() == ["b", "b"]
    assert predicted_labels(shares, ["a", "b", "c"], "multi-label").to_pylist() == [["a", "b"], []]


@pytest.mark.parametrize(
    "kind",
    [
        SongLoss(3, "multi-label", class_weights=[[1, 2]] * 3, label_smoothing=0.1),
        SongLoss(2),
        SongAccuracy(4, "multi-label"),
    ],
)
def test_losses_and_metrics_survive_keras_serialisation(kind: Any) -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(kind))
    assert type(again) is type(kind)
    assert again.get_config() == kind.get_config()
