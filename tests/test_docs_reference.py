"""The pages of the reference are those that the program makes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import songbag
from songbag_store.format.columns import COLUMNS
from songbag_store.format.index import OWN_FIELDS
from tests.support.reference import FOLDER, PAGES

FILES = (FOLDER / "files.md").read_text()


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_that_of_the_program(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name](), "write it again: python -m tests.support.reference"


def test_every_column_of_the_index_has_a_meaning() -> None:
    assert list(COLUMNS) == [field.name for field in OWN_FIELDS]
    assert all(meaning for _, meaning in COLUMNS.values())


def test_the_unit_in_a_name_is_the_unit_of_the_column() -> None:
    units = {"_s": "s", "_hz": "Hz", "_bytes": "bytes", "_share": "share", "_at": "UTC"}
    for name, (unit, _) in COLUMNS.items():
        for suffix, wanted in units.items():
            assert unit == wanted or not name.endswith(suffix), name


def test_every_public_name_is_in_the_page_of_python() -> None:
    named = re.findall(r"^      heading: songbag\.(\w+)$", (FOLDER / "python.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(set(songbag.__all__) - {"__version__"})


@pytest.mark.parametrize(("folder", "title"), [("store", "A store"), ("run", "A run")])
def test_every_file_of_a_store_and_a_run_is_in_the_page(demo: Path, folder: str, title: str) -> None:
    section = FILES.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    patterns = [
        re.sub("<[a-z]+>", "[^/]+", re.escape(name).replace("\\<", "<").replace("\\>", ">"))
        + (".*" if name.endswith("/") else "")
        for name in re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    ]
    found = [path.relative_to(demo / folder).as_posix() for path in (demo / folder).rglob("*") if path.is_file()]
    assert found
    assert [name for name in found if not any(re.fullmatch(pattern, name) for pattern in patterns)] == []
