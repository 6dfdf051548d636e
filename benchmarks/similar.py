"""Nearest songs of a million: one query, alone and with opening the store, and the neighbours of all songs.

    python -m benchmarks.similar [--songs 1000000] [--numbers 32] [--folder DIR] [--noise]

writes an index of so many songs, without windows, and prints what a process of its own takes for the nearest songs of
one song, in an open store and from the first import on, and for ten neighbours of every song, written to Parquet.
Of 300 songs the neighbours are compared with exact ones. The statistics are of 200 clusters in ten directions with
noise; with ``--noise`` they are independent, the worst case.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from songbag_store import FeatureSpec, SongStore
from songbag_store.format.index import index_schema
from songbag_store.likeness.nearest import nearest_songs
from songbag_store.likeness.points import SongPoints
from songbag_store.writer import commit_change, open_for_writing

N_WINDOWS = 23
N_CHECKED = 300
K = 10
QUESTIONS = {
    "open": "one song, in an open store",
    "one": "one song, with the start of Python and opening the store",
    "all": f"{K} neighbours of every song",
}

_MEASURED = """
import json, sys, time
began = time.perf_counter()
import songbag
if sys.argv[2] == "open":
    store = songbag.open(sys.argv[1])
    import songbag_training.apply.similar
    began = time.perf_counter()
    songbag.similar(store, "song 7", arrow=True)
elif sys.argv[2] == "one":
    songbag.similar(sys.argv[1], "song 7", arrow=True)
else:
    from pathlib import Path
    from songbag_store.progress import Silent
    from songbag_store.sql.output import write_table
    from songbag_training.apply.similar import find_similar
    none = dict(run=None, where=None, encoder=None, progress=Silent())
    write_table(find_similar(sys.argv[1], None, k=int(sys.argv[4]), **none), "parquet", Path(sys.argv[3]))
# Of the process itself: ru_maxrss begins with what its parent had.
peak_kb = int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
print(json.dumps({"s": time.perf_counter() - began, "peak_mb": peak_kb / 1000}))
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=1_000_000)
    parser.add_argument("--numbers", type=int, default=32, help="numbers a song: means and deviations")
    parser.add_argument("--folder", type=Path, help="where to work [default: a temporary folder]")
    parser.add_argument("--noise", action="store_true", help="independent numbers")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="songbag-similar-") as folder:
        store, output = Path(folder) / "store", Path(folder) / "neighbours.parquet"
        write_index(store, arguments.songs, arguments.numbers // 2, noise=arguments.noise)
        print("| what | time | peak memory |\n|---|---|---|")
        for what, words in QUESTIONS.items():
            command = [sys.executable, "-c", _MEASURED, str(store), what, str(output), str(K)]
            took = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
            print(f"| {words} | {took['s']:.2f} s | {took['peak_mb']:,.0f} MB |", flush=True)
        share = share_found(SongStore.open(store), output)
        print(f"\n{share:.2%} of the neighbours of {N_CHECKED} songs are the nearest.")


def write_index(folder: Path, n_songs: int, n_values: int, *, noise: bool) -> None:
    """Write a store of an index alone: songs with means and deviations of `n_values` coefficients."""
    rng = np.random.default_rng(0)
    store = open_for_writing(folder, FeatureSpec(n_mfcc=n_values))
    numbers = independent(rng, n_songs, 2 * n_values) if noise else clustered(rng, n_songs, 2 * n_values)
    means, deviations = 20 * numbers[:, :n_values], np.exp(0.3 * numbers[:, n_values:])
    n_frames = N_WINDOWS * store.spec.n_frames
    sums, squares = means * n_frames, (np.square(means) + np.square(deviations)) * n_frames
    fragment = "0" * 32
    columns = {
        "song_id": pa.array([f"song {number}" for number in range(n_songs)]),
        "status": pa.repeat("ok", n_songs),
        "fragment": pa.repeat(fragment, n_songs),
        "row_start": np.arange(n_songs) * N_WINDOWS,
        "n_windows": np.full(n_songs, N_WINDOWS, np.int32),
        "feature_sum": lists(sums),
        "feature_sumsq": lists(squares),
        "run_id": pa.repeat("benchmark", n_songs),
    }
    schema = index_schema([])
    index = pa.table(
        [columns.get(field.name, pa.nulls(n_songs, field.type)) for field in schema],
        schema=schema,
    )
    commit_change(store, lambda base: (index, base.parts | {fragment}), note="benchmark")


def clustered(rng: np.random.Generator, n_songs: int, n_numbers: int) -> npt.NDArray[np.float64]:
    """Return songs of 200 clusters in ten directions, shape (n, n_numbers)."""
    centres, axes = 2 * rng.standard_normal((200, 10)), rng.standard_normal((10, n_numbers)) / 3
    places = centres[rng.integers(0, 200, n_songs)] + rng.standard_normal((n_songs, 10))
    return places @ axes + 0.3 * rng.standard_normal((n_songs, n_numbers))


def independent(rng: np.random.Generator, n_songs: int, n_numbers: int) -> npt.NDArray[np.float64]:
    """Return songs that are near nothing, shape (n, n_numbers)."""
    return rng.standard_normal((n_songs, n_numbers))


def lists(rows: npt.NDArray[np.float64]) -> pa.ListArray:
    """Return rows as an array of lists."""
    return pa.ListArray.from_arrays(np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1], rows.ravel())


def share_found(store: SongStore, path: Path) -> float:
    """Return which share of the neighbours in a file are those that every song was compared for."""
    songs = SongPoints.read(store.inside.state.content, store.spec)
    chosen = [f"song {number}" for number in range(0, len(songs.points), max(1, len(songs.points) // N_CHECKED))]
    table = pq.read_table(path, filters=[("song_id", "in", chosen)]).to_pandas()
    found = {song_id: set(rows["neighbour"]) for song_id, rows in table.groupby("song_id")}
    right = [
        len(found[song_id] & set(nearest_songs(songs, song_id, songs, K)["song_id"].to_pylist())) for song_id in chosen
    ]
    return sum(right) / (K * len(chosen))


if __name__ == "__main__":
    main()
