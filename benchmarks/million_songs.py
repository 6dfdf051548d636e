"""A store with an index of a million songs, made synthetically: what opening, asking and planning cost.

    python benchmarks/million_songs.py [--songs 1000000] [--folder DIR]

prints one line a figure. Features are not written: nothing that is timed reads them. The audio files are hard links
to a few empty ones, so that a no-op `extract` looks at a million files that are there. Needs a million free inodes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from songbag_store import FeatureSpec
from songbag_store.format.index import index_schema
from songbag_store.format.keys import INDEX
from songbag_store.writer import commit_change, open_for_writing

_LINKS = 50_000
_PER_FRAGMENT = 1000
_GENRES = ["ambient", "blues", "classical", "disco", "folk", "jazz", "metal", "pop", "reggae", "rock"]


def song_ids(stop: int, start: int = 0) -> list[str]:
    """Return ids as folders give them: artist, album, title."""
    return [f"artist {i // 100:05d}/album {i // 10 % 10}/{i % 10:02d} song {i:07d}.mp3" for i in range(start, stop)]


def write_files(folder: Path, ids: list[str]) -> os.stat_result:
    """Make an audio file for every song; all have the size and the time that is returned."""
    source = folder
    for i, song_id in enumerate(ids):
        if i % _LINKS == 0:
            source = folder / f"source-{i}.bin"
            source.write_bytes(b"no audio")
            os.utime(source, (1_700_000_000, 1_700_000_000))
        path = folder / song_id
        if i % 10 == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, path)
    return source.stat()


def write_manifest(path: Path, ids: list[str], genres: pa.Array) -> None:
    """Write the manifest of these songs as CSV."""
    pyarrow.csv.write_csv(pa.table({"path": ids, "genre": genres}), path)


def synthetic_index(ids: list[str], genres: pa.Array, folder: Path, file: os.stat_result, first: int = 0) -> pa.Table:
    """Return an index of songs of one to five minutes, with numbers of about the entropy of real ones.

    It may be a piece of an index, whose fragments are those of no other piece: `first` songs are before it.
    """
    n = len(ids)
    rng = np.random.default_rng([1, first] if first else 1)
    windows = rng.integers(23, 120, n).astype(np.int32)
    fragments = pa.array(
        [hashlib.md5(b"%d %d" % (first, i), usedforsecurity=False).hexdigest() for i in range(n // 1000 + 1)]
    )
    number = np.arange(n) // _PER_FRAGMENT
    before = np.concatenate([[0], np.cumsum(windows, dtype=np.int64)[:-1]])
    starts = before - before[number * _PER_FRAGMENT]
    when = pa.scalar(1_700_000_000_000_000, pa.timestamp("us", tz="UTC"))
    durations = pa.array(2.5 * windows + 2.5 + rng.random(n))
    columns = {
        "song_id": pa.array(ids),
        "path": pa.array([str(folder / i) for i in ids]),
        "genre": genres,
        "status": pa.repeat("ok", n),
        "duration_s": durations,
        "declared_duration_s": durations,
        "source_sample_rate_hz": pa.repeat(pa.scalar(44100, pa.int32()), n),
        "channels": pa.repeat(pa.scalar(2, pa.int32()), n),
        "source_format": pa.repeat("MP3", n),
        "truncated": pa.repeat(False, n),
        "padded": pa.repeat(False, n),
        "content_sha256": pa.array([hashlib.sha256(i.encode()).hexdigest() for i in ids]),
        "file_bytes": pa.repeat(file.st_size, n),
        "modified_at": pa.repeat(when, n),
        "fragment": fragments.take(pa.array(number)),
        "row_start": pa.array(starts),
        "n_windows": pa.array(windows),
        "feature_sum": _sums(rng, n),
        "feature_sumsq": _sums(rng, n),
        "run_id": pa.repeat("0" * 32, n),
        "extracted_at": pa.repeat(when, n),
    }
    schema = index_schema([pa.field("genre", pa.string())])
    return pa.table([columns.get(f.name, pa.nulls(n, f.type)) for f in schema], schema=schema)


def _sums(rng: np.random.Generator, n: int) -> pa.ListArray:
    """Sums of int16 steps of 1/16: multiples of it, of any size."""
    n_bands = FeatureSpec().window_shape[0]
    values = np.rint(rng.normal(0, 5e6, n * n_bands)) / 16
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, n_bands, dtype=np.int32)), pa.array(values))


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long a block took."""
    started = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - started:.2f} s", flush=True)


_MEASURED = """
import json, sys, time
started, cpu_started = time.perf_counter(), time.process_time()
{code}
# Of the process itself: ru_maxrss begins with what its parent had.
peak_mb = int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1000
took = {{"s": time.perf_counter() - started, "cpu_s": time.process_time() - cpu_started}}
print(json.dumps(took | {{"peak_mb": peak_mb, "said": str(said)}}))
"""

MEASURES = {
    "import of the store package": "import pyarrow, duckdb, songbag_store.store; said = ''",
    "open and info": """
import pyarrow, duckdb, songbag_store.store
from songbag_store import SongStore
from songbag_store.upkeep.summary import info
started, cpu_started = time.perf_counter(), time.process_time()
facts = info(SongStore.open(sys.argv[1]))
said = f"{{facts['songs']:,}} songs, {{facts['hours']:,.0f}} hours"
""",
    "group-by query on the open store": """
from songbag_store import SongStore
store = SongStore.open(sys.argv[1])
started, cpu_started = time.perf_counter(), time.process_time()
said = len(store.sql("select genre, count(*), avg(duration_s), sum(n_windows) from songs group by genre"))
""",
    "plan of a no-op extract, opening included": """
from songbag_pipeline.run.plan import Plan
from songbag_pipeline.sources.source import read_source
from songbag_store import SongStore
source = read_source(sys.argv[2])
planned = Plan.of(source, SongStore.open(sys.argv[1]).inside.state.content)
said = f"{{planned.todo.num_rows:,}} to do, {{planned.n_known:,}} known"
assert planned.todo.num_rows == 0 and planned.n_failed_before == 0
""",
}
"""Each runs in a process of its own, with the store and the manifest as arguments."""


def measure(what: str, store: Path, manifest: Path) -> dict[str, float | str]:
    """Run one of `MEASURES` in a fresh process; return seconds, peak memory in MB and what it said."""
    code = _MEASURED.format(code=MEASURES[what].replace("{{", "{").replace("}}", "}"))
    command = [sys.executable, "-c", code, str(store), str(manifest)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float | str] = json.loads(done.stdout)
    return found


def build(folder: Path, n_songs: int) -> tuple[Path, Path]:
    """Make files, manifest and store; return store and manifest."""
    ids = song_ids(n_songs)
    genres = pa.array(_GENRES).take(pa.array(np.random.default_rng(0).integers(0, len(_GENRES), n_songs)))
    with timed("making the files"):
        file = write_files(folder, ids)
    write_manifest(folder / "manifest.csv", ids, genres)
    index = synthetic_index(ids, genres, folder, file)
    store = open_for_writing(folder / "store", FeatureSpec())
    with timed("committing the index"):
        commit_change(store, lambda base: (index, frozenset()), note="synthetic")
    n_bytes = sum(entry.n_bytes for entry in store.inside.storage.entries(INDEX))
    print(f"index on disk: {n_bytes / 1e6:.0f} MB ({n_bytes / n_songs:.0f} bytes a song)")
    return folder / "store", folder / "manifest.csv"


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--songs", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where to work [default: a temporary folder]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="songbag-million-") as folder:
        store, manifest = build(Path(folder), arguments.songs)
        for what in MEASURES:
            found = measure(what, store, manifest)
            times = f"{found['s']:.2f} s ({found['cpu_s']:.2f} s of CPU)"
            print(f"{what}: {times}, peak {found['peak_mb']:,.0f} MB  {found['said']}", flush=True)


if __name__ == "__main__":
    main()
