"""Columns that give folds, and columns that do not."""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa
import pytest

from songbag_store.errors import UsageError
from songbag_training.songs.labels import read_labels
from songbag_training.splits.deal import make_split
from songbag_training.splits.split import Split


def _given(folds: list[Any], kind: pa.DataType | None = None) -> Split:
    ids = [f"s{row:05}" for row in range(len(folds))]
    columns = {"song_id": ids, "genre": [*"ab"] * (len(ids) // 2), "fold": pa.array(folds, kind)}
    songs = pa.table(columns | {"content_sha256": pa.nulls(len(ids), pa.string())})
    return make_split(read_labels(songs, "genre"), "genre", fold_column="fold")


@pytest.mark.parametrize(
    ("folds", "names"),
    [
        ([f"fold{number}" for number in (1, 2, 3, 4, 5)], ["fold1", "fold2", "fold3", "fold4", "fold5"]),
        ([*range(1, 11)], [str(number) for number in range(1, 11)]),
        ([1.0, 2.0, 3.0, 4.0, 5.0], ["1", "2", "3", "4", "5"]),
        ([0, 1], ["0", "1"]),
        ([True, False], ["False", "True"]),
        (["odd", "even"], ["even", "odd"]),
        (["1.0", "2.0"], ["1.0", "2.0"]),
        (["train", "validation", "test"], ["train", "validation", "test"]),
        ([f"speaker {number}" for number in range(40)], sorted(f"speaker {number}" for number in range(40))),
    ],
)
def test_few_whole_values_and_names_are_folds(folds: list[Any], names: list[str]) -> None:
    assert _given([fold for fold in folds for _ in range(4)]).names == names


def test_a_missing_fold_among_floats_is_named() -> None:
    with pytest.raises(UsageError, match="2 labelled songs have no fold in 'fold': 's00002', 's00005'"):
        _given([1.0, 2.0, None, 1.0, 2.0, float("nan")])


@pytest.mark.fault(84)
@pytest.mark.parametrize(
    ("folds", "what"),
    [
        ([f"song {row}" for row in range(60)], "has 60 different values in 60 songs"),
        ([f"song {row}" for row in range(8)], "has 8 different values in 8 songs"),
        ([f"text {row % 5000}" for row in range(10_000)], "has 5,000 different values in 10,000 songs"),
        ([*range(4000)], "has 4,000 different values in 4,000 songs"),
        ([row // 2 for row in range(400)], "has 200 different values in 400 songs"),
        ([0.37, 0.52] * 10, r"holds fractional numbers \(double\), such as 0\.37"),
        (["0.37", "0.52"] * 10, "holds fractional numbers, such as '0.37'"),
        ([datetime.date(2024, 1, 1 + row % 2) for row in range(20)], r"is of type date32\[day\]"),
        (["2024-01-01", "2024-01-02"] * 10, "holds dates, such as '2024-01-01'"),
        ([datetime.datetime(2024, 1, 1)] * 20, "is of type timestamp"),
        ([[1], [2]] * 10, "is of type list"),
        ([b"1", b"2"] * 10, "is of type binary"),
    ],
)
def test_a_column_that_holds_no_folds_is_refused_with_what_they_look_like(folds: list[Any], what: str) -> None:
    with pytest.raises(UsageError, match=f"fold_column: the column 'fold' {what}.*\n.*whole numbers such as 1 to 10"):
        _given(folds)
