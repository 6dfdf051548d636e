"""Metrics against cases that were computed by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from songbag_training.evaluation.metrics import (
    calibration_gaps,
    class_metrics,
    confusion_matrix,
    metric_names,
    ranking_metrics,
    song_metrics,
)
from songbag_training.evaluation.window_metrics import WindowMetrics
from songbag_training.songs.task import Task

THREE = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.5, 0.2, 0.3], [0.2, 0.2, 0.6]])
ONE_OF_TWO, ONE_OF_THREE = Task(("folk", "jazz")), Task(("folk", "jazz", "rock"))
SEVERAL = dataclasses.replace(ONE_OF_THREE, several=True)
TRUE = np.array([0, 0, 1, 1, 2, 2])


def test_metrics_of_six_songs_are_those_worked_out_by_hand() -> None:
    # Right: the 1st, 3rd, 4th and 6th. Recall 1/2, 1, 1/2; precision 1/2, 2/3, 1.
    own = song_metrics(ONE_OF_THREE, TRUE, THREE)
    assert own["accuracy"] == pytest.approx(4 / 6)
    assert own["balanced_accuracy"] == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert own["macro_f1"] == pytest.approx((1 / 2 + 4 / 5 + 2 / 3) / 3)
    assert own["log_loss"] == pytest.approx(-np.log([0.8, 0.3, 0.7, 0.8, 0.3, 0.6]).mean())
    # Pairs in order: class 0, 0.8 above all and 0.3 above 3 of 4; class 1 all; class 2 all.
    assert own["roc_auc"] == pytest.approx((7 / 8 + 1 + 1) / 3)
    # Class 0: the members come 1st and 3rd.
    assert own["average_precision"] == pytest.approx(((1 + 2 / 3) / 2 + 1 + 1) / 3)
    assert own["n"] == 6


def test_of_two_classes_the_second_is_ranked() -> None:
    shares = np.array([0.9, 0.4, 0.6, 0.2])
    own = song_metrics(ONE_OF_TWO, np.array([1, 1, 0, 0]), np.stack([1 - shares, shares], axis=1))
    assert own["roc_auc"] == pytest.approx(3 / 4)
    assert own["average_precision"] == pytest.approx((1 + 2 / 3) / 2)


def test_metrics_of_songs_of_several_classes_are_those_worked_out_by_hand() -> None:
    true = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 0]], np.float32)
    shares = np.array([[0.9, 0.2, 0.8], [0.1, 0.1, 0.1], [0.6, 0.4, 0.2], [0.7, 0.8, 0.3]])
    own = song_metrics(SEVERAL, true, shares)
    # Wrong: song 3 is said to be of the first class, and not of the second.
    assert own["accuracy"] == pytest.approx(10 / 12)
    assert own["subset_accuracy"] == pytest.approx(3 / 4)
    assert own["micro_f1"] == pytest.approx(2 * 4 / (2 * 4 + 1 + 1))
    assert own["macro_f1"] == pytest.approx((4 / 5 + 2 / 3 + 1) / 3)
    assert own["roc_auc"] == own["average_precision"] == 1.0
    of_truth = [0.9, 0.8, 0.8, 0.9, 0.9, 0.9, 0.4, 0.4, 0.8, 0.7, 0.8, 0.7]
    assert own["log_loss"] == pytest.approx(-np.log(of_truth).mean())


def test_the_calibration_error_is_the_gap_between_confidence_and_hits() -> None:
    # Two bins: 4 answers at 0.9 of which 2 are right, 2 at 0.5 of which 1 is.
    hits, confidence = np.array([1, 1, 0, 0, 1, 0]), np.array([0.9, 0.9, 0.9, 0.9, 0.5, 0.5])
    assert np.abs(calibration_gaps(hits, confidence)).sum() / 6 == pytest.approx(4 / 6 * 0.4)
    assert not calibration_gaps(np.ones(3), np.ones(3)).any()


def test_a_class_that_does_not_occur_does_not_count_as_missed() -> None:
    own = song_metrics(ONE_OF_THREE, np.array([0, 0]), np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0]]))
    assert (own["balanced_accuracy"], own["macro_f1"]) == (1.0, 1.0)
    assert (own["roc_auc"], own["average_precision"]) == (None, None)


def test_a_predicted_class_that_does_not_occur_counts_as_wrong() -> None:
    own = song_metrics(ONE_OF_THREE, np.array([0, 0]), np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]]))
    assert (own["balanced_accuracy"], own["macro_f1"]) == (0.5, pytest.approx((2 / 3 + 0) / 2))


def test_a_certain_error_has_a_finite_log_loss() -> None:
    assert np.isfinite(song_metrics(ONE_OF_TWO, np.array([0]), np.array([[0.0, 1.0]]))["log_loss"])


@pytest.mark.parametrize("task", [ONE_OF_THREE, SEVERAL])
def test_no_songs_have_no_metrics(task: Task) -> None:
    own = song_metrics(task, task.encode([]), np.zeros((0, 3)))
    assert own == dict.fromkeys(metric_names(task)) | {"n": 0}
    assert WindowMetrics(task).metrics() == own
    nothing = {"precision": None, "recall": None, "f1": None, "n": 0}
    assert class_metrics(task, task.encode([]), np.zeros((0, 3))) == dict.fromkeys(task.classes, nothing)


def test_every_class_has_precision_recall_and_f1() -> None:
    own = class_metrics(ONE_OF_THREE, TRUE, THREE)
    assert own["jazz"] == {"precision": pytest.approx(2 / 3), "recall": 1.0, "f1": pytest.approx(4 / 5), "n": 2}
    several = class_metrics(
        dataclasses.replace(ONE_OF_TWO, several=True), np.array([[1, 0], [1, 0]]), np.array([[0.9, 0.1], [0.1, 0.1]])
    )
    assert several["folk"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "n": 2}
    assert several["jazz"] == {"precision": None, "recall": None, "f1": None, "n": 0}


def test_the_confusion_matrix_has_true_classes_as_rows() -> None:
    assert confusion_matrix(ONE_OF_THREE, TRUE, THREE).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]


def test_weights_count_songs_as_often_as_they_say() -> None:
    own, scores = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.4, 0.1])
    weights = np.array([2.0, 1.0, 3.0, 2.0])
    often = np.repeat(np.arange(4), weights.astype(int))
    assert ranking_metrics([own], [scores], [weights]) == pytest.approx(ranking_metrics([own[often]], [scores[often]]))


@pytest.mark.parametrize(("n_classes", "several"), [(2, False), (5, False), (4, True)])
def test_windows_summed_up_song_by_song_have_the_metrics_of_all_at_once(n_classes: int, several: bool) -> None:
    rng = np.random.default_rng(0)
    n_windows = rng.integers(1, 40, 60)
    logits = rng.normal(0, 2, (60, n_classes))
    true = (logits > 1).astype(np.float32) if several else logits.argmax(axis=1)
    task = Task(tuple("abcde"[:n_classes]), several)
    sums, all_true, all_shares = WindowMetrics(task), [], []
    for row, n in enumerate(n_windows.tolist()):
        noisy = logits[row] + rng.normal(0, 3, (n, n_classes))
        powers = np.exp(noisy)
        shares = powers / (1 + powers) if several else powers / powers.sum(axis=1, keepdims=True)
        sums.add(true[row : row + 1], shares)
        all_true += [true[row]] * n
        all_shares.append(shares)
    expected = song_metrics(task, np.array(all_true), np.concatenate(all_shares))
    own = sums.metrics()
    for name, value in expected.items():
        assert own[name] == pytest.approx(value, abs=1e-3 if name in ("roc_auc", "average_precision") else 1e-9), name
