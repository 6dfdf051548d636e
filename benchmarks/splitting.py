"""How long five folds take, and how even they are: songbag's own division beside scikit-learn's splitters.

    python -m benchmarks.splitting

Songs of 20 classes, the commonest ten times as frequent as the rarest; alone, or by artists of 8 songs in the
mean, whose songs are of one class mostly. Processor time, from columns in memory; the spread is the largest difference
between two folds in the number of songs of a class.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from songbag_training.songs.labels import read_labels
from songbag_training.splits.deal import make_split

Ints = npt.NDArray[np.int64]

N_FOLDS = 5
N_CLASSES = 20
SONGS_OF_ARTIST = 8
FEW, MANY = 10_000, 1_000_000


def main() -> None:
    """Print the table."""
    print("| songs | divided by | processor time | spread |")
    print("|---|---|---|---|")
    for n_songs in (FEW, MANY):
        classes, artists = collection(n_songs)
        for name, divide in divisions(classes, artists):
            began = time.process_time()
            folds = divide()
            took = time.process_time() - began
            print(f"| {n_songs:,} | {name} | {took:.2f} s | {spread(classes, folds)} |", flush=True)


def divisions(classes: Ints, artists: Ints) -> Iterator[tuple[str, Callable[[], Ints]]]:
    """Yield each way to divide the songs."""
    songs = index(classes, artists)
    in_groups = f", {artists.max() + 1:,} artists"
    yield "songbag", lambda: own(songs, [])
    yield "StratifiedKFold", lambda: numbered(StratifiedKFold(N_FOLDS, shuffle=True, random_state=0), classes, None)
    yield "songbag" + in_groups, lambda: own(songs, ["artist"])
    splitter = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=0)
    yield "StratifiedGroupKFold" + in_groups, lambda: numbered(splitter, classes, artists)


def collection(n_songs: int) -> tuple[Ints, Ints]:
    """Return class and artist of each song."""
    rng = np.random.default_rng(0)
    shares = np.geomspace(1.0, 0.1, N_CLASSES)
    shares /= shares.sum()
    artists = np.unique(rng.integers(0, n_songs // SONGS_OF_ARTIST, n_songs), return_inverse=True)[1]
    usual = rng.choice(N_CLASSES, int(artists.max()) + 1, p=shares)[artists]
    classes = np.where(rng.random(n_songs) < 0.1, rng.choice(N_CLASSES, n_songs, p=shares), usual)
    return classes.astype(np.int64), artists.astype(np.int64)


def index(classes: Ints, artists: Ints) -> pa.Table:
    """Return the columns of the index that a division looks at."""
    return pa.table(
        {
            "song_id": [f"{number:07}" for number in range(len(classes))],
            "content_sha256": [f"{number:064x}" for number in range(len(classes))],
            "label": [f"class {number:02}" for number in classes.tolist()],
            "artist": [f"artist {number}" for number in artists.tolist()],
        }
    )


def own(songs: pa.Table, group: list[str]) -> Ints:
    """Divide as `songbag split --folds 5` does: labels read, copies kept together, checked for leaks."""
    split = make_split(read_labels(songs, "label"), "label", folds=N_FOLDS, seed=0, group=group)
    return np.array(split.subsets).astype(np.int64)


def numbered(splitter: StratifiedKFold | StratifiedGroupKFold, classes: Ints, groups: Ints | None) -> Ints:
    """Return each song's fold."""
    folds = np.empty(len(classes), np.int64)
    for number, (_, tested) in enumerate(splitter.split(classes, classes, groups)):
        folds[tested] = number
    return folds


def spread(classes: Ints, folds: Ints) -> int:
    """Return the largest difference between folds in the number of songs of a class."""
    counts = np.zeros((folds.max() + 1, N_CLASSES), np.int64)
    np.add.at(counts, (folds, classes), 1)
    used = counts[counts.sum(axis=1) > 0]
    return int((used.max(axis=0) - used.min(axis=0)).max())


if __name__ == "__main__":
    main()
