"""How the tests are laid out: rooms for what several files use, and nothing imported from a file of tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent


def modules_imported(path: Path) -> Iterator[str]:
    """Yield what a file imports, ``from package import name`` as ``package.name``; code inside strings included."""
    trees = [ast.parse(path.read_text())]
    while trees:
        for node in ast.walk(trees.pop()):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "import " in node.value:
                trees += parsed(node.value)


def parsed(text: str) -> list[ast.Module]:
    """Return a text as a program, or nothing if it is none."""
    try:
        return [ast.parse(text)]
    except SyntaxError:
        return []


def test_tests_import_helpers_from_support_alone() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in TESTS.rglob("*.py")
        for name in modules_imported(path)
        if name.startswith((".", "tests.")) and not name.startswith("tests.support.")
        if name != "tests.support"
    ]
    assert not wrong, "move what they share into tests/support/"


def test_a_conftest_holds_fixtures_alone() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in TESTS.rglob("conftest.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and "fixture" not in " ".join(map(ast.unparse, node.decorator_list))
    ]
    assert not wrong, "helpers belong into tests/support/"
