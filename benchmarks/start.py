"""From the command `songbag train` to the end of the first training step, on a store of a million songs.

    python -m benchmarks.start [--songs 1000000] [--rounds 3] [--folder DIR]

The index is synthetic (benchmarks/million_songs.py), with one window of (4, 22) a song, so that the fragments are real
and yet small; all hold the same windows. They stand in the index in any order, as they may have been finished. Between
the rounds nothing is kept but what the operating system has read. Prints the most memory that the process took, too.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.million_songs import song_ids, synthetic_index
from songbag_store import FeatureSpec
from songbag_store.format.array import encode
from songbag_store.format.keys import ARRAYS
from songbag_store.windows.spill import WindowSpill
from songbag_store.windows.writer import write_fragment
from songbag_store.writer import commit_change, open_for_writing

SPEC = FeatureSpec(n_mfcc=4, window_s=0.5, n_mels=32)
_PER_FRAGMENT = 1000
_GENRES = ["ambient", "blues", "classical", "disco", "folk", "jazz", "metal", "pop", "reggae", "rock"]

COMMAND = """
import os, sys, time
began = float(sys.argv.pop(1))
import importlib.abc, importlib.machinery

class Notice(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "songbag_training.fit.fit":
            return None
        sys.meta_path.remove(self)
        from songbag_training.fit.guard import LossGuard

        def first_step(self, batch, logs=None):
            peak_kb = open("/proc/self/status").read().split("VmHWM:")[1].split()[0]
            print(f"first step after {time.time() - began:.2f} s, {int(peak_kb) / 1000:.0f} MB", flush=True)
            os._exit(0)

        LossGuard.on_train_batch_end = first_step
        return None

sys.meta_path.insert(0, Notice())
from songbag_store.cli import main
sys.argv[0] = "songbag"
main()
"""
"""The command itself, in an interpreter of its own; only the end of its first step is made to say so."""


def build(folder: Path, n_songs: int) -> Path:
    """Write a store of so many songs of one window."""
    ids = song_ids(n_songs)
    genres = pa.array(_GENRES).take(pa.array(np.random.default_rng(0).integers(0, len(_GENRES), n_songs)))
    store = open_for_writing(folder / "store", SPEC)
    index = synthetic_index(ids, genres, folder, Path(__file__).stat())
    rng = np.random.default_rng(2)
    first = uuid.uuid4().hex
    with WindowSpill(SPEC) as spill:
        for _ in range(_PER_FRAGMENT):
            spill.append(encode(rng.normal(0, 20, (1, *SPEC.window_shape)).astype(np.float32), SPEC))
            spill.end_song()
        write_fragment(store.inside.storage, first, SPEC, spill)
    arrays = folder / "store" / ARRAYS
    names = [first, *(uuid.uuid4().hex for _ in range((n_songs - 1) // _PER_FRAGMENT))]
    for name in names[1:]:
        shutil.copytree(arrays / first, arrays / name)
    number = np.arange(n_songs)
    fragments = pa.array(names).take(pa.array(number // _PER_FRAGMENT))
    made = {"fragment": fragments, "row_start": number % _PER_FRAGMENT, "n_windows": np.ones(n_songs, np.int32)}
    for name, n_bands in (("feature_sum", SPEC.window_shape[0]), ("feature_sumsq", SPEC.window_shape[0])):
        values = pa.array(rng.random(n_songs * n_bands) * (1 if name == "feature_sum" else 400 * SPEC.n_frames))
        made[name] = pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, n_bands, dtype=np.int32)), values)
    for name, column in made.items():
        field = index.schema.field(name)
        position = index.schema.get_field_index(name)
        index = index.set_column(position, field, [pa.array(column, field.type)])
    finished = rng.permutation(len(names))[number // _PER_FRAGMENT]
    index = index.take(pa.array(np.argsort(finished, kind="stable")))
    commit_change(store, lambda base: (index, frozenset()), note="synthetic")
    return folder / "store"


def first_step(store: Path, run: Path) -> tuple[float, float]:
    """Return the seconds from the start of the process to the end of its first training step, and its peak in MB."""
    options = ["train", str(store), "--label", "genre", "-o", str(run)]
    command = [sys.executable, "-c", COMMAND, str(time.time()), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, _, peak_mb = done.stdout.split("first step after ")[1].split()[:3]
    return float(seconds), float(peak_mb)


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--songs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work [default: a temporary folder]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="songbag-start-") as folder:
        store = build(Path(folder), arguments.songs)
        rounds = [first_step(store, Path(folder) / f"run-{n}") for n in range(arguments.rounds)]
        times, peaks = zip(*rounds, strict=True)
        listed = ", ".join(f"{seconds:.1f}" for seconds in times)
        print(
            f"{arguments.songs:,} songs: first step after {statistics.median(times):.1f} s (rounds: {listed}), "
            f"peak {max(peaks):,.0f} MB"
        )


if __name__ == "__main__":
    main()
