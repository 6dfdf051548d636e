"""Intervals hold the truth as often as they say, or are left out with the reason."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, balanced_accuracy_score, f1_score

from benchmarks.intervals import class_sizes, confusion, covered, judged, metrics_of, named, of_pairs
from songbag_training.evaluation.headline import headline, interval_lines, small_notes
from songbag_training.evaluation.influence import influences
from songbag_training.evaluation.intervals import class_intervals, paired_intervals, song_intervals, wilson
from songbag_training.evaluation.metrics import class_metrics, song_metrics
from songbag_training.songs.task import Task
from songbag_training.types import Floats

TWO, THREE = Task(("x", "y")), Task(("x", "y", "z"))
SEVERAL = dataclasses.replace(THREE, several=True)


def some_answers(n: int, several: bool, seed: int = 0) -> tuple[Any, Floats]:
    """Return labels of three classes, and probabilities of a model that is often right."""
    rng = np.random.default_rng(seed)
    if several:
        own = (rng.random((n, 3)) < 0.4).astype(np.float32)
        return own, 1 / (1 + np.exp(-rng.normal(2 * own - 1, 1.5)))
    true = rng.integers(0, 3, n)
    shares = rng.dirichlet(np.ones(3), n) + 0.6 * np.eye(3)[true]
    return true, shares / shares.sum(axis=1, keepdims=True)


def test_the_interval_of_a_share_is_that_of_wilson() -> None:
    # R. Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17, 1998, table I.
    known = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (0, 20): (0, 0.1611), (1, 29): (0.0061, 0.1718)}
    for (hits, n), ends in known.items():
        assert wilson(hits / n, n) == pytest.approx(ends, abs=1e-4)
        # Its ends are the shares that a test by the normal distribution just does not reject.
        for end in ends:
            if 0 < end < 1:
                assert abs(hits / n - end) == pytest.approx(norm.ppf(0.975) * (end * (1 - end) / n) ** 0.5, rel=2e-3)


@pytest.mark.parametrize("task", [THREE, SEVERAL], ids=["one class", "several"])
def test_values_are_those_of_scikit_learn_and_lie_in_their_intervals(task: Task) -> None:
    true, shares = some_answers(200, task.several)
    found = song_intervals(task, true, shares)
    metrics = song_metrics(task, true, shares)
    assert found.values == pytest.approx({name: metrics[name] for name in found.values}, abs=1e-12)
    own, said = task.members(true), task.predicted(shares)
    assert found.values["macro_f1"] == pytest.approx(f1_score(own, said, average="macro"), abs=1e-12)
    if task.several:
        ranked = average_precision_score(own, shares, average="macro")
        assert found.values["average_precision"] == pytest.approx(ranked, abs=1e-12)
    else:
        recall = balanced_accuracy_score(true, shares.argmax(axis=1))
        assert found.values["balanced_accuracy"] == pytest.approx(recall, abs=1e-12)
    more = song_intervals(task, *some_answers(2000, task.several))
    for name, ends in found.ends.items():
        assert ends is not None
        assert ends[0] < found.values[name] < ends[1]
        assert np.ptp(more.ends[name] or []) < np.ptp(ends) / 2


@pytest.mark.parametrize("task", [THREE, SEVERAL], ids=["one class", "several"])
def test_influences_are_the_derivatives_of_the_metrics(task: Task) -> None:
    """The influence of a song is what its metric changes by if the song counts a little more."""
    true, shares = some_answers(300, task.several, seed=3)
    shares = np.round(shares, 1)  # some scores are equal
    own, said = task.members(true), task.predicted(shares)
    found = influences(task, own, said, shares, np.arange(300))

    def macro(weights: Floats) -> dict[str, float]:
        values = {"macro_f1": float(f1_score(own, said, average="macro", sample_weight=weights))}
        if task.several:
            ranked = average_precision_score(own, shares, average="macro", sample_weight=weights)
            return values | {"average_precision": float(ranked)}
        return {"balanced_accuracy": float(balanced_accuracy_score(true, said.argmax(axis=1), sample_weight=weights))}

    for song in range(0, 300, 29):
        step = 1e-4 * np.eye(300)[song]
        up, down = macro(1 + step), macro(1 - step)
        for name, value in up.items():
            slope = (value - down[name]) / 2e-4
            # They are taken with the added answers, which are two of three hundred songs.
            assert found[name].songs[song] == pytest.approx(slope, rel=0.1, abs=2e-4), name


@pytest.mark.fault(109)
def test_a_class_of_few_songs_leaves_means_over_classes_without_an_interval() -> None:
    true = np.array([0] * 60 + [1])
    shares = np.tile([0.9, 0.1], (61, 1))
    found = song_intervals(TWO, true, shares)
    assert found.values["balanced_accuracy"] == 0.5
    assert found.ends["balanced_accuracy"] is found.ends["macro_f1"] is None
    assert found.reasons["balanced_accuracy"] == "fewer than 5 songs of 'y' (1)"
    low, high = found.ends["accuracy"] or (0, 0)
    assert 0.9 < low < 60 / 61 < high < 1
    metrics = {
        "song": song_metrics(TWO, true, shares),
        "intervals": found.ends,
        "without_interval": found.reasons,
        "classes": class_metrics(TWO, true, shares),
    }
    assert "balanced_accuracy 0.500, no interval: fewer than 5 songs of 'y' (1)" in interval_lines(metrics)
    assert "balanced accuracy 0.50 (no interval)" in headline(metrics["song"], found.ends)
    assert small_notes(metrics)[0].startswith("note: fewer than 5 songs of 'y' (1) are tested: ")
    assert small_notes(metrics | {"classes": {"x": {"n": 60}, "y": {"n": 5}}, "without_interval": {}}) == []


@pytest.mark.fault(109)
@pytest.mark.parametrize("n_rare", [5, 10, 20])
def test_a_model_that_never_finds_a_class_is_not_said_to_find_it_perhaps_always(n_rare: int) -> None:
    true = np.array([0] * 60 + [1] * n_rare)
    low, high = song_intervals(TWO, true, np.tile([0.9, 0.1], (len(true), 1))).ends["balanced_accuracy"] or (0, 1)
    # A class whose recall is r is missed n times in a row once in 40 times at (1 - r)**n = 0.025.
    assert 0.3 < low < 0.5 < high < (1 + 1 - 0.025 ** (1 / n_rare)) / 2 + 0.03


@pytest.mark.parametrize("task", [TWO, THREE, SEVERAL], ids=["two", "three", "several"])
@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("n_each", [1, 5, 30])
def test_songs_without_a_mistake_or_without_a_hit_leave_doubt(task: Task, right: bool, n_each: int) -> None:
    n_classes = len(task.classes)
    true = np.arange(n_each * n_classes) % n_classes
    own = np.eye(n_classes)[true]
    shares = 0.05 + 0.9 * (own if right else np.roll(own, 1, axis=1))
    found = song_intervals(task, own if task.several else true, shares)
    for name, ends in found.ends.items():
        if ends is None:
            assert n_each < (10 if name == "average_precision" else 5)
            continue
        assert np.isfinite(ends).all()
        assert 0 <= ends[0] <= found.values[name] <= ends[1] <= 1
        assert np.ptp(ends) > 1 / (n_each * n_classes**2)
        if right:
            assert ends[1] == 1


def test_no_songs_and_songs_of_no_class_have_no_interval_that_means_nothing() -> None:
    assert song_intervals(THREE, np.zeros(0, np.int64), np.zeros((0, 3))).ends == {}
    found = song_intervals(SEVERAL, np.zeros((20, 3), np.float32), np.full((20, 3), 0.1))
    assert found.ends["macro_f1"] is found.ends["micro_f1"] is None
    assert found.reasons["micro_f1"] == "only 0 songs are of any class"
    assert found.ends["subset_accuracy"] == pytest.approx([20 / (20 + 1.96**2), 1], abs=0.02)


def test_songs_of_whole_groups_say_less() -> None:
    """A group whose songs are all right, or all wrong, says as much as one song."""
    rng = np.random.default_rng(0)
    true = np.repeat(np.arange(60) % 3, 8)
    right = np.repeat(rng.random(60) < 0.8, 8)
    shares = 0.8 * np.eye(3)[np.where(right, true, (true + 1) % 3)] + 0.1
    groups = np.repeat(rng.permutation(900)[:60], 8)
    alone, grouped = song_intervals(THREE, true, shares), song_intervals(THREE, true, shares, groups)
    of_groups = song_intervals(THREE, true[::8], shares[::8])
    for name, ends in grouped.ends.items():
        assert np.ptp(ends or []) > 2 * np.ptp(alone.ends[name] or [])
        assert ends == pytest.approx(of_groups.ends[name], abs=0.02)
    of_class, of_few = class_intervals(THREE, true, shares, groups)["x"], class_intervals(TWO, true[::8], shares[::8])
    assert of_class["recall_interval"] == pytest.approx(of_few["x"]["recall_interval"], abs=0.02)


def test_few_groups_leave_out_what_they_say_too_little_about() -> None:
    true, shares = some_answers(60, several=False)
    few = song_intervals(THREE, true, shares, np.arange(60) % 4)
    assert set(few.reasons.values()) == {"the 60 songs are of only 4 groups"}
    assert not any(few.ends.values())
    rows = np.argsort(true, kind="stable")
    true, shares = true[rows], shares[rows]
    groups = np.where(true == 2, 90 + np.arange(60) % 2, np.arange(60))
    found = song_intervals(THREE, true, shares, groups)
    metrics = {"classes": class_metrics(THREE, true, shares), "without_interval": few.reasons}
    assert small_notes(metrics) == ["note: no interval: the 60 songs are of only 4 groups"]
    assert found.reasons["macro_f1"] == f"fewer than 5 songs or groups of 'z' ({(true == 2).sum()} of 2 groups)"
    assert found.ends["accuracy"]
    assert class_intervals(THREE, true, shares, groups)["z"]["recall_interval"] is None


def test_of_many_small_classes_a_few_are_named() -> None:
    classes = Task(tuple(f"class {number}\n" for number in range(200)))
    found = song_intervals(classes, np.arange(200), np.eye(200))
    assert found.reasons["balanced_accuracy"].endswith("'class 4\\n' (1) and 195 more classes")
    low, high = found.ends["accuracy"] or (0, 0)
    assert 0.97 < low < high == 1


def test_classes_have_the_intervals_of_their_shares() -> None:
    true, shares = np.array([0, 0, 0, 0, 1, 1]), np.eye(2)[[0, 0, 0, 1, 1, 1]]
    found = class_intervals(Task(("x", "y")), true, shares)
    assert found["x"] == {"precision_interval": wilson(1.0, 3), "recall_interval": wilson(0.75, 4)}
    assert found["y"] == {"precision_interval": wilson(2 / 3, 3), "recall_interval": wilson(1.0, 2)}
    nothing = class_intervals(TWO, np.array([0, 0]), np.eye(2)[[0, 0]])["y"]
    assert nothing == {"precision_interval": None, "recall_interval": None}


@pytest.mark.fault(109)
@pytest.mark.parametrize(("sizes", "recalls"), [("equal", (0.95, 0.7)), ("one class small", (0.9, 0.95))])
def test_intervals_hold_the_truth_nineteen_times_in_twenty(sizes: str, recalls: tuple[float, float]) -> None:
    """The simulation of the benchmark, with 20 songs in the smallest class; all with other conditions are there."""
    rng = np.random.default_rng(0)
    n, rates = class_sizes(20, 2, sizes), confusion(np.array(recalls), rng)
    found = covered(lambda rng: judged(named(2), n, rates, rng), metrics_of(rates * n[:, None]), rng, 300)
    for name, (rate, shown) in found.items():
        assert shown == 1, name
        assert 0.91 <= rate <= 0.98, name


def test_two_models_with_equal_answers_are_not_known_to_be_equally_good() -> None:
    for several in (False, True):
        task = SEVERAL if several else THREE
        true, shares = some_answers(90, several)
        found = paired_intervals(task, true, shares, shares)
        for name, ends in found.ends.items():
            assert found.values[name] == 0
            low, high = ends or (0, 0)
            assert -0.1 < low < 0 < high == pytest.approx(-low)


def test_a_difference_is_known_better_if_both_models_err_on_the_same_songs() -> None:
    rng = np.random.default_rng(1)
    true = np.arange(300) % 3
    wrong = rng.random(300) < 0.3
    mended = wrong & (rng.random(300) < 0.8)
    elsewhere = rng.permutation(mended)
    first, same, other = (0.1 + 0.7 * np.eye(3)[(true + one) % 3] for one in (wrong, mended, elsewhere))
    alike, apart = paired_intervals(THREE, true, same, first), paired_intervals(THREE, true, other, first)
    for name, ends in alike.ends.items():
        assert ends is not None
        assert 0 < ends[0] < alike.values[name] < ends[1]
        assert np.ptp(ends) < 0.7 * np.ptp(apart.ends[name] or [])
    turned = paired_intervals(THREE, true, first, same)
    assert turned.ends["macro_f1"] == pytest.approx([-end for end in (alike.ends["macro_f1"] or [])[::-1]])
    groups = np.arange(300) // 6
    assert np.ptp(paired_intervals(THREE, true, same, first, groups).ends["macro_f1"] or []) > 0


def test_a_difference_is_held_nineteen_times_in_twenty() -> None:
    # The first simulation of pairs: two classes, two models that are equally good.
    own, _ = next(iter(of_pairs(20, np.random.default_rng(0), 200)))
    assert all(rate >= 0.92 and shown == 1 for rate, shown in own.values())
