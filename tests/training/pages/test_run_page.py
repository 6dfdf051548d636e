"""The page of a run in a real browser: what a person does with it, and what it never does."""

from __future__ import annotations

import re
import shutil
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import songbag
from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.pages.page import Page, Section, as_json, write_page
from songbag_store.pages.pieces import Axis, Chart, Column, Facts, Layer, Matrix, Table, Words
from songbag_training.runs.run import Run
from tests.support.browser import complaints, opened_browser, requests

STRANGE = ("<script>alert(1)</script>", "</style>", "</script>", "${x} \u2028 \"'&", "$$x$$", "<!--")
OLD = Path(__file__).parents[2] / "fixtures" / "training-format-1"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield from opened_browser(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of a run in which some songs have strange names."""
    folder = tmp_path_factory.mktemp("strange") / "run"
    shutil.copytree(run.folder, folder)
    known = pq.read_table(folder / "predictions.parquet")["song_id"].to_pylist()
    names = dict(zip(known, STRANGE, strict=False))
    for name in ("predictions.parquet", "windows.parquet"):
        table = pq.read_table(folder / name)
        ids = pa.array([names.get(one, one) for one in table["song_id"].to_pylist()])
        pq.write_table(table.set_column(0, "song_id", ids), folder / name)
    (folder / "report.html").unlink(missing_ok=True)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    return songbag.report(folder)


def rows(browser: Any, table: str = "songs") -> list[list[str]]:
    script = """return [...document.querySelectorAll(`[data-table=${arguments[0]}] tbody tr`)]
      .map(row => [...row.cells].map(cell => cell.textContent));"""
    return list(browser.execute_script(script, table))


def click(browser: Any, selector: str) -> None:
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def drawn(browser: Any) -> int:
    """Return how many charts are drawn, after they all had the time to be, also those below, which may be printed."""
    script = """const done = arguments[0], wait = () => {
        const all = [...document.querySelectorAll('.chart')];
        if (all.every(one => one.querySelector('.canvas'))) setTimeout(() => done(all.length), 50);
        else setTimeout(wait, 50); };
      wait();"""
    return int(browser.execute_async_script(script))


def test_a_person_sorts_searches_opens_a_song_and_a_cell_and_nothing_is_asked_for(browser: Any, page: Path) -> None:
    browser.get(page.as_uri())
    browser.set_script_timeout(60)
    assert drawn(browser) >= 6
    assert browser.execute_script("return document.querySelectorAll('.canvas')[0].children.length") > 0
    click(browser, "[data-table=songs] th:nth-child(4) button")
    shown = [float(row[3].split()[0]) for row in rows(browser)]
    assert shown == sorted(shown, reverse=True)
    find = browser.find_element("css selector", "[data-table=songs] input")
    find.send_keys("jazz/0")
    assert len(rows(browser)) > 0
    assert all("jazz/0" in " ".join(row) for row in rows(browser))
    find.clear()
    find.send_keys("<script>alert")
    click(browser, "[data-table=songs] tbody button")
    assert browser.execute_script("return document.querySelector('#song h3').textContent") == STRANGE[0]
    assert drawn(browser) >= 7
    assert browser.execute_script("return document.querySelectorAll('#song .canvas').length") == 2
    told = "return [...document.querySelectorAll('#song h4')].map(one => one.nextSibling.textContent)"
    assert any("would change the answer" in text or "it would be" in text for text in browser.execute_script(told))
    find.clear()
    script = "const cell = document.querySelector('.matrix td button'); cell.click(); return +cell.textContent"
    cell = browser.execute_script(script)
    assert len(rows(browser)) == cell
    assert {row[5] for row in rows(browser)} == {"test"}
    assert complaints(browser) == []
    assert requests(browser) == [page.as_uri()]


def test_it_is_dark_at_night_and_fits_a_phone(browser: Any, page: Path) -> None:
    colour = "return getComputedStyle(document.body).backgroundColor"
    for width, scheme in ((390, "dark"), (1280, "light")):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(page.as_uri())
        drawn(browser)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        before = browser.execute_script(colour)
        assert before == ("rgb(20, 22, 26)" if scheme == "dark" else "rgb(251, 250, 247)")
        click(browser, "#theme")
        assert browser.execute_script(colour) != before
    assert complaints(browser) == []


def test_names_of_strangers_are_text_everywhere(browser: Any, tmp_path: Path) -> None:
    names = list(STRANGE)
    n = range(len(names))
    chart = Chart(
        "chart",
        names[0],
        [
            Layer(
                "bars",
                {"left": [0.0] * len(n), "right": [1.0] * len(n), "bottom": [*n], "top": [i + 0.8 for i in n]},
                names[0],
            ),
            Layer("line", {"x": [0, 1], "y": [0.0, float("nan")]}, names[1]),
        ],
        y=Axis("", None, names),
    )
    table = Table(
        "songs", names[1], [Column("name", names), Column(names[2], [1.5, None, float("inf"), 2, 3, 4], "number")]
    )
    matrix = Matrix("matrix", names[0], names, [[1] * len(n)] * len(n))
    blocks = [Words(names[0], note=True), Facts([(names[0], names[1])]), chart, table, matrix]
    path = tmp_path / "page.html"
    write_page(Page("Run", names[0], names[1], [Section("all", names[2], blocks)], data={"names": names}), path)
    browser.get(path.as_uri())
    drawn(browser)
    assert browser.execute_script("return document.querySelector('h1').textContent") == names[0]
    assert [row[0] for row in rows(browser)] == names
    assert browser.execute_script("return songbag.data.names") == names
    assert browser.execute_script("return document.querySelectorAll('script').length") == 4
    assert complaints(browser) == []


def test_json_ends_no_element() -> None:
    assert not set("<>&\u2028") & set(as_json(list(STRANGE)))


def test_a_page_replaces_only_a_page(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "mine.html"
    other.write_text("<html>mine</html>")
    with pytest.raises(UsageError, match="no page of songbag"):
        songbag.report(folder, other)
    assert other.read_text() == "<html>mine</html>"
    with pytest.raises(UsageError, match="suffix"):
        songbag.report(folder, tmp_path / "page.pdf")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("run", "store cannot be opened"),
        ("cross-validation", "Cross-validation"),
        ("interrupted", "has not been evaluated"),
    ],
)
def test_what_is_missing_is_said(kind: str, says: str, tmp_path: Path) -> None:
    path = songbag.report(OLD / kind, tmp_path / "page.html")
    assert says in path.read_text()


def test_the_page_of_a_store_says_what_it_holds(store: SongStore, tmp_path: Path) -> None:
    text = songbag.report(store, tmp_path / "page.html").read_text()
    assert "36 songs" in text
    assert len(text) < 4_000_000


class _Noting(webbrowser.BaseBrowser):
    """A browser that notes what it is asked to open."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
        self.seen.append(url)
        return True


def test_a_page_is_opened_in_the_browser_of_the_user_only_if_asked(tmp_path: Path) -> None:
    browser, path = _Noting(), tmp_path / "a page.html"
    webbrowser.register("songbag-noting", None, browser, preferred=True)
    songbag.report(OLD / "run", path)
    assert browser.seen == []
    songbag.report(OLD / "run", path, open=True)
    assert browser.seen == [path.as_uri()]


def test_the_map_of_a_store_may_be_by_the_vectors_of_a_run(store: SongStore, run: Run, tmp_path: Path) -> None:
    by_index, by_run = (tmp_path / "index.html", tmp_path / "run.html")
    songbag.report(store, by_index)
    songbag.report(store, by_run, run=run)
    assert f"components of the song vectors of {run.folder.name}" in by_run.read_text()
    places = [re.findall(r'"x": ?\[(.*?)\]', path.read_text()) for path in (by_index, by_run)]
    assert all(places)
    assert places[0] != places[1]
    with pytest.raises(UsageError, match="map of a store"):
        songbag.report(run, by_run, run=run)
    with pytest.raises(UsageError, match="no run whose encoder"):
        songbag.report(store, by_run, encoder="my_nets:small")


def test_a_page_is_at_most_4_mb_and_so_many_bytes_a_song_that_10_000_songs_are_below_20_mb(tmp_path: Path) -> None:
    sizes = []
    for times in (1, 40, 120):
        folder = tmp_path / str(times)
        shutil.copytree(OLD / "run", folder)
        n = 0
        for name in ("predictions.parquet", "windows.parquet"):
            table = pq.read_table(folder / name)
            ids = table["song_id"].to_pylist()
            copies = [table.set_column(0, "song_id", pa.array([f"{own} {at}" for own in ids])) for at in range(times)]
            pq.write_table(pa.concat_tables(copies), folder / name)
            n = n or times * table.num_rows
        sizes.append((n, songbag.report(folder, tmp_path / f"{times}.html").stat().st_size))
    (_, least), (n_some, some), (n_more, more) = sizes
    assert least < 4e6
    assert n_more - n_some > 300
    a_song = (more - some) / (n_more - n_some)
    assert a_song > 100
    assert some + a_song * (10_000 - n_some) < 20e6
