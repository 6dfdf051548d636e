"""The page of a run with many songs: its size, the time to make it, and how soon a browser shows and sorts it.

    python -m benchmarks.pages RUN WORK [--songs 10000] [--rounds 5]

The songs of RUN, a finished run, are repeated under other names until there are so many. WORK takes the copy of the
run and its page. Needs Chromium and its driver (on Debian: apt install chromium chromium-driver).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import songbag
from tests.support.browser import opened_browser

_TABLES = ("predictions.parquet", "windows.parquet")


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--songs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    folder = repeated(asked.run, asked.work / "run", asked.songs)
    page = asked.work / "page.html"
    print(f"page made in {median(lambda: songbag.report(folder, page), asked.rounds):.2f} s")
    print(f"{asked.songs:,} songs: {page.stat().st_size / 1e6:.1f} MB")
    for browser in opened_browser(asked.work / "profile"):
        print(f"shown after {median(partial(shown, browser, page), asked.rounds):.2f} s")
        for what, script in _STEPS.items():
            print(f"{what}: {statistics.median(seconds(browser, script) for _ in range(asked.rounds)) * 1e3:.0f} ms")


def repeated(run: Path, folder: Path, n_songs: int) -> Path:
    """Copy a run, with its songs repeated until there are so many."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(run, folder)
    n_own = pq.read_metadata(folder / "predictions.parquet").num_rows
    for name in _TABLES:
        table = pq.read_table(folder / name)
        ids, times = table["song_id"].to_pylist(), range(-(-n_songs // n_own))
        named = (pa.array([f"{own} {number}" for own in ids]) for number in times)
        pq.write_table(pa.concat_tables([table.set_column(0, "song_id", own) for own in named]), folder / name)
    return folder


def median(work: Callable[[], object], rounds: int) -> float:
    """Return the median of the seconds that some work takes."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def shown(browser: Any, page: Path) -> None:
    """Open a page, and wait until its table has rows."""
    browser.get(page.resolve().as_uri())
    while not browser.execute_script("return document.querySelectorAll('[data-table=songs] tbody tr').length"):
        time.sleep(0.01)


def seconds(browser: Any, script: str) -> float:
    """Return how long a script takes in the page, with the layout that follows it."""
    timed = f"const began = performance.now(); {script}; document.body.offsetHeight; return performance.now() - began"
    return float(browser.execute_script(timed)) / 1e3


_SEARCH = (
    "const box = document.querySelector('[data-table=songs] input'); "
    "box.value = {}; box.dispatchEvent(new Event('input'))"
)
_STEPS = {
    "searched": _SEARCH.format("'7 9'"),
    "search emptied": _SEARCH.format("''"),
    "sorted by song": "document.querySelectorAll('[data-table=songs] thead button')[0].click()",
    "sorted by confidence": "document.querySelectorAll('[data-table=songs] thead button')[3].click()",
}


if __name__ == "__main__":
    main()
