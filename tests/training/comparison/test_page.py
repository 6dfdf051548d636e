"""The page of a comparison: what it says, and in a real browser."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import songbag
from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_training.errors import RunNotFound
from songbag_training.runs.run import Run
from tests.support.answers import answering, songs_tested
from tests.support.browser import complaints, opened_browser, requests

STRANGE = "${x} $$x$$ <img src=x> @name"


@pytest.fixture(scope="module")
def folders(run: Run, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return three runs: one with a strange name that trained otherwise, and one without learning curves."""
    folder, songs = tmp_path_factory.mktemp("compared"), songs_tested(run)
    other = dataclasses.replace(run.facts.config, learning_rate=0.5)
    made = [
        answering(run, folder / "first", {songs[0], songs[1]}),
        answering(run, folder / STRANGE, {songs[2]}, config=other),
        answering(run, folder / "third", songs, config=other),
    ]
    for one in made[:2]:
        shutil.copy(run.folder / "history.csv", one)
    return made


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield from opened_browser(tmp_path_factory.mktemp("profile"))


def test_a_person_sees_what_flipped_and_nothing_is_asked_for(
    browser: Any, run: Run, folders: list[Path], tmp_path: Path
) -> None:
    path = songbag.report(folders, tmp_path / "page.html")
    size = {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.as_uri())
    browser.set_script_timeout(60)
    script = """const done = arguments[0], wait = () => {
        const all = [...document.querySelectorAll('.chart')];
        if (all.every(one => one.querySelector('.canvas'))) setTimeout(() => done(all.length), 50);
        else setTimeout(wait, 50); };
      wait();"""
    assert browser.execute_async_script(script) >= 5
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    browser.find_element("css selector", "[data-table=flips] input").send_keys("$$x$$ wrong")
    script = """return [...document.querySelectorAll('[data-table=flips] tbody tr')]
      .map(row => [...row.cells].map(cell => cell.textContent));"""
    assert [(row[0], row[1], row[5]) for row in browser.execute_script(script)] == [
        (songs_tested(run)[2], STRANGE, "wrong now")
    ]
    assert "learning curves of third are missing" in browser.execute_script("return document.body.textContent")
    assert browser.execute_script("return document.images.length") == 0
    assert complaints(browser) == []
    assert requests(browser) == [path.as_uri()]


def test_it_says_what_differs_and_refuses_what_cannot_be_compared(
    run: Run, store: SongStore, folders: list[Path], tmp_path: Path
) -> None:
    text = songbag.report(folders[:2], tmp_path / "page.html").read_text()
    n = len(songs_tested(run))
    assert f"Of {n} songs, ${{x}} $$x$$ &lt;img src=x&gt; @name alone has 2 right, first alone 1." in text
    assert '{"title":"setting","kind":"text","values":["learning_rate"]}' in text
    assert "parallel" in text
    assert len(text) < 4_000_000
    untested = answering(run, tmp_path / "untested", parts=dict.fromkeys(run.split().song_ids, "train"))
    with pytest.raises(UsageError, match="no song was validated by both"):
        songbag.report([folders[0], untested], tmp_path / "none.html")
    with pytest.raises(RunNotFound, match="there is no run here"):
        songbag.report([folders[0], store], tmp_path / "none.html")
    with pytest.raises(UsageError, match="two runs"):
        songbag.report([], tmp_path / "none.html")
    with pytest.raises(UsageError, match="page of one run"):
        songbag.report(folders, tmp_path / "none.html", embed_audio=1)
    with pytest.raises(UsageError, match="page of one run"):
        songbag.report(store, tmp_path / "none.html", embed_audio=1)
    assert not (tmp_path / "none.html").exists()
