"""How well `songbag review` finds wrong labels: ESC-10 with some labels exchanged at random.

    python -m benchmarks.review FOLDER WORK                      a tenth of the labels, 5 folds
    python -m benchmarks.review FOLDER WORK --epochs 10 --classes 3     a small form

FOLDER holds ESC-10 as it is distributed, see `benchmarks.esc10`. WORK takes stores and cross-validations; what is
finished there is not done again. It prints precision and recall of the list, and how many of the predictions of a
cross-validation are right by the true labels: trained on the true labels, on the wrong ones, on those that the list
proposes, and on those that a person makes of the list who corrects every wrong label in it.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

import songbag
from benchmarks.esc10 import LOGMEL, extracted, songbag as command
from songbag_store.progress import Silent

Names = Mapping[str, str]


def main() -> None:
    """Print the list's precision and recall, and the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--classes", type=int, default=10)
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    store = extracted(chosen.folder, chosen.work, "logmel-5s", LOGMEL)
    true = labels_of(store)
    kept = sorted(set(true.values()))[: chosen.classes]
    true = {song: name for song, name in true.items() if name in kept}
    wrong = exchanged(true, chosen.share, chosen.seed)
    work = chosen.work / f"seed-{chosen.seed}-share-{chosen.share:g}-classes-{chosen.classes}-epochs-{chosen.epochs}"
    work.mkdir(exist_ok=True)

    def judged(name: str, labels: Names) -> Path:
        return cross_validated(store, work / name, labels, chosen.epochs, true)

    judged("true labels", true)
    folds = judged(f"{chosen.share:.0%} exchanged", wrong)
    found = songbag.review(folds, work / f"{chosen.share:.0%} exchanged-store", progress=Silent())
    show_list(found, true, wrong)
    judged("as the list proposes", {**wrong, **dict(zip(found["song_id"], found["label"], strict=True))})
    judged("the list corrected by a person", {**wrong, **{song: true[song] for song in found["song_id"]}})


def labels_of(store: Path) -> Names:
    """Return the label of each song."""
    songs = songbag.open(store).songs(columns=["song_id", "label"])
    return dict(zip(songs["song_id"], songs["label"], strict=True))


def exchanged(true: Names, share: float, seed: int) -> Names:
    """Return labels of which a share is another one, drawn from all others."""
    rng, songs, names = np.random.default_rng(seed), sorted(true), sorted(set(true.values()))
    chosen = rng.choice(songs, round(share * len(songs)), replace=False)
    return {**true, **{song: rng.choice([name for name in names if name != true[song]]) for song in chosen}}


def cross_validated(store: Path, folder: Path, labels: Names, epochs: int, true: Names) -> Path:
    """Cross-validate a copy of a store with some labels, and print the share of predictions that are truly right."""
    copy, table = folder.with_name(f"{folder.name}-store"), folder.with_name(f"{folder.name}.csv")
    if not copy.is_dir():
        with table.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("song_id", "label"))
            writer.writerows((song, labels.get(song, "")) for song in labels_of(store))
        shutil.copytree(store, folder.with_name("being-copied"), dirs_exist_ok=True)
        songbag.relabel(folder.with_name("being-copied"), table)
        folder.with_name("being-copied").rename(copy)
    began = time.perf_counter()
    command("cross-validate", copy, "--label", "label", "--fold-column", "fold", "--epochs", str(epochs), "-o", folder)
    said = pd.read_parquet(folder / "predictions.parquet")
    right = np.mean(said["predicted"] == said["song_id"].map(true))
    print(f"{folder.name:32} {right:.3f} of the predictions are truly right  {time.perf_counter() - began:.0f} s")
    return folder


def show_list(found: pd.DataFrame, true: Names, wrong: Names) -> None:
    """Print precision and recall of the list and of its first songs."""
    n_wrong = sum(true[song] != wrong[song] for song in true)
    for n in (10, n_wrong, len(found)):
        some = found.head(n)
        hits = [true[song] != wrong[song] for song in some["song_id"]]
        named = [true[song] == likely for song, likely in zip(some["song_id"], some["label"], strict=True)]
        print(
            f"the first {len(some):3} of the list: precision {np.mean(hits):.2f}, recall {sum(hits) / n_wrong:.2f}, "
            f"true label named {sum(named) / max(sum(hits), 1):.2f} of the wrong ones"
        )


if __name__ == "__main__":
    main()
