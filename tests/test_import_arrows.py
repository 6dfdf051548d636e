"""The arrows between packages and between their rooms, read from one table and held for every import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).parents[1]

ROOMS: dict[str, tuple[str, ...]] = {
    "songbag_store": (
        "cli",
        "doctor",
        "pages",
        "upkeep",
        "likeness",
        "writer",
        "store",
        "bags",
        "windows",
        "sql",
        "commits",
        "cluster",
        "storage",
        "format",
        "progress",
        "words",
        "child",
        "stop",
        "door",
        "machine",
        "plugin",
        "loading",
        "terminal",
        "errors",
        "compat",
        "types",
    ),
    "songbag_pipeline": ("cli", "demo", "run", "songs", "sources", "audio", "features", "errors", "types"),
    "songbag_training": (
        "cli",
        "review",
        "apply",
        "sweeps",
        "comparison",
        "fit",
        "parts",
        "pages",
        "lineage",
        "runs",
        "partial",
        "summaries",
        "evaluation",
        "splits",
        "models",
        "songs",
        "config",
        "search",
        "changes",
        "usual",
        "work",
        "compat",
        "errors",
        "types",
    ),
}
"""The rooms of each package from the highest floor to the lowest: a room may import itself and the rooms behind it."""

PACKAGES = {name: ROOT / name.removeprefix("songbag_") / name for name in ROOMS}
DOOR = ROOT / "store" / "songbag" / "__init__.py"
ALLOWED = {
    "songbag_store": set(),
    "songbag_pipeline": {"songbag_store"},
    "songbag_training": {"songbag_store"},
}
MOST_FILES = 16
"""Files in one folder."""


@cache
def modules(package: str) -> list[Path]:
    return sorted(PACKAGES[package].rglob("*.py"))


def dotted(package: str, path: Path) -> str:
    name = ".".join(path.relative_to(PACKAGES[package].parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def known() -> set[str]:
    """Return the names of all modules of songbag."""
    return {dotted(package, path) for package in PACKAGES for path in modules(package)}


@cache
def imports(tree: ast.AST) -> set[str]:
    """Return every songbag module that a file imports; `from room import file` counts as the file."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= whole if whole <= known() else whole | {node.module}
    return names & known()


def shown(package: str, path: Path) -> tuple[str, ...]:
    """Return the modules that a room's `__init__` names in `__all__`: those that rooms above it may import."""
    for node in parsed(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return tuple(ast.literal_eval(node.value))
    return ()


def upward(package: str) -> list[str]:
    """Return every import of a room that lies above the importing one, or of a room that is not in the table."""
    floors = {room: floor for floor, room in enumerate(ROOMS[package])}
    wrong = []
    for path in modules(package):
        own = path.relative_to(PACKAGES[package]).with_suffix("").parts[0]
        if own in ("__init__", "__main__"):
            continue
        for name in imports(parsed(path)):
            _, _, inside = name.partition(f"{package}.")
            room = inside.partition(".")[0]
            if name.startswith(f"{package}.") and not floors.get(own, 99) <= floors.get(room, -1):
                wrong.append(f"{dotted(package, path)} imports {name}")
    return wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_a_room_imports_only_rooms_below_it(package: str) -> None:
    assert upward(package) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_room_shows_the_modules_that_others_import_and_no_others(package: str) -> None:
    """What is used outside a room stands in the `__all__` of its `__init__`; all else is the room's own."""
    used: dict[str, set[str]] = {}
    importers = [(dotted(own, path), path) for own in PACKAGES for path in modules(own)]
    for importer, path in [*importers, ("songbag", DOOR)]:
        inside = importer if path.name == "__init__.py" else importer.rpartition(".")[0]
        for name in imports(parsed(path)):
            room, _, module = name.rpartition(".")
            if room.startswith(f"{package}.") and inside != room:
                used.setdefault(room, set()).add(module)
    rooms = {
        dotted(package, path.parent / "__init__.py"): path for path in modules(package) if path.name == "__init__.py"
    }
    # The entry points of the command are the one thing that a room's `__init__` imports.
    command = {f"{package}.cli": {"commands", "main"}}
    for room in sorted(rooms.keys() - {package}):
        names = set(shown(package, rooms[room])) - command.get(room, set())
        assert names == used.get(room, set()), room


PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text()


@pytest.mark.parametrize("package", PACKAGES)
def test_the_picture_of_the_rooms_is_the_table(package: str) -> None:
    found = re.search(rf"^{package} +(.*?)\n\n", PAGE.replace("```\n", "\n\n"), re.MULTILINE | re.DOTALL)
    assert found
    drawn = [line.split()[0] for line in found[1].splitlines()]
    assert [name.removesuffix("/").removesuffix(".py") for name in drawn] == list(ROOMS[package])


def test_the_page_names_only_files_that_exist() -> None:
    named = set(re.findall(r"`((?:store|pipeline|training|tests|docs)/[\w./-]+)`", PAGE))
    assert len(named) > 30
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_table_names_the_rooms_that_there_are(package: str) -> None:
    there = {path.relative_to(PACKAGES[package]).with_suffix("").parts[0] for path in modules(package)}
    assert there - {"__init__", "__main__"} == set(ROOMS[package])


@pytest.mark.parametrize("package", PACKAGES)
def test_no_folder_is_full(package: str) -> None:
    folders = {path.parent for path in modules(package)}
    assert {folder: n for folder in folders if (n := len(list(folder.glob("*.py")))) > MOST_FILES} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_names_only_the_packages_it_may_know(package: str) -> None:
    foreign = set()
    for path in modules(package):
        for name in imports(parsed(path)):
            top = name.partition(".")[0]
            if top not in {package, *ALLOWED[package]}:
                foreign.add((path.name, top))
    # The one exception is held by the next test.
    assert foreign == ({("source.py", "songbag_pipeline")} if package == "songbag_training" else set())


def test_only_predicting_from_audio_and_cutting_it_import_the_pipeline_and_only_inside_their_functions() -> None:
    found = set()
    for path in modules("songbag_training"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef) and any(n.startswith("songbag_pipeline") for n in imports(node)):
                found.add((path.stem, node.name))
    assert found == {("source", "compute_audio"), ("source", "audio_file"), ("source", "write_audio")}


def test_the_front_door_imports_the_packages_only_when_a_name_is_used() -> None:
    """The second exception: it names what all three offer, and nothing imports it."""
    tree = parsed(DOOR)
    at_once = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert set().union(*map(imports, at_once)) == {"songbag_store.door"}
    inside = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and imports(node)}
    assert inside <= {"__getattr__"}
    own = [path for package in PACKAGES for path in modules(package)]
    users = [
        path.name
        for path in own
        for node in ast.walk(parsed(path))
        if (isinstance(node, ast.Import) and any(alias.name == "songbag" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "songbag")
    ]
    assert users == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_fresh_interpreter_loads_only_the_packages_it_may_know(package: str) -> None:
    wanted = [name for path in modules(package) if not (name := dotted(package, path)).endswith("__main__")]
    code = f"import importlib, sys; [importlib.import_module(n) for n in {wanted!r}]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split() if name.startswith("songbag_")}
    assert loaded == {package} | ALLOWED[package]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_itself_by_a_detour(package: str) -> None:
    graph = {}
    for path in modules(package):
        # The package's own `__init__` imports nothing when it is loaded, see there.
        found = imports(parsed(path)) - {package, dotted(package, path)}
        graph[dotted(package, path)] = {name for name in found if name.startswith(f"{package}.")}
    del graph[package]
    TopologicalSorter(graph).prepare()
    assert len(graph) > 3
