"""`Page`: a title and sections, written as one HTML file that asks nothing of any network.

The file holds its style, its scripts and its data. Charts are drawn by BokehJS, whose files come inside the Python
package bokeh. A Content-Security-Policy forbids every request, and every script but those that the page was made with:
each is named by its SHA-256. Styles are allowed inline, because BokehJS writes its own while it draws.

Memory holds the whole file once or twice; who makes a page bounds what is put in.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from songbag_store import __version__
from songbag_store.errors import UsageError, require_extra
from songbag_store.storage.files import is_there, require_output, write_whole

if TYPE_CHECKING:
    from jinja2 import Template

    from songbag_store.pages.pieces import Block

_HERE = Path(__file__).parent
_BEGINS = "<!doctype html><!-- a page of songbag -->"
_BOKEH = ("bokeh.min.js", "bokeh-api.min.js")


@dataclasses.dataclass(frozen=True, slots=True)
class Section:
    """A part of a page: an id, a title, blocks of `pieces`."""

    key: str
    title: str
    blocks: Sequence[Block]


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """A page before it is written.

    Attributes
    ----------
    kind : str
        What it is of: ``Run``, ``Collection``, ...
    title, lead : str
        Its name, and a sentence.
    sections : sequence of Section
    scripts : sequence of str
        The page's own scripts, which run after the kit's.
    data : mapping
        For these scripts, as ``songbag.data``.
    """

    kind: str
    title: str
    lead: str
    sections: Sequence[Section]
    scripts: Sequence[str] = ()
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def html(self) -> str:
        """Return the file's text."""
        data: dict[str, Any] = {"charts": {}, "tables": {}, "own": self.data}
        for section in self.sections:
            for block in section.blocks:
                if found := block.data():
                    kind, key, value = found
                    data[kind][key] = value
        scripts = [*_bokeh(), (_HERE / "page.js").read_text(), *self.scripts]
        policy = "; ".join(
            (
                "default-src 'none'",
                f"script-src {' '.join(map(_digest, scripts))}",
                "style-src 'unsafe-inline'",
                "img-src data:",
                "media-src file: data:",
                "base-uri 'none'",
                "form-action 'none'",
            )
        )
        style = (_HERE / "page.css").read_text()
        shown = {"begins": _BEGINS, "policy": policy, "style": style, "scripts": scripts, "version": __version__}
        return _template().render(page=self, data=as_json(data), **shown)


def require_pages(place: str) -> None:
    """Require what pages are made with, before work begins.

    Raises
    ------
    MissingExtra
        If the extra `pages` is not installed.
    """
    for module in ("bokeh", "jinja2"):
        require_extra("pages", module, place=place)


def write_page(page: Page, path: Path) -> None:
    """Write a page, completely or not at all; an earlier page of songbag is replaced.

    Raises
    ------
    UsageError
        If the name does not end in .html, or another file is there.
    """
    require_output(path, ".html")
    if is_there(path):
        with path.open("rb") as file:
            if file.read(len(_BEGINS)) != _BEGINS.encode():
                remedy = "Choose another `output`."
                raise UsageError("the file is there, and is no page of songbag", place=str(path), remedy=remedy)
    write_whole(path, page.html().encode("utf-8", "replace"))


def as_json(data: Any) -> str:
    """Return JSON that can stand in an HTML file: no letter of it ends an element or begins a comment."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        autoescape=True,
        loader=FileSystemLoader(_HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return made.get_template("page.html.j2")


def _bokeh() -> list[str]:
    found = importlib.util.find_spec("bokeh")  # not imported: its JavaScript is enough
    assert found is not None
    assert found.submodule_search_locations is not None
    folder = Path(found.submodule_search_locations[0]) / "server" / "static" / "js"
    # Inside an element, these letters would end it or begin a comment; in a string of JavaScript they mean the same.
    return [
        (folder / name).read_text().replace("</script", "<\\/script").replace("<!--", "<\\!--").replace("\r", "")
        for name in _BOKEH
    ]


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
