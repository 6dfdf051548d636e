"""The arrows between the packages: pipeline -> store <- training, held in fresh interpreters."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    name: ROOT / name.removeprefix("songbag_") / name
    for name in ("songbag_store", "songbag_pipeline", "songbag_training")
}
ALLOWED = {
    "songbag_store": set(),
    "songbag_pipeline": {"songbag_store"},
    "songbag_training": {"songbag_store"},
}


def modules(package: str) -> list[Path]:
    return sorted(PACKAGES[package].rglob("*.py"))


def imports(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name for name in names if name.startswith("songbag_")}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_names_only_the_packages_it_may_know(package: str) -> None:
    foreign = []
    for path in modules(package):
        for name in imports(ast.parse(path.read_text())):
            top = name.partition(".")[0]
            if top != package and top not in ALLOWED[package]:
                foreign.append((path.name, name))
    # The one exception is held by the next test.
    assert [name for _, name in foreign] in ([], ["songbag_pipeline"] if package == "songbag_training" else [])


def test_only_predicting_from_audio_imports_the_pipeline_and_only_inside_its_function() -> None:
    found = []
    for path in modules("songbag_training"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                found += [(path.stem, node.name) for name in imports(node) if name.startswith("songbag_pipeline")]
    assert len(found) == 1


@pytest.mark.parametrize("package", PACKAGES)
def test_a_fresh_interpreter_loads_only_the_packages_it_may_know(package: str) -> None:
    names = [".".join(path.relative_to(PACKAGES[package].parent).with_suffix("").parts) for path in modules(package)]
    wanted = [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]
    code = f"import importlib, sys; [importlib.import_module(n) for n in {wanted!r}]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split() if name.startswith("songbag_")}
    assert loaded == {package} | ALLOWED[package]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_itself_by_a_detour(package: str) -> None:
    graph = {}
    for path in modules(package):
        name = ".".join(path.relative_to(PACKAGES[package].parent).with_suffix("").parts)
        graph[name] = {found for found in imports(ast.parse(path.read_text())) if found.startswith(package + ".")}
    TopologicalSorter(graph).prepare()
    assert len(graph) > 3
