"""Limits of the code itself, held for the three packages."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("store", "pipeline", "training")

MOST_ARGUMENTS = 12
"""Arguments of one function; more options than these travel as one value."""


def n_arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    own = function.args
    named = [*own.posonlyargs, *own.args, *own.kwonlyargs]
    return len(named) + (own.vararg is not None) + (own.kwarg is not None)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_function_takes_many_arguments(package: str) -> None:
    counted = {
        f"{path.relative_to(ROOT)}:{node.name}": n_arguments(node)
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert len(counted) > 50
    assert {name: n for name, n in counted.items() if n > MOST_ARGUMENTS} == {}
