"""Predicting audio that is in no store: songs a second on one core and on two, and the peak of memory.

    python -m benchmarks.predict [--songs 120] [--rounds 3]

makes stereo songs of a minute (FLAC), trains the reference network for one epoch on twelve of them, and runs
`songbag predict` on four files of each song, in turn with the cores that it may use: one, two, and two with one worker,
beside which the model has the second core. The start of Python, TensorFlow and the workers, and the last batches, when
not all cores have work, are taken off by the same commands with one file of each song: the speed is that of the
others. These must be many: on two cores, 24 songs take as long as on one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil

from benchmarks.measuring import music, write_song
from songbag_pipeline import extract
from songbag_store.progress import Silent
from songbag_training import TrainConfig, train

_SONG_S = 60.0
_FILES_OF_A_SONG = 4
# A name, how many cores, and options.
_WAYS = (("one core", 1, ()), ("two cores", 2, ()), ("two cores, one worker", 2, ("--workers", "1")))


def songs_in(folder: Path, count: int) -> Path:
    """Write songs of two classes; no two are alike."""
    for number in range(count):
        path = folder / ("ab"[number % 2]) / f"{number:04}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_song(path, music(_SONG_S, 44100, seed=number), 44100, ("FLAC", "PCM_16"))
    return folder


def linked(folder: Path, songs: Path) -> Path:
    """Give each song four files: they are decoded like any other."""
    folder.mkdir()
    for path in songs.rglob("*.flac"):
        for number in range(_FILES_OF_A_SONG):
            (folder / f"{number}-{path.name}").hardlink_to(path)
    return folder


def trained(folder: Path, work: Path) -> Path:
    """Train a run on some songs."""
    some = sorted(folder.rglob("*.flac"), key=lambda path: path.name)[:12]
    (work / "some.csv").write_text("path,label\n" + "".join(f"{path},{path.parent.name}\n" for path in some))
    extract(work / "some.csv", work / "store", progress=Silent())
    train(work / "store", "label", work / "run", config=TrainConfig(epochs=1, encoder="reference"), progress=Silent())
    return work / "run"


def family(process: subprocess.Popen[bytes]) -> Iterator[psutil.Process]:
    """Yield a process and all that it started."""
    yield (own := psutil.Process(process.pid))
    yield from own.children(recursive=True)


def measured(
    run: Path, source: Path, output: Path, n_cores: int, options: tuple[str, ...]
) -> tuple[float, float, float]:
    """Predict on some cores; return seconds, and the peaks of memory in MB of the command and of all it started."""
    command = [sys.executable, "-m", "songbag", "predict", str(run), str(source), "-o", str(output), *options]
    cores = sorted(os.sched_getaffinity(0))[:n_cores]
    began = time.perf_counter()
    own, most = 0.0, 0.0
    pinned = partial(os.sched_setaffinity, 0, cores)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=pinned)
    while process.poll() is None:
        try:
            sizes = [one.memory_info().rss / 1e6 for one in family(process)]
        except psutil.NoSuchProcess:
            continue  # a process ended while it was looked at
        own, most = max(own, sizes[0]), max(most, sum(sizes[1:]))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(process.returncode)
    return time.perf_counter() - began, own, most


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--songs", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        songs = songs_in(work / "songs", chosen.songs)
        more = linked(work / "more", songs)
        run, speeds = trained(songs, work), dict[str, list[float]]()
        for _ in range(chosen.rounds):
            for way, n_cores, options in _WAYS:
                short, _, _ = measured(run, songs, work / "few.parquet", n_cores, options)
                whole, own, others = measured(run, more, work / "all.parquet", n_cores, options)
                speeds.setdefault(way, []).append((_FILES_OF_A_SONG - 1) * chosen.songs / (whole - short))
                print(f"{way}: {speeds[way][-1]:.2f} songs/s; {short:.1f} s, and {whole:.1f} s for four times as many;")
                print(f"  peak memory: {own:,.0f} MB with the model, {others:,.0f} MB of its workers together")
    medians = {way: statistics.median(found) for way, found in speeds.items()}
    for way, speed in medians.items():
        print(f"{way}: median {speed:.2f} songs/s, {speed / medians['one core']:.2f} times one core")


if __name__ == "__main__":
    main()
