from __future__ import annotations

import pytest

from songbag_store.words import counted, did_you_mean, likely


@pytest.mark.parametrize(
    ("n", "noun", "text"),
    [
        (1, "song", "1 song"),
        (0, "song", "0 songs"),
        (2000, "song", "2,000 songs"),
        (2, "class", "2 classes"),
        (1, "class", "1 class"),
        (3, "copy", "3 copies"),
        (2, "day", "2 days"),
        (3, "epoch", "3 epochs"),
        (3, "batch", "3 batches"),
    ],
)
def test_a_number_has_its_noun(n: int, noun: str, text: str) -> None:
    assert counted(n, noun) == text


def test_what_was_meant_is_found_whatever_the_case() -> None:
    assert likely("Gnre", ["genre", "artist"]) == ["genre"]
    assert did_you_mean("ARTIST", ["genre", "artist"]) == "Did you mean 'artist'?"
    assert did_you_mean("zzz", ["genre", "artist"]) == ""
    assert did_you_mean("a\nb", ["a\nbc"]) == r"Did you mean 'a\nbc'?"


def test_of_very_many_names_only_some_are_compared() -> None:
    names = [f"{number:07}" for number in range(30_000)]
    assert likely("0000017", names)[0] == "0000017"
    assert likely("x" * 100_000, ["y" * 100_000]) == []
