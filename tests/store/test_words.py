from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

from songbag_store.words import counted, did_you_mean, likely

ROOT = Path(__file__).parents[2]
NOUNS = "song|file|fragment|object|window|classe|column|fold|epoch|snapshot|recording|copie|tag|row|group|step|failure|"
NOUNS += "field|frame|label|name|note|pair|value|vector"
BETWEEN = "(?:(?!of|in|for|to|and|from|with)[a-z-]+ )?"
"""At most one more word: `2 damaged files`, but not `2 of the files`."""
PLURAL = re.compile(rf"}} ({BETWEEN}(?:{NOUNS})s)\b(?!/)")
NEVER_ONE = {
    "{len(classes)} classes",
    "{len(common)} larger classes",
    "{len(task.classes)} classes",
    "{FEWEST} validation songs",
    "{len(train)} training songs",
    "{len(value)} values",
    "{list(shard)} windows",
    "{name} between windows",
    "{pattern} names",
    "{text} names",
}
"""Limits, numbers that are written from some number on, and what is no number."""


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


def uncounted(path: Path) -> list[str]:
    """Return where a text puts a number before a plural noun without `counted`, and what it puts there."""
    found: list[str] = []
    source = path.read_text()
    if not PLURAL.search(source):
        return found
    for node in ast.walk(ast.parse(source)):
        parts = node.values if isinstance(node, ast.JoinedStr) else []
        for number, after in pairwise(parts):
            if not (isinstance(number, ast.FormattedValue) and isinstance(after, ast.Constant)):
                continue
            text = PLURAL.match("}" + str(after.value))
            what = ast.unparse(number.value)
            # The verb of a counted noun stands before a plural too: `1 value of 'artist' has songs in two subsets`.
            if text and what != "has" and "counted" not in what and f"{{{what}}} {text[1]}" not in NEVER_ONE:
                found.append(f"{path.name}:{node.lineno}: {{{what}}} {text[1]}")
    return found


@pytest.mark.parametrize("package", ["store", "pipeline", "training"])
def test_a_number_before_a_noun_is_written_by_one_function(package: str) -> None:
    """`1 songs` is written nowhere: `counted` writes the number together with its noun."""
    files = sorted((ROOT / package).rglob("*.py"))
    assert len(files) > 20
    assert [line for path in files for line in uncounted(path)] == []


def test_an_uncounted_noun_is_found(tmp_path: Path) -> None:
    path = tmp_path / "made.py"
    path.write_text(
        "a = f'{n:,} songs', f'{n} odd copies', f'{counted(n, \"song\")} names', f'{n} songs/s', f'{n} song'"
    )
    assert uncounted(path) == ["made.py:1: {n} songs", "made.py:1: {n} odd copies"]
