"""Costs of mistakes: how they are written, and what is predicted then."""

from __future__ import annotations

import json
from itertools import permutations

import numpy as np
import pytest

from songbag_store.errors import UsageError
from songbag_training.songs.costs import with_costs
from songbag_training.songs.task import Task

THREE = Task(("folk", "jazz", "rock"))
TAGS = Task(("folk", "jazz"), several=True)


@pytest.mark.parametrize(
    ("text", "costs"),
    [
        ("folk>rock=5", {(0, 2): 5}),
        ("folk>rock=5,rock>folk=.25", {(0, 2): 5, (2, 0): 0.25}),
        (" folk > rock = 5 , jazz>rock=0", {(0, 2): 5, (1, 2): 0}),
        ('"folk">"rock"=1e3', {(0, 2): 1000}),
    ],
)
def test_a_mistake_that_is_not_named_costs_one(text: str, costs: dict[tuple[int, int], float]) -> None:
    expected = 1 - np.eye(3)
    for place, cost in costs.items():
        expected[place] = cost
    assert with_costs(THREE, f"cost:{text}").costs == tuple(map(tuple, expected.tolist()))


STRANGE = ("a", "a>b", "b", "c=d,e", "=1,a", " x", "x\ny", 'say "hi"', "日本", "not a", "x=2")


@pytest.mark.parametrize("quoted", [False, True])
def test_names_may_hold_any_sign(quoted: bool) -> None:
    task = Task(tuple(sorted(STRANGE)))
    for true, said in permutations(task.classes, 2):
        names = map(json.dumps, (true, said)) if quoted else (true, said)
        if not quoted and f"{true}>{said}" in {"a>b>b", "a>a>b", "a>b>a>b"}:
            continue
        found = np.array(with_costs(task, f"cost:{'>'.join(names)}=7,{json.dumps(said)}>{json.dumps(true)}=3").costs)
        row, column = task.classes.index(true), task.classes.index(said)
        assert (found[row, column], found[column, row], (found == 1).sum()) == (7, 3, 11 * 10 - 2), (true, said)


def test_a_text_with_two_meanings_is_refused_and_quotes_help() -> None:
    task = Task(("a", "a>a", "a>a>a"))
    with pytest.raises(UsageError, match=r'in two ways, as "a>a">"a>a>a" and as "a>a>a">"a>a"'):
        with_costs(task, "cost:a>a>a>a>a=2")
    assert with_costs(task, 'cost:"a>a">a>a>a=2').costs[1] == (1.0, 0.0, 2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at its end something is missing"),
        ("folk", r"there is no '>' after 'folk'"),
        ("folk>rock", r"the cost of 'folk>rock' is missing"),
        ("folk>rock=", r"the cost of 'folk>rock' is missing"),
        ("folk>rock=5,", "at its end something is missing"),
        ("metal>rock=5", r"'metal' is none of the classes.*\n.*'folk', 'jazz', 'rock'"),
        ("folk>metal=5", r"'metal' is none of the classes"),
        ("Folk>rock=5", r"'Folk' is none of the classes"),
        ("folk>rocky=5", r"'rocky' is none of the classes"),
        ("folk>rock=-1", r"is '-1'; it must be a finite number from 0"),
        ("folk>rock=nan", "finite"),
        ("folk>rock=inf", "finite"),
        ("folk>rock=1e999", "finite"),
        ("folk>rock=much", "finite"),
        ("folk>rock=0,5", r"there is no '>' after '5'"),
        ("folk>folk=1", r"'folk>folk' is no mistake: a right answer costs nothing"),
        ("folk>rock=1,folk>rock=2", r"'folk>rock' stands there twice"),
        ("folk>not folk=2", r"'not folk' is none of the classes"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_may_be_written(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"(?s)^thresholds: .*{message}") as error:
        with_costs(THREE, f"cost:{text}")
    assert "TRUE>PREDICTED=COST" in error.value.remedy


@pytest.mark.parametrize("text", ["folk>jazz=2", "folk>not jazz=2", "not folk>jazz=2", "not folk>not folk=2"])
def test_of_several_classes_each_is_missed_or_added_by_itself(text: str) -> None:
    found = with_costs(TAGS, 'cost:folk>not folk=3,not jazz>jazz=4,jazz>"not jazz"=1').thresholds
    assert found == (0.25, 0.8)
    with pytest.raises(UsageError, match="is no mistake"):
        with_costs(TAGS, f"cost:{text}")


def test_two_classes_have_a_threshold() -> None:
    two = Task(("no", "yes"))
    assert with_costs(two, "cost:yes>no=4").thresholds == (0.8, 0.2)
    assert with_costs(two, "cost:yes>no=4").rule == "yes above 0.2, otherwise no"
    assert with_costs(two, "cost:yes>no=0,no>yes=0").thresholds == (0.5, 0.5)
    assert with_costs(two, "cost:yes>no=1e308,no>yes=1e308").thresholds == (0.5, 0.5)


def test_the_class_of_least_expected_cost_is_predicted(rng: np.random.Generator) -> None:
    shares = rng.dirichlet(np.ones(3), 200)
    costs = rng.exponential(size=(3, 3)) * (1 - np.eye(3))
    task = Task(THREE.classes, costs=tuple(map(tuple, costs.tolist())))
    expected = np.array([[sum(p[i] * costs[i, j] for i in range(3)) for j in range(3)] for p in shares])
    said = expected.argmin(axis=1)
    assert (said != shares.argmax(axis=1)).any()
    assert (task.predicted(shares).argmax(axis=1) == said).all()
    assert (task.right(said, shares)).all()
    np.testing.assert_array_equal(task.confidences(shares), shares[np.arange(200), said])


def test_of_equal_costs_the_most_probable_class_is_predicted(rng: np.random.Generator) -> None:
    shares = rng.dirichlet(np.ones(3), 200)
    for text in ("folk>rock=1", ",".join(f"{a}>{b}=0" for a, b in permutations(THREE.classes, 2))):
        assert (with_costs(THREE, f"cost:{text}").predicted(shares) == THREE.predicted(shares)).all()
