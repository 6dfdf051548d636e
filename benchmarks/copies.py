"""Copies of recordings: what finding them takes with many songs, and what is found among re-encoded clips of ESC-10.

    python -m benchmarks.copies [--songs 10000 100000 1000000] [--folder DIR] [--esc10 ESC10]

prints a row for each number of songs: time and peak memory of `find_copies` in a process of its own, the opening of the
store included. The index is synthetic: statistics are drawn like those of made-up music. One song in 200 has a copy
with statistics as those of another encoding, one in 1,000 a copy with equal sums, one in 1,000 one with the same bytes.
The windows are real, and every pair of near songs is compared: all fragments are links to one of 250 songs, so that
they lie in the page cache.

With the folder of ESC-10 (github.com/karoldvl/ESC-10), 40 of its clips are encoded again as MP3 of 64 kbit/s, every
second one 3 dB quieter; the clips and these copies are extracted to one store, and what is found is printed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import soundfile

from benchmarks.stores import SPEC, music_windows, write_store
from songbag_store import SongStore
from songbag_store.format.index import index_schema
from songbag_store.format.keys import fragment_key
from songbag_store.likeness.copies import find_copies
from songbag_store.progress import Lines
from songbag_store.writer import commit_change, open_for_writing

Floats = npt.NDArray[np.float64]

N_REAL = 250
N_WINDOWS = 23
ALIKE_EVERY, EQUAL_EVERY, BYTES_EVERY = 200, 1000, 1000
N_CLIPS = 40

_MEASURED = """
import json, sys, time
began = time.perf_counter()
from songbag_store import SongStore
from songbag_store.likeness.copies import find_copies
from songbag_store.progress import Lines
notes = []
table = find_copies(SongStore.open(sys.argv[1]), progress=Lines(notes.append))
# Of the process itself: ru_maxrss begins with what its parent had.
peak_kb = int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
took = {"s": time.perf_counter() - began, "peak_mb": peak_kb / 1000, "table": table.to_pydict(), "notes": notes}
json.dump(took, sys.stdout)
"""


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where to work [default: a temporary folder]")
    parser.add_argument("--esc10", type=Path, help="the folder of ESC-10")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="songbag-copies-") as folder:
        if arguments.songs:
            print("| songs | time | peak memory | alike, of those made | equal | bytes | strangers |")
            print("|---|---|---|---|---|---|---|")
            real = write_store(Path(folder) / "real", music_windows(N_REAL))
            for n_songs in arguments.songs:
                measure(real, Path(folder) / str(n_songs), n_songs)
        if arguments.esc10:
            re_encoded(arguments.esc10, Path(folder))


def measure(real: SongStore, folder: Path, n_songs: int) -> None:
    """Make a store of so many songs, find its copies and print the row."""
    made = many_songs(real, folder, n_songs)
    command = [sys.executable, "-c", _MEASURED, str(folder)]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    groups: dict[int, list[str]] = {}
    known: dict[str, str] = dict(zip(found["table"]["song_id"], found["table"]["known_by"], strict=True))
    for group, song_id in zip(found["table"]["group"], found["table"]["song_id"], strict=True):
        groups.setdefault(group, []).append(song_id)
    pairs = {(ids[0], ids[1]): known[ids[0]] for ids in groups.values() if len(ids) == 2}
    n = {kind: sum(pairs.get(pair) == kind for pair in some) for kind, some in made.items()}
    # Songs at one place of two fragments have the same windows, also where they were not made as copies.
    n_strangers = sum(len({place(song_id) for song_id in ids}) > 1 for ids in groups.values())
    counts = " | ".join(f"{n[kind]:,} of {len(made[kind]):,}" for kind in ("alike", "audio", "bytes"))
    print(f"| {n_songs:,} | {found['s']:.1f} s | {found['peak_mb']:,.0f} MB | {counts} | {n_strangers} |", flush=True)
    print(*found["notes"], sep="\n", file=sys.stderr, flush=True)


def many_songs(real: SongStore, folder: Path, n_songs: int) -> dict[str, set[tuple[str, str]]]:
    """Write a store whose fragments are all links to those of a real one; return its copies by how they are known."""
    rng = np.random.default_rng(0)
    n_fragments = n_songs // N_REAL
    names = [uuid.UUID(bytes=rng.bytes(16)).hex for _ in range(n_fragments)]
    store = open_for_writing(folder, SPEC)
    link(Path(real.address), folder, real.index(["fragment"])["fragment"][0], names)
    sums, squares = drawn_sums(real, n_songs, rng)
    contents = [f"{number:064x}" for number in range(n_songs)]
    half = n_fragments // 2 * N_REAL
    made: dict[str, set[tuple[str, str]]] = {"alike": set(), "audio": set(), "bytes": set()}
    for kind, every, begin in (("alike", ALIKE_EVERY, 0), ("audio", EQUAL_EVERY, 11), ("bytes", BYTES_EVERY, 13)):
        # The copy has the same place in a fragment, and so the same windows.
        first = np.arange(begin, half, every)
        made[kind] = {(name(number), name(number + half)) for number in first.tolist()}
        if kind == "bytes":
            for number in first.tolist():
                contents[number + half] = contents[number]
        else:
            sums[first + half], squares[first + half] = sums[first], squares[first]
        if kind == "alike":
            sums[first + half] += rng.normal(0, 0.3 * N_WINDOWS * SPEC.n_frames, (len(first), SPEC.n_mfcc))
            squares[first + half] *= 1 + rng.normal(0, 0.01, (len(first), SPEC.n_mfcc))
    index = synthetic_index(names, sums, squares, contents)
    commit_change(store, lambda base: (index, frozenset()), note="synthetic")
    return made


def name(number: int) -> str:
    """Return the id of a song."""
    return f"artist {number // 100:05}/{number:07} song.mp3"


def place(song_id: str) -> int:
    """Return the place of a song in its fragment."""
    return int(song_id.split("/")[1].split()[0]) % N_REAL


def link(real: Path, folder: Path, fragment: str, names: Iterable[str]) -> None:
    """Make fragments that are links to a real one."""
    source = real / fragment_key(fragment)
    files = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    for other in names:
        for file in files:
            target = folder / fragment_key(other) / file
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source / file, target)


def drawn_sums(real: SongStore, n_songs: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return sums of features and of their squares, of songs whose statistics are drawn like those of real ones."""
    songs, n = real.songs(), N_WINDOWS * SPEC.n_frames
    mean = np.stack(songs["feature_sum"].to_list()) / n
    deviation = np.sqrt(np.stack(songs["feature_sumsq"].to_list()) / n - np.square(mean))
    both = np.concatenate([mean, np.log(deviation)], axis=1)
    drawn = rng.multivariate_normal(both.mean(axis=0), np.cov(both.T), n_songs, method="cholesky")
    means = drawn[:, : SPEC.n_mfcc]
    return n * means, n * (np.exp(2 * drawn[:, SPEC.n_mfcc :]) + np.square(means))


def synthetic_index(names: list[str], sums: Floats, squares: Floats, contents: list[str]) -> pa.Table:
    """Return the index of songs of 23 windows, so many in a fragment as are real."""
    n = len(names) * N_REAL
    number = np.arange(n)
    columns = {
        "song_id": pa.array([name(song) for song in range(n)]),
        "status": pa.repeat("ok", n),
        "duration_s": pa.repeat(60.0, n),
        "content_sha256": pa.array(contents[:n]),
        "fragment": pa.array(names).take(pa.array(number // N_REAL)),
        "row_start": pa.array(number % N_REAL * N_WINDOWS),
        "n_windows": pa.repeat(pa.scalar(N_WINDOWS, pa.int32()), n),
        "feature_sum": lists(sums[:n]),
        "feature_sumsq": lists(squares[:n]),
        "run_id": pa.repeat("0" * 32, n),
    }
    schema = index_schema([])
    return pa.table([columns.get(field.name, pa.nulls(n, field.type)) for field in schema], schema=schema)


def lists(rows: Floats) -> pa.ListArray:
    """Return rows as lists."""
    offsets = pa.array(np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(rows.ravel()))


def re_encoded(esc10: Path, folder: Path) -> None:
    """Encode some clips again, and print which copies are found among all."""
    clips = sorted(esc10.glob("*/*.ogg"))
    chosen = clips[:: len(clips) // N_CLIPS][:N_CLIPS]
    (folder / "mp3").mkdir()
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "song_id"])
        writer.writerows([clip.absolute(), clip.stem] for clip in clips)
        for number, clip in enumerate(chosen):
            encode(clip, folder / "mp3" / f"{clip.stem}.mp3", 0.5**0.5 if number % 2 else 1.0)
            writer.writerow([folder / "mp3" / f"{clip.stem}.mp3", f"{clip.stem} again"])
    command = [sys.executable, "-m", "songbag", "extract", str(folder / "manifest.csv"), str(folder / "esc10")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    began = time.perf_counter()
    found = find_copies(SongStore.open(folder / "esc10"), progress=Lines(lambda line: print(line, file=sys.stderr)))
    took = time.perf_counter() - began
    groups: dict[int, list[str]] = {}
    for group, song_id in zip(found["group"].to_pylist(), found["song_id"].to_pylist(), strict=True):
        groups.setdefault(group, []).append(song_id)
    wanted = [{clip.stem, f"{clip.stem} again"} for clip in chosen]
    n_found = sum(any(pair <= set(ids) for ids in groups.values()) for pair in wanted)
    others = [ids for ids in groups.values() if set(ids) not in wanted]
    print(f"ESC-10: {n_found} of {len(wanted)} copies found in {took:.1f} s; groups of others too: {others}")


def encode(clip: Path, target: Path, level: float) -> None:
    """Encode a clip as MP3 of 64 kbit/s."""
    samples, rate_hz = soundfile.read(clip, dtype="float32")
    with av.open(str(target), "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=rate_hz, layout="mono", options={"b": "64000"})
        frame = av.AudioFrame.from_ndarray((level * samples)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
        fifo = av.AudioFifo()
        fifo.write(frame)
        for piece in [*fifo.read_many(1152, partial=True), None]:
            container.mux(stream.encode(piece))


if __name__ == "__main__":
    main()
