"""What `info` counts of a user's columns."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from songbag_store import FeatureSpec
from songbag_store.upkeep.classes import class_counts
from songbag_store.upkeep.summary import describe, info
from tests.support.stores import MakeStore, sixteenths


@pytest.mark.parametrize(
    ("values", "kind", "counts"),
    [
        (["b", "a", "b", None, " "], pa.string(), {"a": 1, "b": 2}),
        (["b", "a", "b"], pa.large_string(), {"a": 1, "b": 2}),
        (["b", "a", "b"], pa.string_view(), {"a": 1, "b": 2}),
        (["b", "a", "b"], pa.dictionary(pa.int8(), pa.string()), {"a": 1, "b": 2}),
        ([10, 9, 10, None], pa.int8(), {"9": 1, "10": 2}),
        ([10.0, 9.0, float("nan"), None], pa.float64(), {"9": 1, "10": 1}),
        ([Decimal("2.00"), Decimal("1.00")], pa.decimal128(5, 2), {"1": 1, "2": 1}),
        ([True, False, True, None], pa.bool_(), {"False": 1, "True": 2}),
        ([["b", "a", "b"], [], None, ["b", None]], pa.list_(pa.string()), {"a": 1, "b": 2}),
        ([[2, 1], [2]], pa.large_list(pa.int64()), {"1": 1, "2": 2}),
        ([0.5, 1.0], pa.float64(), {}),
        ([float("inf"), 1.0], pa.float64(), {}),
        ([f"song {number}" for number in range(51)], pa.string(), {}),
        ([*range(51)], pa.int64(), {}),
        (["x" * 61], pa.string(), {}),
        ([b"a"], pa.binary(), {}),
        ([None], pa.null(), {}),
        ([], pa.string(), {}),
    ],
)
def test_values_that_could_be_classes_are_counted(values: list[Any], kind: pa.DataType, counts: dict[str, int]) -> None:
    found = class_counts(pa.chunked_array([pa.array(values, kind)], kind))
    assert (found, [*found]) == (counts, [*counts])


def test_info_shows_numbers_booleans_and_lists_with_their_types(
    make_store: MakeStore, rng: np.random.Generator
) -> None:
    songs = {name: sixteenths(rng, 1, FeatureSpec().window_shape) for name in ("a", "b", "c")}
    columns: dict[str, list[Any]] = {
        "fold": [1, 2, 2],
        "live": [True, False, True],
        "moods": [["calm", "sad"], ["calm"], []],
        "genre": ["ro\nck", "\u6f14\u6b4c", "rock "],
        "bpm": [120.5, 99.0, 101.0],
    }
    facts = info(make_store(songs, columns))
    assert facts["classes"]["moods"] == {"calm": 2, "sad": 1}
    assert facts["column_types"]["fold"] == "int64"
    shown = dict(describe(facts))
    assert shown["fold"] == "1: 1, 2: 2 (int64)"
    assert shown["live"] == "False 1, True 2 (bool)"
    assert shown["moods"].startswith("calm 2, sad 1 (list<")
    assert shown["genre"] == "ro\\nck 1, rock\\x20 1, \u6f14\u6b4c 1 (string)"
    assert shown["more columns"] == "bpm (double)"
