"""What a run costs beside its songs: the time until the first one is decoded, and the share of the workers' time.

python -m benchmarks.overhead         # 1,000 songs of a minute, two workers
python -m benchmarks.overhead 200 1   # other numbers

Both are measured on the command itself, `songbag extract`, with a reader that notes when each song begins and ends.
"""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from songbag_pipeline.audio.recording import Excerpt
from songbag_pipeline.songs.facts import Sink, SongFacts
from songbag_store import FeatureSpec

ROUNDS = 5
_LOG = "SONGBAG_BENCHMARK_LOG"


def main() -> None:
    """Print two lines."""
    n_songs, workers = (*map(int, sys.argv[1:]), *(1000, 2)[len(sys.argv) - 1 :])
    with tempfile.TemporaryDirectory() as folder:
        starts = [time_to_first_song(Path(folder), number) for number in range(ROUNDS)]
        spread = f"{min(starts):.1f} to {max(starts):.1f}"
        print(f"first song decoded after {statistics.median(starts):.1f} s ({spread} s in {ROUNDS} runs)", flush=True)
        in_songs_s, in_all_s = time_in_songs(Path(folder), n_songs, workers)
    share = f"{in_songs_s:.1f} s of {in_all_s:.1f} s in songs, {1 - in_songs_s / in_all_s:.1%} beside"
    print(f"{n_songs:,} songs, {workers} worker(s): {share}")


def time_to_first_song(folder: Path, number: int) -> float:
    """Return the seconds from the command's start until the features of its first song are there."""
    songs, began = many_songs(folder / f"few{number}", 2), time.time()
    return min(ended for _, ended in run(songs, folder / f"start{number}", 2)) - began


def time_in_songs(folder: Path, n_songs: int, workers: int) -> tuple[float, float]:
    """Return the seconds that went into reading songs, and all those of the workers from the first song to the last."""
    spans = run(many_songs(folder / "many", n_songs), folder / "all", workers)
    assert len(spans) == n_songs, len(spans)
    from_first_to_last_s = max(ended for _, ended in spans) - min(began for began, _ in spans)
    return sum(ended - began for began, ended in spans), workers * from_first_to_last_s


def many_songs(folder: Path, count: int) -> Path:
    """Make a folder of one song of a minute under many names."""
    from benchmarks.measuring import music, write_song

    folder.mkdir()
    first = write_song(folder / "0000.flac", music(60, 44100), 44100, ("FLAC", "PCM_16"))
    for number in range(1, count):
        os.link(first, folder / f"{number:04}.flac")
    return folder


def run(songs: Path, store: Path, workers: int) -> list[tuple[float, float]]:
    """Run the command; return when each song began and ended."""
    log = Path(f"{store}.log")
    code = "import sys; from benchmarks.overhead import command; command()"
    arguments = ["extract", str(songs), str(store), "--workers", str(workers)]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, env=os.environ | {_LOG: str(log)})
    return [(float(began), float(ended)) for began, ended in map(str.split, log.read_text().splitlines())]


def command() -> None:
    """Be the command, with the reader that notes."""
    from songbag_pipeline.run import batch as batches, coordinator
    from songbag_pipeline.songs.containment import Containment
    from songbag_store.cli.root import main as songbag

    containment = Containment(reader="benchmarks.overhead:noting_read")
    coordinator.Job = functools.partial(batches.Job, containment=containment)  # type: ignore[assignment,misc]
    songbag()


def noting_read(path: str, spec: FeatureSpec, sink: Sink, excerpt: Excerpt) -> SongFacts:
    """Read a song as always, and note when it began and when it ended."""
    from songbag_pipeline.songs.song import read_song

    began = time.time()
    facts = read_song(path, spec, sink, excerpt)
    with open(os.environ[_LOG], "a") as file:
        file.write(f"{began} {time.time()}\n")
    return facts


if __name__ == "__main__":
    main()
