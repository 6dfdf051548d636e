"""Thresholds of best F1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from songbag_training.evaluation.metrics import song_metrics
from songbag_training.evaluation.thresholds import with_best_f1
from songbag_training.songs.task import Task

TWO, TAGS = Task(("no", "yes")), Task(("a", "b", "c"), several=True)


def f1_score(own: Any, said: Any) -> float:
    return 2 * float((own * said).sum()) / max(float(own.sum() + said.sum()), 1)


@pytest.mark.parametrize("digits", [1, 6])
def test_no_threshold_has_a_better_f1(rng: np.random.Generator, digits: int) -> None:
    for n in range(4, 24):
        shares = np.round(rng.random((n, 3)), digits)
        true = (rng.random((n, 3)) < 0.4).astype(np.float32)
        task, few = with_best_f1(TAGS, true, shares)
        for name, own, p, chosen in zip(TAGS.classes, true.T, shares.T, task.thresholds, strict=True):
            scores = {t: f1_score(own, p > t) for t in (chosen, 0.5, 0.0, *p)}
            assert name in few or scores[chosen] == pytest.approx(max(scores.values()))
            assert chosen == 0.5 or scores[0.5] < scores[chosen]


def test_two_classes_share_the_threshold_of_the_best_mean_f1(rng: np.random.Generator) -> None:
    for n in range(6, 26):
        second, true = np.round(rng.random(n), 1), rng.integers(0, 2, n)
        shares = np.stack([1 - second, second], axis=1)
        task, few = with_best_f1(TWO, true, shares)
        own = song_metrics(task, true, shares)["macro_f1"]
        scores = [f1_score(true, second > t) + f1_score(1 - true, second <= t) for t in (0.5, 0.0, *second)]
        assert few or own == pytest.approx(max(scores) / 2)
        assert sum(task.thresholds) == 1


def test_the_middle_between_two_probabilities_is_taken() -> None:
    true = np.array([[1], [1], [0], [0]]) * np.ones(3)
    shares = np.array([[0.9, 0.4, 0.6], [0.3, 0.3, 0.3], [0.1, 0.1, 0.2], [0.0, 0.0, 0.0]])
    task, few = with_best_f1(TAGS, true, shares)
    assert (task.thresholds, few) == (pytest.approx((0.2, 0.2, 0.25)), [])


def test_one_half_is_kept_where_it_is_as_good() -> None:
    true = np.array([[1], [1], [0], [0]]) * np.ones(3)
    shares = np.array([[0.9, 0.7, 0.2], [0.8, 0.6, 0.9], [0.2, 0.5, 0.8], [0.1, 0.1, 0.7]])
    # To predict the last class for one song is as good as for all four.
    assert with_best_f1(TAGS, true, shares)[0].thresholds == pytest.approx((0.5, 0.5, 0.85))


@pytest.mark.parametrize("n_having", [0, 1, 3, 4])
def test_too_few_songs_choose_nothing(n_having: int) -> None:
    true = np.zeros((4, 3), np.float32)
    true[:2] = 1
    true[:, 1] = np.arange(4) < n_having
    task, few = with_best_f1(TAGS, true, np.full((4, 3), 0.01) * np.arange(4, 0, -1)[:, None])
    assert (few, task.thresholds[1]) == (["b"], 0.5)
    assert task.thresholds[0] == task.thresholds[2] < 0.5
    shares = np.array([[0.9, 0.1]] * 4)
    assert with_best_f1(TWO, true[:, 1].astype(np.int64), shares)[0].thresholds == (0.5, 0.5)


def test_thresholds_change_answers_and_not_the_metrics_of_probabilities(rng: np.random.Generator) -> None:
    shares = rng.random((50, 3))
    true = (rng.random((50, 3)) < 0.3).astype(np.float32)
    plain, own = song_metrics(TAGS, true, shares), song_metrics(with_best_f1(TAGS, true, shares)[0], true, shares)
    assert own["macro_f1"] > plain["macro_f1"]
    assert own["accuracy"] != plain["accuracy"]
    for name in ("roc_auc", "average_precision", "log_loss", "ece"):
        assert own[name] == plain[name]
