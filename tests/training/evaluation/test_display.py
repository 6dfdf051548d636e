"""Names of classes of any kind, in tables and pictures."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from rich.cells import cell_len

from songbag_training.evaluation.display import format_confusion, format_judgement, format_table
from songbag_training.evaluation.picture import draw_confusion, ticks
from songbag_training.splits.balance import format_balance
from songbag_training.splits.split import Split

ODD = [
    "a\nb",
    "\x1b[31mred",
    "\u202eright to left",
    "\u6f14\u6b4c",
    "cafe\u0301",
    "\U0001f3b8",
    "songs",
    "class",
    "x" * 300,
]
ODD += ["tab\there", "rock ", "rock"]


def _split(names: list[str], folds: int = 0) -> Split:
    subsets = [str(fold) for fold in range(1, folds + 1)] or ["train", "train", "validation", "test"]
    pairs = [(name, subset) for name in names for subset in subsets]
    ids = tuple(f"s{row:05}" for row in range(len(pairs)))
    return Split(ids, tuple(name for name, _ in pairs), tuple(subset for _, subset in pairs))


def _is_table(text: str) -> bool:
    """Return whether the lines of a text are equally wide on a terminal and do not steer it."""
    lines = text.splitlines()
    return len({cell_len(line) for line in lines}) == 1 and all(line.isprintable() for line in lines)


def test_the_balance_has_a_row_for_each_class_whatever_it_is_called() -> None:
    text = format_balance(_split(ODD), ODD)
    assert _is_table(text)
    rows = [line.rsplit(None, 3) for line in text.splitlines()]
    assert [row[1:] for row in rows[1:-1]] == [["2", "1", "1"]] * len(ODD)
    assert rows[-1] == ["songs", "24", "12", "12"]
    assert [rows[number][0].strip() for number in (1, 2, 11)] == ["a\\nb", "\\x1b[31mred", "rock\\x20"]
    assert max(map(len, text.splitlines())) < 80


def test_the_balance_of_many_classes_shows_the_rarest_and_the_sum_of_the_others() -> None:
    names = [f"class {number:03}" for number in range(200)]
    split = _split([name for number, name in enumerate(names) for _ in range(1 if number % 10 == 7 else 2)])
    lines = format_balance(split, names).splitlines()
    assert len(lines) == 1 + 40 + 1
    assert all(f"class {number:03}" in "".join(lines) for number in range(7, 200, 10))
    assert lines[-2].split() == ["161", "larger", "classes", "644", "322", "322"]
    assert lines[-1].split() == ["songs", "760", "380", "380"]


def test_the_balance_of_many_folds_shows_the_fewest_and_the_most_songs() -> None:
    lines = format_balance(_split(["a", "b"], folds=60), ["a", "b"]).splitlines()
    assert [line.split() for line in lines] == [
        ["class", "all", "folds", "fewest", "most"],
        ["a", "60", "1", "1"],
        ["b", "60", "1", "1"],
        ["songs", "120", "2", "2"],
    ]


def test_the_confusion_matrix_is_a_table_whatever_the_classes_are_called() -> None:
    text = format_confusion(np.eye(len(ODD), dtype=np.int64), ODD)
    head, *rows = text.splitlines()
    assert _is_table("\n".join(rows))
    assert cell_len(head.removesuffix("   <- predicted")) == cell_len(rows[0])


def test_of_many_classes_the_most_confused_pairs_are_listed() -> None:
    names = [f"class {number}" for number in range(199)] + ["\u6f14\u6b4c"]
    matrix = np.eye(200, dtype=np.int64) * 3
    matrix[4, 7], matrix[199, 0], matrix[0, 199] = 5, 2, 1
    text = format_confusion(matrix, names)
    assert [line.split() for line in text.splitlines()[3:]] == [
        ["songs", "of", "true", "class", "said", "to", "be"],
        ["5", "8", "5", "class", "4", "8", "class", "7"],
        ["2", "5", "200", "\u6f14\u6b4c", "1", "class", "0"],
        ["1", "4", "1", "class", "0", "200", "\u6f14\u6b4c"],
    ]
    assert len(format_confusion(np.ones((300, 300), np.int64), ["x" * 300] * 300).splitlines()) < 30
    assert "no song is said to be of another class" in format_confusion(np.eye(50, dtype=np.int64), ["x"] * 50)


def test_folds_and_mistakes_with_odd_names_do_not_steer_the_terminal() -> None:
    text = format_table("fold", [(name, {"n": 1, "accuracy": 0.5}) for name in ODD], ["accuracy"])
    assert _is_table(text)
    mistake = {"song_id": "a\nb", "label": ODD, "said": "x" * 300, "probability": 0.9}
    lines = format_judgement({"song": {}, "intervals": {}, "mistakes": [mistake]}).splitlines()
    assert len(lines) == 3
    assert all(line.isprintable() and len(line) < 120 for line in lines)


@pytest.mark.parametrize(
    "names",
    [ODD, ["\U00012000", "\U00012001"], [f"class {number}" for number in range(200)]],
    ids=["odd", "cuneiform", "many"],
)
def test_a_picture_is_drawn_whatever_the_classes_are_called(tmp_path: Path, names: list[str]) -> None:
    path = tmp_path / "confusion.png"
    draw_confusion(np.eye(len(names), dtype=np.int64), names, path, title="songs")
    pixels = matplotlib.image.imread(path)
    dark = (pixels[:, :, 0] < 0.1) & (pixels[:, :, 2] > 0.3)
    assert dark.any()


def test_a_name_that_no_font_draws_is_shown_by_its_number() -> None:
    _, names, families = ticks(["rock", "\U00012000", "a\nb", "x" * 99])
    # Where a font with cuneiform is installed, it is used.
    assert names[1] == ("\U00012000" if len(families) > 1 else "#2")
    assert (names[0], names[2], names[3]) == ("rock", "a\\nb", "x" * 21 + "...")
    assert not any("last resort" in family.lower() for family in families)
    places, names, _ = ticks([f"class {number}" for number in range(200)])
    assert (names[:2], places[:2], len(names)) == (["#1", "#8"], [0, 7], 29)
