"""Peak memory of a process that reads bags through tf.data, beyond that of TensorFlow alone.

    python -m benchmarks.reading_memory [--songs 500 20000]

Reads three epochs (batches of 32 songs, bags of 16 windows) of stores of several sizes, each in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path

from benchmarks.stores import music_windows, write_store

_READ = """
import sys
import numpy as np
import tensorflow as tf

def peak_mb():
    # Not getrusage: its peak counts the process that forked this one.
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1000

tf.data.Dataset.from_tensor_slices(np.zeros((64, 13, 216), np.int16)).batch(8).reduce(0, lambda n, _: n + 1).numpy()
alone_mb = peak_mb()
from songbag_store import SongStore
from songbag_training import BagDataset
store, n_epochs = SongStore.open(sys.argv[1]), int(sys.argv[2])
songs = store.songs()
bags = BagDataset(store, songs["song_id"].tolist(), [0] * len(songs), bag_size=16, batch_size=32)
n_songs = sum(len(labels) for _, labels in bags.dataset(stop_epoch=n_epochs))
assert n_songs == n_epochs * len(songs)
print(alone_mb, peak_mb() - alone_mb)
"""


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, nargs="+", default=[500, 20000])
    args = parser.parse_args()
    some = list(music_windows(100))
    with tempfile.TemporaryDirectory() as folder:
        for n_songs in args.songs:
            store = write_store(Path(folder) / str(n_songs), islice(cycle(some), n_songs))
            alone, more = peaks_mb(store.address)
            print(f"{n_songs:,} songs: {more:,.0f} MB more than TensorFlow alone, which takes {alone:,.0f} MB")


def peaks_mb(address: str, n_epochs: int = 3) -> tuple[float, float]:
    """Return the peak memory of TensorFlow alone in a fresh process, and by how much it grows as a store is read."""
    command = [sys.executable, "-c", _READ, address, str(n_epochs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    alone, more = map(float, done.stdout.split()[-2:])
    return alone, more


if __name__ == "__main__":
    main()
