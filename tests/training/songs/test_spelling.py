"""Names of classes that are probably mistakes."""

from __future__ import annotations

import pytest

from songbag_training.songs.spelling import doubtful_names, likely_lists, means_nothing, respelled


@pytest.mark.fault(112)
@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("rock", "Rock", "ROCK"), ("'rock' (9 songs)", "'Rock' (8 songs)", "'ROCK' (7 songs)")),
        (("rock", "rock "), ("'rock' (9 songs)", "'rock ' (8 songs)")),
        (("hip hop", "hip\u00a0hop", "hiphop"), ("'hip hop'", r"'hip\xa0hop'", "'hiphop'")),
        (("rock", "rock\u200b", "\ufeffrock"), ("'rock'", r"'rock\u200b'", r"'\ufeffrock'")),
        (("caf\u00e9", "cafe\u0301"), ("'caf\u00e9'", r"'cafe\u0301'")),
        (("\uff32ock", "rock"), (r"'\uff32ock'", "'rock'")),
        (("\u03bc", "\u00b5"), ("'\u03bc'", r"'\xb5'")),
        (("Stra\u00dfe", "STRASSE"), ("'Stra\u00dfe'", "'STRASSE'")),
        (("\u2764", "\u2764\ufe0f"), ("'\u2764'", "'\u2764\\ufe0f'")),
        (("rock\n", "rock"), (r"'rock\n'", "'rock'")),
        (("\u6f14\u6b4c", "\u6f14\u3000\u6b4c"), ("'\u6f14\u6b4c'", r"'\u6f14\u3000\u6b4c'")),
    ],
)
def test_names_that_are_one_name_written_in_several_ways_are_noted(
    names: tuple[str, ...], shown: tuple[str, ...]
) -> None:
    counts = {name: 9 - number for number, name in enumerate(names)} | {"polka": 3}
    (note,) = doubtful_names(counts, "genre")
    assert note.startswith("classes in 'genre' that differ only in case, spaces or Unicode form: ")
    assert all(one in note for one in shown), note
    assert "songbag relabel" in note
    assert "polka" not in note
    assert note.isprintable()


@pytest.mark.fault(112)
@pytest.mark.parametrize(
    "text",
    [
        *"-?._",
        *("\u200b", "\\N", "#N/A", "unknown"),
        "nan",
        "NaN",
        "None",
        "null",
        "NULL",
        "NA",
        "N/A",
        "n/a",
        "--",
        "\u2014",
        "???",
        "<NA>",
        " none ",
    ],
)
def test_a_text_that_is_probably_no_label_is_noted(text: str) -> None:
    (note,) = doubtful_names({"rock": 5, text: 2}, "genre")
    assert note.startswith("texts in 'genre' that are probably no labels: ")
    assert "(2 songs)" in note
    assert "(5 songs)" not in note


def test_names_that_are_names_are_not_noted() -> None:
    names = [
        "rock",
        "R&B",
        "C#",
        "+",
        "1",
        "80s",
        "\u00e9t\u00e9",
        "ete",
        "\u6f14\u6b4c",
        "\U0001f3b8",
        "\u0645\u0642\u0627\u0645",
        "nana",
        "drum'n'bass",
    ]
    assert doubtful_names(dict.fromkeys(names, 3), "genre") == []
    assert not any(map(means_nothing, names))


def test_the_notes_stay_short_however_many_names_there_are() -> None:
    counts = {
        f"{name}{number}{'x' * 200}": 2 for number in range(300) for name in ("Rock", "rock", "ROCK", "rOck", "ROck")
    }
    counts |= {"?" * length: 1 for length in range(1, 100)}
    alike, empty = doubtful_names(counts, "genre")
    assert alike.count(" songs)") == 5 * 4
    assert "and 1 more; " in alike
    assert "and 295 more names" in alike
    assert "and 91 more. " in empty
    assert max(len(alike), len(empty)) < 2000


def test_texts_that_look_like_lists_are_noted_and_names_with_a_bar_in_them_are_not() -> None:
    (note,) = likely_lists({"rock|blues": 3, "blues": 2, "folk": 9}, "genre")
    assert note.startswith(
        "1 class in 'genre' looks like a list, such as 'rock|blues': `label_separator='|'` reads them"
    )
    (note,) = likely_lists({"rock; blues": 3, "folk;rock": 2}, "genre")
    assert note.startswith("2 classes")
    assert likely_lists({"AC|DC": 3, "drum; bass": 2, "a, b": 1, "a": 1, "|": 2}, "genre") == []


def test_another_spelling_of_a_known_name_is_found() -> None:
    assert respelled(["Rock", "polka", "jazz "], ["rock", "jazz"]) == [("Rock", "rock"), ("jazz ", "jazz")]
