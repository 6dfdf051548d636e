from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit, log_softmax
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from songbag_training.errors import ModelError
from songbag_training.songs.task import Task

TWO, MANY = np.array([[2.0], [-1.0], [0.5]]), np.array([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0], [-1.0, 0.0, 4.0]])
HOT = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 1]], np.float32)
ONE_OF_TWO, ONE_OF_THREE = Task(("a", "b")), Task(("a", "b", "c"))
SEVERAL = Task(("a", "b", "c"), several=True)


def test_two_classes_have_one_logit_unless_a_song_may_be_of_both() -> None:
    assert [ONE_OF_TWO.n_logits, ONE_OF_THREE.n_logits] == [1, 3]
    assert [Task(("a", "b"), several=True).n_logits, SEVERAL.n_logits] == [2, 3]
    assert [ONE_OF_TWO.softmax, ONE_OF_THREE.softmax, SEVERAL.softmax] == [False, True, False]
    for several in (False, True):
        with pytest.raises(ModelError, match="1 class cannot"):
            _ = Task(("a",), several).n_logits


@pytest.mark.parametrize("task", [ONE_OF_TWO, ONE_OF_THREE, SEVERAL])
def test_a_task_is_found_again_by_its_name(task: Task) -> None:
    assert Task.named(task.name, list(task.classes)) == task
    assert task.name in ("single-label", "multi-label")


def test_labels_are_encoded() -> None:
    assert ONE_OF_TWO.encode(["b", "a", "b"]).tolist() == [1, 0, 1]
    targets = SEVERAL.encode([("a", "c"), (), ("b",)])
    assert targets.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert targets.dtype == np.float32


def test_an_unknown_class_is_an_error() -> None:
    with pytest.raises(KeyError, match="c"):
        Task(("a", "b"), several=True).encode([("a", "c")])
    with pytest.raises(KeyError, match="c"):
        ONE_OF_TWO.encode(["a", "c"])


def test_labels_come_back_from_targets() -> None:
    one, several = ["b", "a", "c"], [("a", "c"), (), ("b",)]
    assert ONE_OF_THREE.labels(ONE_OF_THREE.members(ONE_OF_THREE.encode(one))).equals(pa.array(one))
    again = SEVERAL.labels(SEVERAL.members(SEVERAL.encode(several)))
    assert again.equals(pa.array(several, SEVERAL.label_type))


def test_probabilities_are_sigmoids_or_a_softmax() -> None:
    np.testing.assert_allclose(ONE_OF_TWO.probabilities(TWO)[:, 1], expit(TWO[:, 0]))
    np.testing.assert_allclose(ONE_OF_TWO.probabilities(TWO).sum(axis=1), 1)
    np.testing.assert_allclose(ONE_OF_THREE.probabilities(MANY), np.exp(log_softmax(MANY, axis=1)))
    np.testing.assert_allclose(SEVERAL.probabilities(MANY), expit(MANY), rtol=1e-12)
    assert SEVERAL.probabilities([[-1e4, 1e4]]).tolist() == [[0, 1]]


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    numbers = np.array([0] * 7 + [1] * 2 + [2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=numbers)
    np.testing.assert_allclose(ONE_OF_THREE.balanced_weights(numbers), expected, rtol=1e-6)
    expected = [compute_class_weight("balanced", classes=np.arange(2), y=column) for column in HOT.T]
    np.testing.assert_allclose(SEVERAL.balanced_weights(HOT), expected, rtol=1e-6)


def test_losses_are_the_log_loss_of_scikit_learn() -> None:
    shares = ONE_OF_THREE.probabilities(MANY)
    assert ONE_OF_THREE.losses(np.array([1, 0, 0]), shares).mean() == pytest.approx(
        log_loss([1, 0, 0], shares, labels=[0, 1, 2])
    )
    shares = SEVERAL.probabilities(MANY)
    expected = np.mean([log_loss(HOT[:, number], shares[:, number], labels=[0, 1]) for number in range(3)])
    assert SEVERAL.losses(HOT, shares).mean() == pytest.approx(expected)


def test_the_most_probable_class_is_predicted_or_all_above_one_half() -> None:
    shares = np.array([[0.6, 0.7, 0.1], [0.2, 0.5, 0.3]])
    assert ONE_OF_THREE.labels(ONE_OF_THREE.predicted(shares)).to_pylist() == ["b", "b"]
    assert SEVERAL.labels(SEVERAL.predicted(shares)).to_pylist() == [["a", "b"], []]
