"""What a search makes of the text of options."""

from __future__ import annotations

import re
from typing import Any

import pytest

from songbag_store.errors import UsageError
from songbag_training import TrainConfig
from songbag_training.search import Search
from songbag_training.sweeps.points import as_search, in_words, points_of

CONFIG = TrainConfig(epochs=4)


def points(*texts: str, config: TrainConfig = CONFIG, **more: Any) -> list[dict[str, Any]]:
    return points_of(Search(set=texts, **more), config)


def test_every_combination_is_a_point() -> None:
    assert points("encoder=compact,reference", "--learning-rate=1e-3, 3e-3") == [
        {"encoder": "compact", "learning_rate": 0.001},
        {"encoder": "compact", "learning_rate": 0.003},
        {"encoder": "reference", "learning_rate": 0.001},
        {"encoder": "reference", "learning_rate": 0.003},
    ]
    values = points("calibrate=true,false", "early-stopping=none,5")
    assert values[0] == {"calibrate": True, "early_stopping": None}
    assert points('thresholds="cost:a>b=5,b>a=1",f1')[0] == {"thresholds": "cost:a>b=5,b>a=1"}


def test_a_mapping_says_the_same_as_the_command_line() -> None:
    grid = {
        "encoder": ["compact", "m:f"],
        "calibrate": [True],
        "early_stopping": [None, 3],
        "thresholds": ["cost:a>b=1,b>a=2"],
    }
    found = points_of(as_search(grid), CONFIG)
    assert [point["early_stopping"] for point in found] == [None, 3, None, 3]
    assert {point["thresholds"] for point in found} == {"cost:a>b=1,b>a=2"}
    assert points_of(as_search({"learning_rate": 0.5}), CONFIG) == [{"learning_rate": 0.5}]
    written = Search(set=("--learning-rate=1e-5, .5", "bag-size=2..32", 'thresholds="cost:a>b=1,b>a=2"'), random=3)
    assert as_search(written).set[0] == as_search({"learning_rate": [1e-05, 0.5]}).set[0]
    assert as_search(as_search(written)) == as_search(written)
    assert in_words(found[1]) == "encoder compact, calibrate true, early stopping 3, thresholds cost:a>b=1,b>a=2"


def test_draws_are_different_lie_in_their_ranges_and_follow_from_the_seed() -> None:
    texts = ("learning-rate=1e-4..1e-2", "mixup=0..0.5", "bag-size=2..32", "pooling=mean,max")
    found = points(*texts, random=40)
    assert found == points(*texts, random=40)
    assert found != points(*texts, random=40, config=TrainConfig(epochs=4, seed=1))
    assert len({repr(point) for point in found}) == 40
    assert all(1e-4 <= point["learning_rate"] <= 1e-2 and 0 <= point["mixup"] <= 0.5 for point in found)
    assert all(type(point["bag_size"]) is int and 2 <= point["bag_size"] <= 32 for point in found)
    # Alike often by the logarithm: about half of the draws lie below the geometric mean of the ends.
    assert 8 <= sum(point["learning_rate"] < 1e-3 for point in found) <= 32
    assert len(points("pooling=mean,max", random=9)) == 2


@pytest.mark.parametrize(
    ("texts", "more", "said"),
    [
        ((), {}, "nothing is to be tried"),
        (("encodr=compact",), {}, "no option of `songbag train`.*\n.*encoder"),
        (("encoder=compakt",), {}, "must be auto"),
        (("encoder",), {}, "no values"),
        (("encoder=",), {}, "encoder has no values"),
        (("epochs=3,3",), {}, "twice"),
        (("epochs=3", "epochs=4"), {}, "there twice"),
        (("epochs=3.5",), {}, "must be a whole number"),
        (("learning-rate=-1",), {}, "above 0"),
        (("learning-rate=nan",), {}, "above 0"),
        (("calibrate=maybe",), {}, "true or false"),
        (("monitor=loss",), {}, "compared by it"),
        (("min-songs=1,2",), {}, "same songs"),
        (("learning-rate=1e-4..1e-2",), {}, "is a range"),
        (("learning-rate=1e-2..1e-4",), {"random": 3}, "is empty"),
        (("learning-rate=0..1",), {"random": 3}, "above 0"),
        (("epochs=2,4",), {"halving": True}, "decide which points go on"),
        (("class-weight=none,balanced",), {"halving": True}, "not comparable"),
        (("sampling=balanced", "class-weight=balanced"), {}, "rare classes come more often"),
        (
            tuple(f"{name}={','.join(map(str, range(1, 31)))}" for name in ("epochs", "batch-size", "bag-size")),
            {},
            "27,000 points",
        ),
    ],
)
def test_what_is_no_search_is_refused(texts: tuple[str, ...], more: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=re.compile(said, re.DOTALL)):
        points(*texts, **more)
