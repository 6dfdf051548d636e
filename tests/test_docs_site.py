"""The site of the documentation: every page is in a menu, every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.pages import ROOT
from tests.support.site import DOCS, SECTIONS, entries, lost_pages, navigation

PAGES = [*sorted(DOCS.rglob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)\s#]*)#?([^)\s]*)\)")
MOST_FILES = 16
"""Pages in a folder, but for the decisions."""


def anchors(text: str) -> set[str]:
    """Return the addresses of the headings of a page, as MkDocs and GitHub make them of plain words."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def lines_of_text(path: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def test_every_page_is_listed_by_its_section() -> None:
    assert lost_pages() == [], "list it in the index.md of its section, or move it into one (docs/*/index.md)"


def test_a_page_is_listed_once_and_by_its_own_section() -> None:
    for section in SECTIONS:
        listed = [page for pages in entries(section).values() for page in pages]
        assert len(listed) == len(set(listed))
        assert [page for page in listed if not page.startswith(f"{section}/")] == []
    titles = [title for entry in navigation()[1:] for title in entry]
    assert titles == [*SECTIONS.values(), "Decisions"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading_of_it(path: Path) -> None:
    text = lines_of_text(path)
    for target, anchor in LINK.findall(text):
        there = path.parent / target if target else path
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there.read_text()), f"{target}#{anchor}"


def test_no_folder_of_pages_is_crowded() -> None:
    folders = {path.parent for path in DOCS.rglob("*.md")} - {DOCS / "decisions"}
    assert {str(folder): n for folder in folders if (n := len(list(folder.glob("*.md")))) > MOST_FILES} == {}
