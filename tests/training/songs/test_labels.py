from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from songbag_store.errors import UsageError
from songbag_store.progress import Lines, Silent
from songbag_training.config import LabelConfig
from songbag_training.errors import LabelError
from songbag_training.songs.labels import read_labels, require_learnable, settled
from songbag_training.songs.task import Task


def _songs(labels: list[object], kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"song_id": [f"s{row:03}" for row in range(len(labels))], "genre": pa.array(labels, kind)})


def test_songs_without_a_label_are_left_out_and_counted() -> None:
    labels = read_labels(_songs(["a", None, "b", "", " "]), "genre")
    assert (labels.names, labels.n_unlabelled, labels.task) == (["a", "b"], 3, Task(("a", "b")))


def test_numbers_booleans_and_dictionaries_are_classes() -> None:
    assert read_labels(_songs([10, 9, 2]), "genre").classes == ("2", "9", "10")
    assert read_labels(_songs([True, False]), "genre").classes == ("False", "True")
    assert read_labels(_songs(["b", "a"], pa.dictionary(pa.int32(), pa.string())), "genre").classes == ("a", "b")


def test_a_missing_column_is_refused_with_those_there_are() -> None:
    with pytest.raises(LabelError, match=r"label column 'mood': there is no such column.*: genre"):
        read_labels(_songs(["a", "b"]), "mood")


@pytest.mark.parametrize(
    ("songs", "message"),
    [
        (_songs([None, None]), "none of the 2 songs has a label"),
        (_songs([None, None], pa.string()), "none of the 2 songs has a label"),
        (_songs(["a"] * 9), "all 9 songs are of the class 'a'"),
        (_songs([["a"], ["a"], []]), "the lists of 3 songs name one class, 'a'"),
        (_songs([[], []], pa.list_(pa.string())), "the lists of 2 songs name no class"),
        (_songs([["a"], ["a", "b"]]), "all 2 songs are of the class 'a'"),
        (_songs([[0.5], [1.5]]), "fractional numbers"),
        (_songs([[["a"]], [["b"]]]), "a column of type list<.*> holds no classes"),
        (_songs([0.5, 1.5]), r"fractional numbers \(double\), such as 0\.5"),
        (_songs([1.0, float("inf")]), "infinite numbers"),
        (_songs([1.0, 2.0**53]), "numbers from 9007199254740992 on, such as 9007199254740992"),
        (_songs([1.0, 2.0**24], pa.float32()), "numbers from 16777216 on"),
        (_songs([Decimal("1.50"), Decimal("2.00")]), r"fractional numbers \(decimal128\(3, 2\)\), such as 1\.50"),
        (_songs([float("nan")] * 3), "none of the 3 songs has a label"),
        (_songs([b"a", b"b"]), "a column of type binary holds no classes"),
    ],
)
def test_a_column_that_holds_no_classes_is_refused(songs: pa.Table, message: str) -> None:
    with pytest.raises(LabelError, match=f"label column 'genre': .*{message}"):
        require_learnable(read_labels(songs, "genre"), "genre")


def test_a_column_of_lists_gives_each_song_any_number_of_classes() -> None:
    labels = read_labels(_songs([["rock", "blues", "rock"], [], None, ["blues"], ["", None, "folk"]]), "genre")
    assert labels.task.several
    assert labels.classes == ("blues", "folk", "rock")
    assert labels.names == [("blues", "rock"), (), ("blues",), ("folk",)]
    assert (labels.n_unlabelled, labels.songs["song_id"].to_pylist()) == (1, ["s000", "s001", "s003", "s004"])


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.int8()), pa.large_list(pa.int64()), pa.list_(pa.dictionary(pa.int8(), pa.int64()))]
)
def test_lists_of_numbers_are_classes_in_the_order_of_numbers(kind: pa.DataType) -> None:
    labels = read_labels(_songs([[10, 9], [2]], kind), "genre")
    assert (labels.classes, labels.names) == (("2", "9", "10"), [("9", "10"), ("2",)])


_NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([10.0, _NAN, 9.0, None], pa.float64()),
        ([10.0, None, 9.0, _NAN], pa.float32()),
        ([10.0, None, 9.0, _NAN], pa.float16()),
        ([10.0, None, 9.0, _NAN], pa.dictionary(pa.int8(), pa.float64())),
        ([Decimal("10.00"), None, Decimal("9.00"), None], pa.decimal128(9, 2)),
        ([10, None, 9, None], pa.uint64()),
    ],
)
def test_whole_numbers_are_classes_however_they_are_stored(values: list[object], kind: pa.DataType) -> None:
    if kind == pa.float16():
        values = [None if one is None else np.float16(one) for one in values]
    labels = read_labels(_songs(values, kind), "genre")
    assert labels.classes == ("9", "10")
    assert (len(labels.names), labels.n_unlabelled) == (2, 2)


def test_numbers_that_a_float_cannot_tell_apart_are_told_apart_as_integers_and_decimals() -> None:
    large = [2**53, 2**53 + 1]
    assert read_labels(_songs([*large]), "genre").classes == ("9007199254740992", "9007199254740993")
    decimals = read_labels(_songs([Decimal(one) for one in large]), "genre")
    assert decimals.classes == ("9007199254740992", "9007199254740993")
    assert read_labels(_songs([-0.0, 0.0, 1.0]), "genre").names == ["0", "0", "1"]


def test_lists_of_whole_numbers_that_became_floats_are_classes() -> None:
    labels = read_labels(_songs([[10.0, _NAN], [9.0, 10.0, 9.0], []]), "genre")
    assert (labels.classes, labels.names) == (("9", "10"), [("10",), ("9", "10"), ()])


@pytest.mark.parametrize(
    ("separator", "values", "names"),
    [
        ("|", ["rock|blues", "blues", " blues | rock |", "rock||rock"], ["br", "b", "br", "r"]),
        ("|", ["rock|blues", None, " | ", ""], ["br"]),
        (", ", ["rock, blues", "rock,blues, rock"], ["br", "rx"]),
        (" :: ", ["rock :: blues", "rock"], ["br", "r"]),
        (".", ["rock.blues", "rock"], ["br", "r"]),
        ("\t", ["rock\tblues\t", "\u00a0rock\u3000"], ["br", "r"]),
    ],
)
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_a_separator_makes_lists_of_text(
    separator: str, values: list[object], names: list[str], kind: pa.DataType
) -> None:
    labels = read_labels(_songs(values, kind), "genre", LabelConfig(label_separator=separator))
    words = {"b": "blues", "r": "rock", "x": "rock,blues"}
    assert labels.names == [tuple(words[letter] for letter in name) for name in names]
    assert labels.classes == tuple(sorted({words[letter] for letter in "".join(names)}))
    assert labels.n_unlabelled == len(values) - len(names)
    assert (labels.task.several, labels.unsplit) == (True, False)


def test_a_separator_that_no_label_holds_is_noted() -> None:
    notes: list[str] = []
    for values in (["a", "b", "a", None], [1, 2, 1, None]):
        labels = read_labels(_songs([*values]), "genre", LabelConfig(label_separator="|"))
        assert [len(own) for own in labels.names] == [1, 1, 1]
        settled(labels, "genre", 1, Lines(notes.append))
    assert len([note for note in notes if "no label in 'genre' holds the separator" in note]) == 2


def test_a_separator_for_lists_is_refused_and_an_empty_one_too() -> None:
    with pytest.raises(LabelError, match=r"lists already \(list<.*string>\).*\n.*Leave out `label_separator`"):
        read_labels(_songs([["a"], ["b"]]), "genre", LabelConfig(label_separator="|"))
    with pytest.raises(UsageError, match=r"label_separator: .*must be text of one character or more"):
        LabelConfig(label_separator="")


def test_rare_classes_are_left_out_and_named() -> None:
    notes: list[str] = []
    labels = settled(read_labels(_songs([*"aaabbbcdd"]), "genre"), "genre", 3, Lines(notes.append))
    assert (labels.classes, labels.names) == (("a", "b"), [*"aaabbb"])
    assert notes == [
        "2 classes with fewer than 3 songs are left out, and 3 songs of no other class: 'c' (1 song), 'd' (2 songs)"
    ]
    with pytest.raises(LabelError, match=r"1 of the 4 classes has 4 songs or more: 'a' \(5 songs\), 'b' \(3 songs\)"):
        settled(read_labels(_songs([*"aaaaabbbcdd"]), "genre"), "genre", 4, Silent())


def test_rare_classes_are_left_out_of_lists_and_songs_of_no_other_class_go_too() -> None:
    notes: list[str] = []
    labels = read_labels(_songs([["a", "b"], ["a", "c"], ["a"], ["b"], ["c"], ["c", "d"], []]), "genre")
    kept = settled(labels, "genre", 3, Lines(notes.append))
    # A song that never had a class stays: that it has none is its label.
    assert (kept.classes, kept.names) == (("a", "c"), [("a",), ("a", "c"), ("a",), ("c",), ("c",), ()])
    assert kept.songs["song_id"].to_pylist() == ["s000", "s001", "s002", "s004", "s005", "s006"]
    assert notes[0].endswith("are left out, and 1 song of no other class: 'b' (2 songs), 'd' (1 song)")
