"""What a song costs beside its audio: `extract` with a stand-in for the decoder, on 1,000 to 100,000 songs.

    python -m benchmarks.bookkeeping 1000 10000 100000

Every run is a fresh process with a fresh store. "Client" is the peak resident memory of the process that runs
`extract`, its scheduler included; the workers are processes of their own.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from songbag_pipeline.audio.files import modification_time
from songbag_pipeline.audio.recording import Excerpt
from songbag_pipeline.songs.facts import Sink, SongFacts
from songbag_store import FeatureSpec
from songbag_store.format.keys import ARRAYS

_FILE_BYTES = 4 << 20


def stand_in(path: str, spec: FeatureSpec, sink: Sink, excerpt: Excerpt) -> SongFacts:
    """Give one window of noise for any path, at once, as if every song were another one."""
    window = _rng().normal(0, 200, (1, *spec.window_shape)).astype(spec.encoding)
    sink(window)
    values = window[0].astype(np.float64) / 16
    return SongFacts(
        n_windows=1,
        duration_s=5.0,
        truncated=False,
        padded=False,
        source_format="none",
        content_sha256=hashlib.sha256(window.tobytes()).hexdigest(),
        file_bytes=_FILE_BYTES,
        modified_at=modification_time(os.stat(path)),
        feature_sum=values.sum(axis=1).tolist(),
        feature_sumsq=np.square(values).sum(axis=1).tolist(),
    )


@functools.cache
def _rng() -> np.random.Generator:
    return np.random.default_rng()


@dataclasses.dataclass(frozen=True, slots=True)
class Took:
    """What a whole run took."""

    songs: int
    seconds: float
    client_s: float
    """Processor time of the process that runs `extract`, its scheduler included."""
    workers_s: float
    peak_bytes: int
    """Of the client."""
    index_bytes: int
    """What was written for the index: every snapshot, and the parts."""
    feature_bytes: int
    snapshots: int


def extract_with_stand_in(manifest: str, store: str) -> None:
    """Run the command `extract` with the stand-in, and print its peak memory in bytes and its processor time."""
    from songbag_pipeline.cli.commands import commands
    from songbag_pipeline.songs import containment

    reader = functools.partial(containment.Containment, reader="benchmarks.bookkeeping:stand_in")
    containment.Containment = reader  # type: ignore[assignment,misc]
    options = ["--workers", "2", "--window", "0.5", "--n-mels", "40"]
    commands(["extract", manifest, store, *options], standalone_mode=False)
    with open("/proc/self/status") as file:
        peak_kb = next(line.split()[1] for line in file if line.startswith("VmHWM"))
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps([int(peak_kb) * 1024, time.process_time(), children.ru_utime + children.ru_stime]))


def write_manifest(folder: Path, n_songs: int) -> Path:
    """Write a manifest of so many songs, which are one file of no audio, with a column `genre` of ten values."""
    folder.mkdir(exist_ok=True)
    with (folder / "song.wav").open("wb") as file:
        file.truncate(_FILE_BYTES)
    with (folder / "songs.csv").open("w") as file:
        file.write("song_id,path,genre\n")
        file.writelines(f"{number:08},song.wav,g{number % 10}\n" for number in range(n_songs))
    return folder / "songs.csv"


def measure(n_songs: int, folder: Path) -> Took:
    """Extract so many songs into `folder`/store, in a fresh process."""
    manifest, store = write_manifest(folder, n_songs), folder / "store"
    code = "import sys; from benchmarks.bookkeeping import *; extract_with_stand_in(*sys.argv[1:])"
    command = [sys.executable, "-c", code, manifest, store]
    root = Path(__file__).parents[1]
    # As the command does it, for which it is too late here: the stand-in has loaded Arrow.
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, env=environment)
    *_, speed, end, numbers = done.stdout.splitlines()
    stored, elapsed_s = re.match(r"([0-9,]+) songs stored, 0 failed", end), re.search(r" in ([0-9.]+) s ", speed)
    assert stored, end
    assert elapsed_s, speed
    peak_bytes, client_s, workers_s = json.loads(numbers)
    sizes = {name: _bytes_below(store / name) for name in ("index", "parts", ARRAYS)}
    return Took(
        songs=int(stored[1].replace(",", "")),
        seconds=float(elapsed_s[1]),
        client_s=client_s,
        workers_s=workers_s,
        peak_bytes=peak_bytes,
        index_bytes=sizes["index"] + sizes["parts"],
        feature_bytes=sizes[ARRAYS],
        snapshots=len(list((store / "index").glob("*.parquet"))),
    )


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Print a row for every number of songs given."""
    print("  songs   seconds  ms/song  client MB")
    for n_songs in map(int, sys.argv[1:] or ("1000", "10000", "100000")):
        with tempfile.TemporaryDirectory() as folder:
            took = measure(n_songs, Path(folder))
        per_song = 1000 * took.seconds / took.songs
        print(f"{took.songs:7,}  {took.seconds:8.1f}  {per_song:7.2f}  {took.peak_bytes / 1e6:9.0f}", flush=True)


if __name__ == "__main__":
    main()
