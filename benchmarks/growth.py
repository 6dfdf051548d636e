"""How the cost of a collection grows with its songs, from a thousand to a million, and its index alone to ten million.

    python -m benchmarks.growth [--songs 1000 10000 100000 1000000] [--index 10000000] [--folder DIR] [--only WHAT ...]
    python -m benchmarks.growth --report

measures, and writes benchmarks/results/growth.json; ``--report`` makes the table of docs/explanation/scale.md and its
plot from that file. Every number of songs has a store that `extract` made with a stand-in for decoding
(benchmarks/bookkeeping.py). What is measured on it runs in a process of its own: its processor time without that of
loading libraries, and its peak memory. The exponent p of what grows like songs ** p is fitted by least squares to the
logarithms, and once more to the largest two sizes alone, where constants weigh least. Both should be
at most 1.05.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks import bookkeeping
from benchmarks.copies import N_REAL, many_songs
from benchmarks.million_songs import _GENRES, song_ids, synthetic_index
from benchmarks.peers.results import RESULTS, machine
from benchmarks.start import COMMAND
from benchmarks.stores import music_windows, write_store
from songbag_store import FeatureSpec
from songbag_store.format.index import index_schema
from songbag_store.format.sealed import Rows
from songbag_store.writer import commit_change, open_for_writing

RESULT = RESULTS / "growth.json"
MOST = 1.05
_ROWS_AT_ONCE = 1 << 16
_NEW_SONGS = 1000

_MEASURED = """
import json, resource, sys, time
def peak_mb():
    # Of the process itself: ru_maxrss begins with what its parent had.
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1000
{libraries}
began, cpu_began, before_mb = time.perf_counter(), time.process_time(), peak_mb()
{code}
took = {{"cpu_s": time.process_time() - cpu_began, "s": time.perf_counter() - began}}
print(json.dumps(took | {{"peak_mb": peak_mb(), "own_mb": peak_mb() - before_mb}}))
"""

_PLAN = "from songbag_pipeline.run.plan import Plan; from songbag_pipeline.sources.source import read_source"
MEASURES: dict[str, tuple[str, str]] = {
    "open": ("import duckdb", "SongStore.open(sys.argv[1])"),
    "query": (
        "import duckdb; import pyarrow.dataset; store = SongStore.open(sys.argv[1])",
        "store.sql('select genre, count(*), avg(duration_s), sum(n_windows) from songs group by genre', arrow=True)",
    ),
    "plan": (
        f"{_PLAN}; store = SongStore.open(sys.argv[1]); source = read_source(sys.argv[2])",
        "assert not Plan.of(source, store.inside.state.content).todo.num_rows",
    ),
    "plan, with the listing": (
        f"{_PLAN}; store = SongStore.open(sys.argv[1])",
        "assert not Plan.of(read_source(sys.argv[2]), store.inside.state.content).todo.num_rows",
    ),
    "commit": (
        "from benchmarks.growth import add_songs, new_songs; rows = new_songs(sys.argv[1])",
        "add_songs(sys.argv[1], rows)",
    ),
    "gc": ("from songbag_store.upkeep.garbage import gc", "gc(sys.argv[1], yes=True)"),
}
"""What is measured on the store of an extraction, in this order: libraries and what is there before, then the code."""

INDEX_MEASURES = {
    "plan": (
        f"{_PLAN}; from benchmarks.growth import source_of; store = SongStore.open(sys.argv[1]); "
        "source = source_of(store)",
        MEASURES["plan"][1],
    ),
    **{name: MEASURES[name] for name in ("open", "query", "commit")},
}
"""The same on an index alone; the source of the plan is made of the index."""


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """One measurement."""

    what: str
    unit: str
    songs: int
    value: float


def new_songs(store: str) -> pa.Table:
    """Return the rows of a part of some new songs, like the first songs of a store."""
    from songbag_store import SongStore
    from songbag_store.format.index import REPLACES

    content = SongStore.open(store).inside.state.content
    rows = next(iter(content.pieces())).slice(0, _NEW_SONGS)
    ids, fragment = [f"new {time.time_ns()} {number}" for number in range(rows.num_rows)], os.urandom(16).hex()
    made = {"song_id": pa.array(ids), "fragment": pa.repeat(fragment, rows.num_rows)}
    starts = np.cumsum([0, *rows["n_windows"].to_numpy()[:-1]])
    for name, column in {**made, "row_start": pa.array(starts)}.items():
        field = rows.schema.field(name)
        rows = rows.set_column(rows.schema.get_field_index(name), field, column.cast(field.type))
    return rows.append_column(REPLACES, pa.nulls(rows.num_rows, pa.string()))


def add_songs(store: str, rows: pa.Table) -> None:
    """Commit a part, as a run does it: with the store open without its index."""
    from songbag_store.writer import commit_parts, open_identity

    commit_parts(open_identity(store), {rows["fragment"][0].as_py(): rows})


def source_of(store: Any) -> Any:
    """Return the songs of an index as a source that has the same files."""
    from songbag_pipeline.sources.listing import OWN, Source
    from songbag_store.storage.location import Location

    return Source(Location("nowhere"), store.inside.state.columns(OWN.names))


def run_measure(libraries: str, code: str, *arguments: Path) -> dict[str, float]:
    """Run one measure in a fresh process."""
    first = f"import songbag_store.store\nfrom songbag_store import SongStore\n{libraries}"
    command = [sys.executable, "-c", _MEASURED.format(libraries=first, code=code), *map(str, arguments)]
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def extraction(n_songs: int, folder: Path) -> Iterator[Point]:
    """Extract so many songs, and measure what is done with the store then."""
    took = bookkeeping.measure(n_songs, folder)
    yield Point("extract: bytes for the index", "B", n_songs, took.index_bytes)
    yield Point("extract: bytes in all", "B", n_songs, took.index_bytes + took.feature_bytes)
    yield Point("extract: snapshots", "", n_songs, took.snapshots)
    yield Point("extract: time of the client", "s", n_songs, took.client_s)
    yield Point("extract: time of the workers", "s", n_songs, took.workers_s)
    yield Point("extract: memory of the client", "B", n_songs, took.peak_bytes)
    store = folder / "store"
    # First of all, because the songs that are committed below have no windows.
    yield Point("start of training", "s", n_songs, first_step(store, folder / "run"))
    for what, (libraries, code) in MEASURES.items():
        yield from _points(what, n_songs, run_measure(libraries, code, store, folder / "songs.csv"))
    # One of the run, and that of the commit above.
    yield Point("snapshots after gc", "", n_songs, len(list((store / "index").glob("*.parquet"))))


def _points(what: str, n_songs: int, found: dict[str, float]) -> Iterator[Point]:
    yield Point(f"{what}: time", "s", n_songs, found["cpu_s"])
    yield Point(f"{what}: memory", "B", n_songs, found["peak_mb"] * 1e6)


def first_step(store: Path, run: Path) -> float:
    """Return the processor time from the start of `songbag train` to the end of its first step."""
    code = COMMAND.replace("{time.time() - began:.2f} s", "{time.process_time():.2f} s")
    options = ["train", str(store), "--label", "genre", "-o", str(run), "--no-floor"]
    command = [sys.executable, "-c", code, str(time.time()), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split("first step after ")[1].split()[0])


def copies(n_songs: int, folder: Path) -> Iterator[Point]:
    """Look for copies among so many songs like those of made-up music."""
    real = write_store(folder / "real", music_windows(N_REAL))
    many_songs(real, folder / "store", n_songs)
    libraries = "from songbag_store.likeness.copies import find_copies; from songbag_store.progress import Silent"
    code = "find_copies(SongStore.open(sys.argv[1]), progress=Silent())"
    yield from _points("copies", n_songs, run_measure(libraries, code, folder / "store"))


def index_alone(n_songs: int, folder: Path) -> Iterator[Point]:
    """Write an index of so many songs, some at a time, and measure what it takes to use it."""
    write_index(folder / "store", n_songs)
    size = next((folder / "store" / "index").glob("*.parquet")).stat().st_size
    yield Point("index alone: bytes", "B", n_songs, size)
    for what, (libraries, code) in INDEX_MEASURES.items():
        yield from _points(f"index alone: {what}", n_songs, run_measure(libraries, code, folder / "store"))


def write_index(folder: Path, n_songs: int) -> None:
    """Commit a synthetic index without ever holding all of its rows."""
    store = open_for_writing(folder, FeatureSpec())
    genres = np.random.default_rng(0)

    def pieces() -> Iterator[pa.Table]:
        for start in range(0, n_songs, _ROWS_AT_ONCE):
            ids = song_ids(min(n_songs, start + _ROWS_AT_ONCE), start)
            chosen = pa.array(_GENRES).take(pa.array(genres.integers(0, len(_GENRES), len(ids))))
            yield synthetic_index(ids, chosen, Path("/music"), Path(__file__).stat(), start)

    rows = Rows(index_schema([pa.field("genre", pa.string())]), pieces())
    commit_change(store, lambda base: (rows, frozenset()), note="synthetic")


PARTS: dict[str, Callable[[int, Path], Iterator[Point]]] = {"extraction": extraction, "copies": copies}


def main() -> None:
    """Measure, or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, nargs="*", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--index", type=int, nargs="*", default=[1_000_000, 10_000_000], help="sizes of an index alone")
    parser.add_argument("--only", nargs="*", choices=[*PARTS, "index"], default=[*PARTS, "index"])
    parser.add_argument("--folder", type=Path, help="where to work [default: a temporary folder]")
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    parser.add_argument("--report", action="store_true", help="make table and plot of the last result")
    arguments = parser.parse_args()
    if not arguments.report:
        jobs = [(PARTS[name], n) for name in PARTS if name in arguments.only for n in arguments.songs]
        jobs += [(index_alone, n) for n in arguments.index if "index" in arguments.only]
        measure(jobs, arguments.folder, arguments.output)
    from benchmarks.growth_page import write_page

    write_page(arguments.output, replace=arguments.report)


def measure(jobs: list[tuple[Callable[[int, Path], Iterator[Point]], int]], folder: Path | None, output: Path) -> None:
    """Measure all, and write what is measured after each size."""
    points: list[Point] = []
    for job, n_songs in jobs:
        place = Path(tempfile.mkdtemp(dir=folder, prefix="songbag-growth-"))
        try:
            for point in job(n_songs, place):
                points.append(point)
                print(f"{point.songs:12,}  {point.what:32}  {point.value:14,.3f} {point.unit}", flush=True)
        finally:
            shutil.rmtree(place)
        output.parent.mkdir(parents=True, exist_ok=True)
        found = {"machine": machine(), "points": [dataclasses.asdict(point) for point in points]}
        output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
