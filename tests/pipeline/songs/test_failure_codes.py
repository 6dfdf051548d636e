"""Every reason that a song has failed for is one of the catalogue, and the catalogue has no other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import songbag_pipeline
import songbag_training
from songbag_pipeline.errors import SongError
from songbag_store.format.failure_codes import REMEDIES

MODULES = [
    module for package in (songbag_pipeline, songbag_training) for module in Path(package.__file__).parent.rglob("*.py")
]


def reasons(module: Path) -> Iterator[str]:
    """Codes in calls of `SongError`, `Undecodable` and `fail`, and in what the contained process answers."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ("SongError", "Undecodable", "fail"):
                yield str(node.args[0].value)
        elif isinstance(node, ast.Dict) and isinstance(node.values[0] if node.values else None, ast.List):
            answer = node.values[0]
            if getattr(node.keys[0], "value", None) == "failed" and isinstance(answer, ast.List):
                yield str(getattr(answer.elts[0], "value", ""))


def test_every_code_that_can_be_given_has_a_remedy_and_every_remedy_a_code() -> None:
    given = {code for module in MODULES for code in reasons(module)}
    assert given == set(REMEDIES)


def test_no_two_codes_have_the_same_remedy() -> None:
    assert len(set(REMEDIES.values())) == len(REMEDIES)


def test_an_error_of_a_song_carries_the_remedy_of_its_code() -> None:
    for code, remedy in REMEDIES.items():
        assert remedy in str(SongError(code, "what happened"))
