from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from songbag_training.metrics import confusion_matrix, format_confusion, format_metrics, song_metrics


@pytest.fixture
def case() -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    rng = np.random.default_rng(0)
    return np.r_[rng.integers(0, 4, 60), np.arange(4)], rng.dirichlet(np.ones(4), 64)


def test_song_metrics_equal_those_of_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:  # type: ignore[type-arg]
    true, shares = case
    own, predicted = song_metrics(true, shares), shares.argmax(axis=1)
    assert own["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(true, predicted))
    assert own["balanced_accuracy"] == pytest.approx(sklearn_metrics.balanced_accuracy_score(true, predicted))
    assert own["macro_f1"] == pytest.approx(sklearn_metrics.f1_score(true, predicted, average="macro"))
    assert own["log_loss"] == pytest.approx(sklearn_metrics.log_loss(true, shares))
    expected = sklearn_metrics.confusion_matrix(true, predicted)
    np.testing.assert_array_equal(confusion_matrix(true, predicted, 4), expected)


def test_a_class_that_does_not_occur_does_not_count_as_missed() -> None:
    own = song_metrics(np.array([0, 0]), np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0]]))
    assert (own["balanced_accuracy"], own["macro_f1"]) == (1.0, 1.0)


def test_a_certain_error_has_a_finite_log_loss() -> None:
    assert np.isfinite(song_metrics(np.array([0]), np.array([[0.0, 1.0]]))["log_loss"])


def test_no_songs_have_no_metrics() -> None:
    own = song_metrics(np.zeros(0, np.int64), np.zeros((0, 3)))
    assert own["n"] == 0
    assert own["accuracy"] is None
    assert "-" in format_metrics({"test": {"song": own, "window": {"accuracy": None, "n": 0}}})


def test_a_confusion_matrix_is_printed_with_true_classes_as_rows() -> None:
    text = format_confusion(np.array([[5, 1], [0, 12]]), ["folk", "rock"])
    assert text.splitlines()[1:] == ["  1 folk   5   1", "  2 rock   .  12"]
