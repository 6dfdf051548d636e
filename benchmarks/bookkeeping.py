"""What a song costs beside its audio: `extract` with a stand-in for the decoder, on 1,000 to 100,000 songs.

    python -m benchmarks.bookkeeping 1000 10000 100000

Every run is a fresh process with a fresh store. "Client" is the peak resident memory of the process that runs
`extract`, its scheduler included; the workers are processes of their own.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from songbag_pipeline.audio.recording import Excerpt
from songbag_pipeline.songs.facts import Sink, SongFacts
from songbag_store import FeatureSpec

_FILE_BYTES = 4 << 20


def stand_in(path: str, spec: FeatureSpec, sink: Sink, excerpt: Excerpt) -> SongFacts:
    """Give one window of zeros for any path, at once."""
    sink(np.zeros((1, *spec.window_shape), spec.encoding))
    zeros = [0.0] * spec.window_shape[0]
    return SongFacts(
        n_windows=1,
        duration_s=5.0,
        truncated=False,
        padded=False,
        source_format="none",
        content_sha256="0" * 64,
        file_bytes=_FILE_BYTES,
        feature_sum=zeros,
        feature_sumsq=zeros,
    )


def extract_with_stand_in(manifest: str, store: str) -> None:
    """Run the command `extract` with the stand-in, and print its peak memory in bytes."""
    from songbag_pipeline.cli.commands import commands
    from songbag_pipeline.songs import containment

    reader = functools.partial(containment.Containment, reader="benchmarks.bookkeeping:stand_in")
    containment.Containment = reader  # type: ignore[assignment,misc]
    options = ["--workers", "2", "--window", "0.5", "--n-mels", "40"]
    commands(["extract", manifest, store, *options], standalone_mode=False)
    with open("/proc/self/status") as file:
        peak_kb = next(line.split()[1] for line in file if line.startswith("VmHWM"))
    print(int(peak_kb) * 1024)


def measure(n_songs: int) -> tuple[int, float, int]:
    """Return songs stored, seconds of the run and peak bytes of its client, measured in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        song, manifest = Path(folder, "song.wav"), Path(folder, "songs.csv")
        with song.open("wb") as file:
            file.truncate(_FILE_BYTES)
        manifest.write_text("song_id,path\n" + "".join(f"{number:08},song.wav\n" for number in range(n_songs)))
        code = "import sys; from benchmarks.bookkeeping import *; extract_with_stand_in(*sys.argv[1:])"
        command = [sys.executable, "-c", code, manifest, f"{folder}/store"]
        root = Path(__file__).parents[1]
        # As the command does it, for which it is too late here: the stand-in has loaded Arrow.
        environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, env=environment)
    *_, speed, end, peak = done.stdout.splitlines()
    stored, elapsed_s = re.match(r"([0-9,]+) songs stored, 0 failed", end), re.search(r" in ([0-9.]+) s ", speed)
    assert stored, end
    assert elapsed_s, speed
    return int(stored[1].replace(",", "")), float(elapsed_s[1]), int(peak)


def main() -> None:
    """Print a row for every number of songs given."""
    print("  songs   seconds  ms/song  client MB")
    for n_songs in map(int, sys.argv[1:] or ("1000", "10000", "100000")):
        stored, elapsed_s, peak = measure(n_songs)
        print(f"{stored:7,}  {elapsed_s:8.1f}  {1000 * elapsed_s / stored:7.2f}  {peak / 1e6:9.0f}", flush=True)


if __name__ == "__main__":
    main()
