"""How soon a run that starts from the encoder of another run reaches what one from random weights reaches, on ESC-10.

    python -m benchmarks.warm_start FOLDER WORK                                   five folds, three seeds
    python -m benchmarks.warm_start FOLDER WORK --folds 1 --seeds 1 --epochs 5    a small form

Five classes of ESC-10 are learned first; the other five then from that encoder, and from random weights. Of each fold
the next one validates: its accuracy after each epoch is the curve. FOLDER holds ESC-10 as it is distributed. WORK takes
the store and the runs; what is finished there is not done again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.esc10 import FOLDS, LOGMEL, extracted
from songbag_store import SongStore
from songbag_store.progress import Silent
from songbag_training import TrainConfig, train
from songbag_training.errors import RunNotFound
from songbag_training.fit.train import resume
from songbag_training.runs.run import Run
from songbag_training.splits.split import Split


def main() -> None:
    """Print a row for each fold and seed, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--folds", type=int, default=len(FOLDS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=TrainConfig().epochs)
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    store = SongStore.open(extracted(chosen.folder, chosen.work, "logmel-5s", LOGMEL))
    classes = sorted(store.songs()["label"].unique())
    head = "".join(f"{name:>9}" for name in ("scratch", "warm", "frozen"))
    print(f"{'fold':5}{'seed':5}{head}   epochs to the best validation accuracy of scratch: scratch, warm")
    places = [(seed, number) for seed in range(chosen.seeds) for number in range(chosen.folds)]
    rows = [compared(store, classes, number, seed, chosen.epochs, chosen.work) for seed, number in places]
    print("mean     ", *(f"{value:9.3f}" for value in np.nanmean(rows, axis=0)))


def compared(store: SongStore, classes: list[str], number: int, seed: int, epochs: int, work: Path) -> list[float]:
    """Train the three runs of a fold; return accuracies of the test songs, and the epochs that were needed."""
    first, second = (divided(store, some, number) for some in (classes[:5], classes[5:]))
    name, config = f"{seed}-{number}-{epochs}", TrainConfig(seed=seed, epochs=epochs, members=1)
    parent = trained(store, first, config, work / f"first-{name}")
    frozen = TrainConfig(seed=seed, epochs=epochs, freeze="encoder")
    runs = [
        trained(store, second, config, work / f"scratch-{name}"),
        trained(store, second, config, work / f"warm-{name}", parent),
        trained(store, second, frozen, work / f"frozen-{name}", parent),
    ]
    accuracies = [run.metrics["test"]["song"]["accuracy"] for run in runs]
    curves = [pd.read_csv(run.folder / "history.csv")["val_accuracy"] for run in runs[:2]]
    needed = [
        float(np.argmax(curve >= curves[0].max()) + 1) if curve.max() >= curves[0].max() else np.nan for curve in curves
    ]
    told = "".join(f"{value:9.3f}" for value in accuracies)
    print(f"{number + 1:<5}{seed:<5}{told}   {needed[0]:.0f}, {needed[1]:.0f}", flush=True)
    return [*accuracies, *needed]


def divided(store: SongStore, classes: list[str], number: int) -> Split:
    """Return the songs of some classes: one fold tests, the next one validates, the others train."""
    songs = store.songs().sort_values("song_id")
    songs = songs[songs["label"].isin(classes)]
    part = {FOLDS[number]: "test", FOLDS[(number + 1) % len(FOLDS)]: "validation"}
    parts = [part.get(str(fold), "train") for fold in songs["fold"]]
    return Split(tuple(songs["song_id"]), tuple(songs["label"]), tuple(parts))


def trained(
    store: SongStore, split: Split, config: TrainConfig, folder: Path, from_run: Run | None = None, label: str = "label"
) -> Run:
    """Return a run, trained if need be, or trained to its end."""
    try:
        return resume(folder, store, progress=Silent())
    except RunNotFound:
        return train(store, label, folder, config, split=split, from_run=from_run, progress=Silent())


if __name__ == "__main__":
    main()
