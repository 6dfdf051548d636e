"""Whole songs: from a file of 60 s, 44.1 kHz stereo, to a stored fragment, beside what decoding alone takes.

python -m benchmarks.extraction            # one core: decoding, one song after the other
python -m benchmarks.extraction --workers  # `songbag extract` with one worker and with two
python -m benchmarks.extraction --meter    # one core: reading a song with and without measuring its sound

The second one also times two processes that do nothing but read songs, each on a core of its own, beside one: what the
machine itself gives.
"""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from subprocess import PIPE, Popen
from unittest.mock import patch

import librosa
import numpy as np
import pyarrow as pa
import soundfile

from benchmarks.measuring import measure, music, pin_to_one_core, write_song
from songbag_pipeline import ExtractConfig, extract
from songbag_pipeline.audio.decode import decode
from songbag_pipeline.audio.files import open_regular
from songbag_pipeline.audio.formats import Decoder
from songbag_pipeline.audio.meter import Meter
from songbag_pipeline.audio.sniff import sniff
from songbag_pipeline.run.batch import Job, run_batch
from songbag_pipeline.run.plan import Plan
from songbag_pipeline.songs.song import read_song
from songbag_pipeline.sources.source import read_source
from songbag_store import FeatureSpec, SongStore
from songbag_store.progress import Silent
from songbag_store.writer import open_for_writing

ROUNDS = 5
DIFFERENT = 4
READ = 40
BATCH = 32
"""Songs of a batch, few beside what a batch of a real run has."""
SPEC = FeatureSpec()
KINDS = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "wav": ("WAV", "PCM_16"),
}


def main() -> None:
    """Print one table or the other."""
    with tempfile.TemporaryDirectory() as folder:
        if sys.argv[1:] == ["--workers"]:
            compare_workers(Path(folder))
        elif sys.argv[1:] == ["--meter"]:
            compare_meters(Path(folder))
        else:
            compare_with_decoding(Path(folder))


def compare_with_decoding(folder: Path) -> None:
    """For every format: libsndfile's decoding, songbag's decoding, songbag to the fragment, librosa's whole way."""
    pin_to_one_core()
    print("60 s, per song: processor (wall clock)")
    print("        libsndfile             our decoder            stored            stored/libsndfile librosa/stored")
    for suffix, kind in KINDS.items():
        songs = folder / suffix
        songs.mkdir()
        rate_hz = 48000 if suffix == "opus" else 44100
        for number in range(BATCH):
            path = songs / f"{number}.{suffix}"
            if number < DIFFERENT:
                write_song(path, music(60, rate_hz, 2, number), rate_hz, kind)
            else:
                os.link(songs / f"{number % DIFFERENT}.{suffix}", path)
        store = open_for_writing(folder / f"{suffix}.store", SPEC)
        todo = Plan.of(read_source(songs), store.inside.state.content).todo
        paths: list[str] = todo["path"].to_pylist()
        contestants: dict[str, Callable[[], object]] = {
            "libsndfile": partial(each, libsndfile_alone, paths),
            "decode": partial(each, decode_alone, paths),
            "stored": partial(store_batch, store, todo),
            "librosa": partial(each, librosa_whole, paths[:DIFFERENT]),
        }
        times = measure(contestants, ROUNDS)
        shown = " ".join(f"{times[name].milliseconds(BATCH):>22}" for name in ("libsndfile", "decode", "stored"))
        peer = times["librosa"].over(times["stored"]) * BATCH / DIFFERENT
        ratio = times["stored"].over(times["libsndfile"])
        print(f"{suffix:6} {shown} {ratio:14.2f} x {peer:14.2f} x", flush=True)


def each(run: Callable[[str], None], paths: list[str]) -> None:
    """Run something on one path after the other."""
    for path in paths:
        run(path)


def libsndfile_alone(path: str) -> None:
    """Decode to float32 and drop it."""
    with soundfile.SoundFile(path) as sound:
        for _ in sound.blocks(1 << 17, dtype="float32"):
            pass


def decode_alone(path: str, decoder: Decoder | None = None) -> None:
    """Decode and mix to mono with the decoder that songbag tries first, or with another."""
    with open_regular(path) as file:
        form = sniff(file)
        with decode(file, form, decoder or form.decoders[0]) as (_, blocks):
            for _ in blocks:
                pass


def store_batch(store: SongStore, todo: pa.Table) -> None:
    """Do what a worker does with a batch, the contained process included."""
    run_batch(Job(store.location, store.uuid, SPEC, "benchmark"), todo)


def librosa_whole(path: str) -> None:
    """Do what songbag's reference recipe says, one window after the other."""
    samples, rate_hz = librosa.load(path, sr=SPEC.sample_rate_hz)
    for window in librosa.util.frame(samples, frame_length=110250, hop_length=55125).T:
        librosa.feature.mfcc(y=window, sr=rate_hz, n_mfcc=13, hop_length=512, n_fft=1024)


def compare_meters(folder: Path) -> None:
    """For every format: the share of reading a song that measuring takes; of long and short songs, some clipped."""
    pin_to_one_core()
    print("share of a song's time, from file to windows, that measuring its sound takes")
    for (suffix, kind), duration_s, gain in itertools.product(KINDS.items(), (60, 5), (1, 4)):
        rate_hz = 48000 if suffix == "opus" else 44100
        path = folder / f"{duration_s}-{gain}.{suffix}"
        write_song(path, np.clip(gain * music(duration_s, rate_hz), -1, 1), rate_hz, kind)
        paths = [str(path)] * (300 // duration_s)
        times = measure({"with": partial(each, read_alone, paths), "without": partial(unmeasured, paths)}, 4 * ROUNDS)
        share = 1 - 1 / times["with"].over(times["without"])
        name = f"{suffix}, {duration_s} s{', clipped' if gain > 1 else ''}"
        print(f"{name:20} {share:6.1%} of {times['with'].milliseconds(len(paths))}", flush=True)


def read_alone(path: str) -> None:
    """Read a song and drop its windows."""
    read_song(path, SPEC, lambda windows: None)


def unmeasured(paths: list[str]) -> None:
    """Read songs with a meter that does nothing."""
    with patch.object(Meter, "add", lambda *block: None):
        each(read_alone, paths)


def compare_workers(folder: Path) -> None:
    """Time `extract` of many songs with one and with two workers, without the start of the cluster."""
    one = write_song(folder / "one.flac", music(60, 44100), 44100, KINDS["flac"])
    songs = folder / "songs"
    songs.mkdir()
    for number in range(400):
        os.link(one, songs / f"{number:04}.flac")
    few = folder / "few"
    few.mkdir()
    for number in range(2):
        os.link(one, few / f"{number}.flac")
    ceiling = statistics.median(read_at_once(one, 2) / read_at_once(one, 1) for _ in range(ROUNDS))
    rates = {}
    for workers in (1, 2):
        start_s = run(few, folder / "store", workers)
        rates[workers] = 398 / (run(songs, folder / "store", workers) - start_s)
        print(f"{workers} worker(s): {rates[workers]:6.1f} songs/s, {start_s:.1f} s to start, do two songs and end")
    print(f"two workers do {rates[2] / rates[1]:.2f} times what one does")
    print(f"two processes that do nothing but read songs do {ceiling:.2f} times what one does")


def read_at_once(song: Path, count: int) -> float:
    """Return the songs per second of some processes that only read, each on a core of its own."""
    command = [sys.executable, "-c", f"from benchmarks.extraction import read; read({str(song)!r})"]
    cores = [str(core) for core in sorted(os.sched_getaffinity(0), reverse=True)[:count]]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    with ExitStack() as stack:
        started = [
            stack.enter_context(Popen(["taskset", "-c", core, *command], stdin=PIPE, stdout=PIPE, env=environment))
            for core in cores
        ]
        ready = [process.stdout.readline() for process in started if process.stdout]
        assert ready == [b"ready\n"] * count, ready
        for process in started:
            if process.stdin:
                process.stdin.close()
        return count * READ / max(float(process.stdout.read()) for process in started if process.stdout)


def read(song: str) -> None:
    """Compute a song's features again and again, from the moment that standard input ends; print the seconds."""
    read_song(song, SPEC, lambda windows: None)
    print("ready", flush=True)
    sys.stdin.read()
    began = time.perf_counter()
    for _ in range(READ):
        read_song(song, SPEC, lambda windows: None)
    print(time.perf_counter() - began)


def run(songs: Path, store: Path, workers: int) -> float:
    """Return the seconds of one extraction into a new store."""
    shutil.rmtree(store, ignore_errors=True)
    began = time.perf_counter()
    extract(songs, store, SPEC, ExtractConfig(workers=workers), progress=Silent())
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
