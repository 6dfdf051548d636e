"""How many copies a split tears from their originals: ESC-10 and 40 of its clips encoded again, by seed and in folds.

    python -m benchmarks.torn_copies FOLDER WORK

FOLDER holds ESC-10 as it is distributed, see `benchmarks.esc10`; WORK takes the copies and the store. A copy is an MP3
of 64 kbit/s; every second one is 3 dB quieter. "Before" is the division that compares bytes alone.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import av
import numpy as np
import soundfile

from benchmarks.esc10 import LOGMEL, songbag
from songbag_store import SongStore
from songbag_training.songs.labels import Labels, labelled_songs
from songbag_training.splits.copies import Copies
from songbag_training.splits.deal import make_split

N_COPIES = 40
BITS_PER_SECOND = 64_000
QUIETER = 10 ** (-3 / 20)
SEEDS = range(100)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("work", type=Path)
    chosen = parser.parse_args()
    store = SongStore.open(extracted(chosen.folder, chosen.work))
    labels = labelled_songs(store, "label", None)
    print("| division | pairs torn, before | now |")
    print("|---|---:|---:|")
    found = Copies.find(store)
    for name, folds in (("train, validation, test", None), ("5 folds", 5)):
        shares = [np.mean([torn(labels, folds, seed, copies) for seed in SEEDS]) for copies in (None, found)]
        print(f"| {name}, mean of {len(SEEDS)} seeds | {shares[0]:.1%} | {shares[1]:.1%} |")


def torn(labels: Labels, folds: int | None, seed: int, copies: Copies | None) -> float:
    """Return the share of copies that are in another subset than their original."""
    split = make_split(labels, "label", folds=folds, seed=seed, copies=copies)
    side = dict(zip(split.song_ids, split.subsets, strict=True))
    pairs = [song_id for song_id in side if song_id.startswith("copy/")]
    return sum(side[name] != side[name.removeprefix("copy/").removesuffix(".mp3")] for name in pairs) / len(pairs)


def extracted(folder: Path, work: Path) -> Path:
    """Return a store of ESC-10 and the copies, made if need be."""
    work.mkdir(parents=True, exist_ok=True)
    paths = sorted(folder.glob("*/*.ogg"))
    rows = [(path.absolute(), path.name, path.parent.name[6:]) for path in paths]
    for number, path in enumerate(paths[:: len(paths) // N_COPIES][:N_COPIES]):
        copy = work / f"{path.name}.mp3"
        encode(path, copy, QUIETER if number % 2 else 1.0)
        rows.append((copy.absolute(), f"copy/{path.name}.mp3", path.parent.name[6:]))
    with (work / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "song_id", "label"), *rows])
    songbag("extract", work / "manifest.csv", work / "store", *LOGMEL)
    return work / "store"


def encode(path: Path, copy: Path, level: float) -> None:
    """Write a clip as MP3 at a share of its level."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = np.rint(samples.mean(axis=1) * level * 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(mono[None], format="s16", layout="mono")
    frame.sample_rate = rate
    with av.open(str(copy), "w", format="mp3") as file:
        stream = file.add_stream("libmp3lame", rate=rate, layout="mono", bit_rate=BITS_PER_SECOND)
        for one in (frame, None):
            file.mux(stream.encode(one))


if __name__ == "__main__":
    main()
