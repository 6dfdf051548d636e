from __future__ import annotations

import pyarrow as pa
import pytest

from songbag_training.errors import LabelError
from songbag_training.songs.labels import read_labels, require_learnable
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
        (_songs([0.5, 1.5]), "fractional numbers"),
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
