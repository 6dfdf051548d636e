"""The site of the documentation: its navigation, and files of the repository that its pages link to.

MkDocs runs this (``hooks`` of mkdocs.yml). The first page of a section, ``docs/<section>/index.md``, lists the pages of
the section: the list is the only place where a page is entered. A heading above a list is a group.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SECTIONS = {"tutorial": "Tutorial", "how-to": "How-to", "reference": "Reference", "explanation": "Explanation"}
"""Folders of the documentation that have a first page, and what the navigation calls them."""

Nav = list[Any]
"""Addresses of pages, or a title with its pages, as MkDocs takes them."""

_ENTRY = re.compile(r"^- \[[^\]]+\]\(([^)#:]+\.(?:md|ipynb))\)")
_LINK = re.compile(r"\]\(([^)\s:#]+)(#[^)\s]*)?\)")


def entries(section: str) -> dict[str, list[str]]:
    """Return the pages that a section's first page lists, by the heading above them, from the docs folder."""
    found: dict[str, list[str]] = {"": []}
    heading = ""
    for line in (DOCS / section / "index.md").read_text().splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif match := _ENTRY.match(line):
            page = posixpath.normpath(f"{section}/{match[1]}")
            found.setdefault(heading, []).append(page.replace(".ipynb", ".md"))
    return found


def navigation() -> Nav:
    """Return the navigation of the site."""
    nav: Nav = ["index.md"]
    for section, title in SECTIONS.items():
        pages: Nav = [f"{section}/index.md"]
        for heading, names in entries(section).items():
            pages += [{heading: names}] if heading else names
        nav.append({title: pages})
    decisions = sorted(path.relative_to(DOCS).as_posix() for path in (DOCS / "decisions").glob("[0-9]*.md"))
    return [*nav, {"Decisions": ["decisions/index.md", *decisions]}]


def lost_pages() -> list[str]:
    """Return the pages that no section lists: they would be in no menu."""
    listed = {"index.md", *(page for section in SECTIONS for pages in entries(section).values() for page in pages)}
    listed |= {f"{section}/index.md" for section in SECTIONS}
    found = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    return sorted(page for page in found - listed if not page.startswith("decisions/"))


def on_config(config: Any) -> Any:
    """Give MkDocs the navigation."""
    config.nav = navigation()
    return config


def on_files(files: Any, *, config: Any) -> Any:
    """Add a page for each notebook."""
    from mkdocs.structure.files import File

    for path in DOCS.rglob("*.ipynb"):
        uri = path.relative_to(DOCS).with_suffix(".md").as_posix()
        files.append(File.generated(config, uri, content=notebook_page(json.loads(path.read_text()))))
    return files


def notebook_page(notebook: Any) -> str:
    """Return the page of a notebook: its texts, its code, and what the code showed."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [_shown(output) for output in cell.get("outputs", [])]
    return "\n\n".join(parts)


def _shown(output: Any) -> str:
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "image/png" in data:
        return f"![](data:image/png;base64,{''.join(data['image/png']).strip()})"
    if "text/html" in data:
        return re.sub(r"<style.*?</style>\s*", "", "".join(data["text/html"]), flags=re.DOTALL)
    return f"```text\n{''.join(data['text/plain'])}\n```"


def on_page_markdown(markdown: str, *, page: Any, files: Any, config: Any) -> str:
    """Bring files of the repository that a page links to into the site, as text: tests, programs, folders' pages."""
    from mkdocs.structure.files import File

    def brought(match: re.Match[str]) -> str:
        path = (DOCS / Path(page.file.src_uri).parent / match[1]).resolve()
        if path.is_relative_to(DOCS) or not path.is_relative_to(ROOT) or not path.is_file():
            return match[0]
        uri = f"source/{path.relative_to(ROOT).as_posix()}.txt"
        if files.get_file_from_path(uri) is None:
            files.append(File.generated(config, uri, content=path.read_bytes()))
        return f"]({posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or '.')})"

    return _LINK.sub(brought, markdown.replace(".ipynb)", ".md)"))
