"""How well songbag's defaults tell sounds apart: the five given folds of ESC-10, beside simpler recipes.

    python -m benchmarks.esc10 FOLDER WORK                  the defaults, as three songbag commands
    python -m benchmarks.esc10 FOLDER WORK baselines        the reference network and a random forest
    python -m benchmarks.esc10 FOLDER WORK poolings         each pooling, and window dropout
    python -m benchmarks.esc10 FOLDER WORK augmentations    each augmentation turned off, or on, by itself

FOLDER holds ESC-10 as it is distributed (github.com/karoldvl/ESC-10): a folder a class, the first character of a file's
name its fold. WORK takes stores and runs; what is finished there is not done again.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from songbag_store import SongStore
from songbag_store.progress import Silent
from songbag_training import TrainConfig, train
from songbag_training.config import PoolingName
from songbag_training.errors import RunNotFound
from songbag_training.fit.train import resume
from songbag_training.runs.run import Run
from songbag_training.songs.labels import labelled_songs
from songbag_training.splits.deal import make_split

FOLDS = ("1", "2", "3", "4", "5")
LOGMEL = ("--features", "logmel", "--n-mels", "64")
SHORT_WINDOWS = ("--window", "1", "--window-hop", "0.5")
ABLATED_FOLDS = ("1", "2")
"""An ablation trains on four folds and tests on the fifth as the whole does, but only with these two as the fifth."""
Arrays = tuple[list[npt.NDArray[np.float32]], npt.NDArray[np.int64], npt.NDArray[np.str_]]


def main() -> None:
    """Print the table asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("work", type=Path)
    tables: dict[str, Callable[[Path, Path], None]] = {
        "defaults": defaults,
        "baselines": baselines,
        "poolings": poolings,
        "augmentations": augmentations,
    }
    parser.add_argument("table", nargs="?", choices=tables, default="defaults")
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    tables[chosen.table](chosen.folder, chosen.work)


def defaults(folder: Path, work: Path) -> None:
    """Extract once, and cross-validate without an option that is not about the songs."""
    store = extracted(folder, work, "logmel-5s", LOGMEL)
    began = time.perf_counter()
    songbag("cross-validate", store, "--label", "label", "--fold-column", "fold", "-o", work / "defaults")
    print(f"cross-validation: {time.perf_counter() - began:.0f} s")


def baselines(folder: Path, work: Path) -> None:
    """Print what the reference network and a random forest reach on the same folds."""
    long = SongStore.open(extracted(folder, work, "mfcc-5s", ()))
    short = SongStore.open(extracted(folder, work, "mfcc-1s", SHORT_WINDOWS))
    show("random forest on mean and deviation of 13 MFCC", (forest(songs(long), fold) for fold in FOLDS))
    show("reference network, SGD, 60 epochs, 1 s windows", (reference(songs(short), fold) for fold in FOLDS))


def poolings(folder: Path, work: Path) -> None:
    """Print what each pooling reaches, and window dropout, on windows of 1 s: of longer ones a clip has but one."""
    store = SongStore.open(extracted(folder, work, "logmel-1s", (*LOGMEL, *SHORT_WINDOWS)))
    variants: dict[str, dict[str, Any]] = {name: {"pooling": name} for name in get_args(PoolingName)}
    variants["mean with window dropout"] = {"window_dropout": 0.25}
    ablate(store, variants, work / "poolings", bag_size=4)


def augmentations(folder: Path, work: Path) -> None:
    """Print what the defaults reach with one augmentation off that they have on, or on that they have off."""
    defaults(folder, work)
    show_runs("defaults", (Run.open(work / "defaults" / f"fold-{fold}") for fold in ABLATED_FOLDS))
    store = SongStore.open(work / "logmel-5s")
    variants: dict[str, dict[str, Any]] = {
        "without mixup": {"mixup": 0.0},
        "without time shift": {"time_shift": 0.0},
        "without masks": {"time_mask": 0.0, "band_mask": 0.0},
        "with label smoothing": {"label_smoothing": 0.1},
        "with shifts of level": {"gain_db": 6.0},
        "masks twice as wide": {"time_mask": 0.2, "band_mask": 0.2},
    }
    ablate(store, variants, work / "augmentations")


def extracted(folder: Path, work: Path, name: str, options: tuple[str, ...]) -> Path:
    """Return a store of ESC-10, made if need be."""
    manifest, store = work / "manifest.csv", work / name
    if not manifest.is_file():
        with manifest.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "song_id", "label", "fold"))
            for path in sorted(folder.glob("*/*.ogg")):
                writer.writerow((path.absolute(), path.name, path.parent.name[6:], path.name[0]))
    began = time.perf_counter()
    songbag("extract", manifest, store, *options)
    print(f"extraction: {time.perf_counter() - began:.0f} s")
    return store


def songbag(*arguments: object) -> None:
    """Run a command of songbag's, and show it as it would be typed."""
    words = [str(argument) for argument in arguments]
    print("$ songbag", *words, flush=True)
    subprocess.run([sys.executable, "-m", "songbag", *words], check=True)


def ablate(store: SongStore, variants: Mapping[str, Mapping[str, Any]], work: Path, **options: Any) -> None:
    """Print what each variant of the defaults reaches on the test songs of `ABLATED_FOLDS`."""
    for name, changes in variants.items():
        config = dataclasses.replace(TrainConfig(), **options, **changes)
        runs = (trained(store, fold, config, work / f"{name.replace(' ', '-')}-{fold}") for fold in ABLATED_FOLDS)
        show_runs(name, runs)


def trained(store: SongStore, fold: str, config: TrainConfig, folder: Path) -> Run:
    """Return the run of one fold, trained if need be, or trained to its end."""
    try:
        return resume(folder, store, progress=Silent())
    except RunNotFound:
        labels = labelled_songs(store, "label", None, {"fold_column": ["fold"]})
        split = make_split(labels, "label", fold_column="fold").fold(fold)
        return train(store, "label", folder, split=split, config=config, progress=Silent())


def show_runs(name: str, runs: Iterator[Run]) -> None:
    """Print accuracy and log loss of the test songs, the mean over folds and each of them."""
    of_folds = [json.loads((run.folder / "metrics.json").read_bytes())["test"]["song"] for run in runs]
    print(f"{name:28}", *(told([of[metric] for of in of_folds]) for metric in ("accuracy", "log_loss")), flush=True)


def told(values: list[float]) -> str:
    """Return the mean, and each value behind it."""
    return f"{np.mean(values):.3f} ({' '.join(f'{value:.3f}' for value in values)})"


def show(name: str, accuracies: Iterator[float]) -> None:
    """Print the mean over folds, and each of them, and how long they took."""
    began = time.perf_counter()
    print(f"{name:48} {told(list(accuracies))}  {time.perf_counter() - began:.0f} s", flush=True)


def songs(store: SongStore) -> Arrays:
    """Return windows, class and fold of each song."""
    table = store.songs()
    windows = [store.windows(song_id) for song_id in table["song_id"]]
    return windows, table["label"].astype("category").cat.codes.to_numpy(np.int64), table["fold"].astype(str).to_numpy()


def forest(data: Arrays, fold: str) -> float:
    """Return the accuracy of a random forest on mean and standard deviation of each coefficient of a song.

    Notes
    -----
    K. J. Piczak, "ESC: dataset for environmental sound classification", ACM Multimedia 2015; he adds zero crossings.
    """
    from sklearn.ensemble import RandomForestClassifier

    windows, labels, folds = data
    rows = np.array([np.concatenate([own.mean((0, 2)), own.std((0, 2))]) for own in windows])
    known = folds != fold
    model = RandomForestClassifier(500, random_state=0).fit(rows[known], labels[known])
    return float(model.score(rows[~known], labels[~known]))


def reference(data: Arrays, fold: str) -> float:
    """Return the accuracy of the reference network by the recipe it comes with: every window has its song's label."""
    import keras

    from songbag_training import window_model

    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    windows, labels, folds = data
    known = [number for number, own in enumerate(folds) if own != fold]
    rows = np.concatenate([windows[number] for number in known])
    model = window_model(*rows.shape[1:], n_classes=10)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss)
    mean, std = rows.mean((0, 2), keepdims=True), rows.std((0, 2), keepdims=True)
    targets = np.concatenate([np.full(len(windows[number]), labels[number]) for number in known])
    model.fit(((rows - mean) / std)[..., None], targets, batch_size=32, epochs=60, verbose=0)
    tested = [number for number, own in enumerate(folds) if own == fold]
    logits = [model.predict_on_batch(((windows[number] - mean) / std)[..., None]) for number in tested]
    shares = [keras.ops.softmax(own).numpy().mean(0).argmax() for own in logits]
    return float(np.mean(np.array(shares) == labels[tested]))


if __name__ == "__main__":
    main()
