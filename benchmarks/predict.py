"""Predicting audio that is in no store: songs a second with one and with two workers, and the peak of memory.

    python benchmarks/predict.py [--songs 120] [--rounds 3]

makes stereo songs of a minute (FLAC), trains the reference network for one epoch on twelve of them, and runs
`songbag predict` on all with 1 and 2 workers in turn. The start of Python, TensorFlow and the workers is taken off by
the same commands with a fifth of the songs: the speed is that of the others.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.measuring import music, write_song
from songbag_pipeline import extract
from songbag_store.progress import Silent
from songbag_training import TrainConfig, train

_SONG_S = 60.0


def songs_in(folder: Path, count: int) -> Path:
    """Write songs of two classes; no two are alike."""
    for number in range(count):
        path = folder / ("ab"[number % 2]) / f"{number:04}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_song(path, music(_SONG_S, 44100, seed=number), 44100, ("FLAC", "PCM_16"))
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


def measured(run: Path, source: Path, output: Path, workers: int) -> tuple[float, float, float]:
    """Predict; return seconds, and the peaks of memory in MB of the command and of all it started."""
    command = [sys.executable, "-m", "songbag", "predict", str(run), str(source), "-o", str(output)]
    began = time.perf_counter()
    own, most = 0.0, 0.0
    process = subprocess.Popen([*command, "--workers", str(workers)], stdout=subprocess.DEVNULL)
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
    options = argparse.ArgumentParser()
    options.add_argument("--songs", type=int, default=120)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        songs = songs_in(work / "songs", chosen.songs)
        few = work / "few.csv"
        paths = sorted(songs.rglob("*.flac"))
        # Above the twenty minutes that the calling process computes by itself.
        n_few = max(24, chosen.songs // 5)
        few.write_text("path\n" + "".join(f"{path}\n" for path in paths[:n_few]))
        run, speeds = trained(songs, work), dict[int, list[float]]()
        for _ in range(chosen.rounds):
            for workers in (1, 2):
                short, _, _ = measured(run, few, work / "few.parquet", workers)
                whole, own, others = measured(run, songs, work / "all.parquet", workers)
                speeds.setdefault(workers, []).append((chosen.songs - n_few) / (whole - short))
                print(f"{workers} workers: {speeds[workers][-1]:.2f} songs/s; all {chosen.songs} songs {whole:.1f} s;")
                print(f"  peak memory: {own:,.0f} MB with the model, {others:,.0f} MB of its workers together")
    one, two = (statistics.median(speeds[workers]) for workers in (1, 2))
    print(f"medians: {one:.2f} and {two:.2f} songs/s; two workers are {two / one:.2f} times as fast")


if __name__ == "__main__":
    main()
