"""The keys of a store: made and taken apart in `format/keys.py`, and spelled nowhere else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from songbag_store.format import keys

ROOT = Path(__file__).parents[3]
FRAGMENT = "4c45f6aa4ab640d88ebf4afa16ddde7d"
FOLDERS = ("store", "pipeline", "training", "benchmarks")
SPELLED = re.compile(r"(^|/)(store|zarr)\.json$|features\.zarr|^(parts|index|tags)/|^/c/$")


def spelled(path: Path) -> list[str]:
    """Return the texts of a module, docstrings aside, that are keys of a store or parts of one."""
    tree = ast.parse(path.read_text())
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    listed = [node.args[0] for node in ast.walk(tree) if isinstance(node, ast.Call) and _lists(node)]
    found = [str(node.value) for node in texts if id(node) not in prose and SPELLED.search(str(node.value))]
    return found + [node.value for node in listed if isinstance(node, ast.Constant) and node.value]


def _lists(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "entries" and len(call.args) == 1


def test_no_other_module_spells_a_key() -> None:
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    own = ROOT / "store" / "songbag_store" / "format" / "keys.py"
    assert len(paths) > 150
    assert spelled(own)
    assert {str(path): found for path in paths if path != own and (found := spelled(path))} == {}


def test_keys_are_taken_apart_as_they_are_made() -> None:
    assert keys.shard_number(keys.shard_key(FRAGMENT, 12)) == 12
    assert keys.part_fragment(keys.part_key(FRAGMENT)) == FRAGMENT
    assert keys.snapshot_number(keys.snapshot_key(17)) == 17
    assert keys.tag_name(keys.tag_key("run-1.a")) == "run-1.a"
    for key in (keys.shard_key(FRAGMENT, 0), keys.metadata_key(FRAGMENT), keys.part_key(FRAGMENT)):
        assert keys.owner_of(key) == FRAGMENT


@pytest.mark.parametrize(
    "key",
    [
        "index/17.parquet",
        f"index/{17:020d}.parquet.part",
        f"index/{17:019d}x.parquet",
        f"parts/{FRAGMENT}.parquet~",
        f"parts/{FRAGMENT[1:]}.parquet",
        f"parts/{FRAGMENT.upper()}.parquet",
        f"features.zarr/{FRAGMENT}/c/x/0/0",
        f"features.zarr/{FRAGMENT}/zarr.json",
        "store.json",
        "",
    ],
)
def test_a_key_of_another_kind_has_no_number_and_no_fragment(key: str) -> None:
    assert (keys.snapshot_number(key), keys.part_fragment(key), keys.shard_number(key)) == (None, None, None)


@pytest.mark.parametrize(
    ("key", "owner"),
    [
        ("store.json", None),
        ("features.zarr/zarr.json", None),
        (keys.snapshot_key(1), None),
        (keys.tag_key("paper"), None),
        ("features.zarr/anything/c/0/0/0", "anything"),
        ("parts/probe-1f", "probe-1f"),
    ],
)
def test_every_object_of_an_array_or_a_part_has_an_owner_whatever_its_name(key: str, owner: str | None) -> None:
    assert keys.owner_of(key) == owner


def test_no_scratch_key_is_a_part_or_is_made_twice() -> None:
    first, second = keys.scratch_key("probe"), keys.scratch_key("probe")
    assert first != second
    assert keys.part_fragment(first) is None


@pytest.mark.parametrize("name", ["", "A", "../x", "a/b", "x" * 101, "-a", "a\n", "ç"])
def test_a_name_that_could_leave_its_folder_is_no_tag(name: str) -> None:
    assert not keys.is_tag(name)


@pytest.mark.parametrize("name", ["", FRAGMENT.upper(), FRAGMENT + "0", FRAGMENT + "\n", "../../etc"])
def test_a_name_of_another_form_is_no_fragment(name: str) -> None:
    assert keys.is_fragment(FRAGMENT)
    assert not keys.is_fragment(name)
