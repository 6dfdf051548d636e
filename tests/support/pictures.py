"""The pictures of the documentation: ``python -m tests.support.pictures DEMO`` takes them of the demo's pages.

DEMO is the folder that `songbag demo` left behind.
"""

from __future__ import annotations

import base64
import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import songbag
from tests.support.browser import opened_browser
from tests.support.pages import ROOT

FOLDER = ROOT / "docs" / "pictures"
WIDTH, HEIGHT = 1200, 800
COLOURS = 128
"""More are not told apart in charts, and take more bytes."""


_CHOOSE = """const songs = songbag.data.songs || [];
  const at = songs.findIndex(one => one.timeline && one.timeline.n >= 4);
  document.querySelectorAll("[data-table=songs] tbody button")[at]?.click();"""
"""Shows the first song of the list that has several windows."""


@contextmanager
def _browser() -> Iterator[Any]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield from opened_browser(Path(folder))


def take(browser: Any, page: Path, theme: str, heading: str | None) -> bytes:
    """Return the picture of a page from its beginning or from one of its headings on, as PNG."""
    from PIL import Image

    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())
    script = """const [heading, done] = arguments, charts = () => [...document.querySelectorAll(".chart")];
      const wait = () => {
        if (!charts().every(one => one.querySelector('.canvas'))) return setTimeout(wait, 50);
        const found = [...document.querySelectorAll('h2, h4')].find(one => one.textContent === heading);
        const top = found ? found.getBoundingClientRect().top + scrollY - 30 : 0;
        setTimeout(() => done(top), 500); };
      wait();"""
    browser.execute_async_script(script, heading)
    browser.execute_script(_CHOOSE)
    top = browser.execute_async_script(script, heading)
    clip = {"x": 0, "y": top, "width": WIDTH, "height": HEIGHT, "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    made = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(shot["data"]))) as whole:
        whole.convert("RGB").quantize(COLOURS).save(made, "PNG", optimize=True)
    return made.getvalue()


def main(demo: Path) -> None:
    """Take the pictures."""
    FOLDER.mkdir(exist_ok=True)
    with _browser() as browser, tempfile.TemporaryDirectory() as folder:
        run = songbag.report(demo / "run", Path(folder) / "run.html")
        collection = songbag.report(demo / "store", Path(folder) / "collection.html")
        for name, page, heading in (
            ("run", run, None),
            ("song", run, "Probability of the classes, window by window"),
            ("map", collection, "Map of songs"),
        ):
            for theme in ("light", "dark"):
                (FOLDER / f"{name}-{theme}.png").write_bytes(take(browser, page, theme, heading))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
