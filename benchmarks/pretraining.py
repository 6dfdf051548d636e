"""Learning curves: what is reached with few labelled songs, and whether an encoder from songs without labels pays.

    python -m benchmarks.pretraining esc10 FOLDER WORK    5 labelled clips a class, all clips without labels
    python -m benchmarks.pretraining genres WORK          500 made-up songs of four genres, 20 with a label

    --labelled 5 10 20                                    the curve over so many labelled songs a class
    --seeds 1 --folds 1 --epochs 5 --pretraining 5        a small form

A baseline on summaries, what `songbag train` does unasked (on few songs three networks and trees), and one network from
random weights, from the encoder, and from the encoder kept as it is: accuracy of the test songs, the mean over seeds
(and folds), and each seed. FOLDER holds ESC-10 as it is distributed. WORK takes stores and runs; what is finished there
is not done again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.esc10 import FOLDS, LOGMEL, extracted, songbag, told
from benchmarks.warm_start import trained
from songbag_pipeline.demo.collection import write_collection
from songbag_store import SongStore
from songbag_store.progress import Silent
from songbag_training import TrainConfig
from songbag_training.config import PretrainConfig
from songbag_training.errors import RunNotFound
from songbag_training.fit.pretraining import pretrain
from songbag_training.fit.train import resume
from songbag_training.runs.run import Run
from songbag_training.splits.split import Split

BASELINE, DEFAULT, RANDOM = "baseline", "default", "one network"
WARM, FROZEN = "from the encoder", "from the encoder, frozen"
COLLECTIONS = ((0, 99), (1, 26))
"""Seed and songs of a genre: 500 in all, of which a collection holds at most 396."""


def main() -> None:
    """Print the table asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=("esc10", "genres"))
    parser.add_argument("places", nargs="+", type=Path, metavar="PLACE")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=len(FOLDS))
    parser.add_argument("--epochs", type=int, default=TrainConfig().epochs)
    parser.add_argument("--pretraining", type=int, default=PretrainConfig().epochs)
    parser.add_argument("--labelled", type=int, nargs="+", default=[5], help="songs of a class that have a label")
    chosen = parser.parse_args()
    work = chosen.places[-1]
    work.mkdir(parents=True, exist_ok=True)
    if chosen.data == "esc10":
        store = SongStore.open(extracted(chosen.places[0], work, "logmel-5s", LOGMEL))
    else:
        store = SongStore.open(genres(work))
    for n_labelled in chosen.labelled:
        found = curve_point(store, chosen, work, n_labelled)
        for way, accuracies in found.items():
            print(f"{n_labelled:3} labelled  {way:26} {told(accuracies)}", flush=True)


def curve_point(store: SongStore, chosen: argparse.Namespace, work: Path, n_labelled: int) -> dict[str, list[float]]:
    """Return each seed's mean accuracy over the folds, by what was trained."""
    ways: dict[str, list[float]] = {BASELINE: [], DEFAULT: [], RANDOM: [], WARM: [], FROZEN: []}
    for seed in range(chosen.seeds):
        encoder = encoded(store, PretrainConfig(seed=seed, epochs=chosen.pretraining), work / f"encoder-{seed}")
        splits = list(divided(store, chosen.data, seed, chosen.folds, n_labelled))
        for way in (DEFAULT, RANDOM, WARM, FROZEN):
            members, freeze = None if way == DEFAULT else 1, "encoder" if way == FROZEN else None
            config = TrainConfig(seed=seed, epochs=chosen.epochs, members=members, freeze=freeze)
            start = encoder if way in (WARM, FROZEN) else None
            name = f"{way.replace(' ', '-').replace(',', '')}-{n_labelled}-{seed}"
            runs = [trained(store, split, config, work / f"{name}-{n}", start) for n, split in enumerate(splits)]
            ways[way].append(float(np.mean([run.metrics["test"]["song"]["accuracy"] for run in runs])))
            if way == DEFAULT:
                floors = [run.metrics["test"]["floor"] for run in runs]
                ways[BASELINE].append(float(np.mean([floor[floor["learner"]] for floor in floors])))
    return ways


def divided(store: SongStore, data: str, seed: int, folds: int, n_labelled: int) -> Iterator[Split]:
    """Yield splits that train on a few songs of each class: by the folds of ESC-10, or one that tests the others."""
    songs = store.songs().sort_values("song_id")
    names = FOLDS[:folds] if data == "esc10" else ("",)
    for name in names:
        rng = np.random.default_rng(seed)
        is_test = songs["fold"].astype(str) == name if name else songs["label"] == ""
        others = songs[~is_test]
        few = [own["song_id"].sample(n_labelled, random_state=rng) for _, own in others.groupby("label")]
        labelled = {song_id for own in few for song_id in own}
        kept = songs[is_test | songs["song_id"].isin(labelled)] if name else songs
        parts = tuple("train" if song_id in labelled else "test" for song_id in kept["song_id"])
        yield Split(tuple(kept["song_id"]), tuple(kept["label"]), parts)


def encoded(store: SongStore, config: PretrainConfig, folder: Path) -> Run:
    """Return an encoder, learned if need be, or to its end."""
    try:
        return resume(folder, store, progress=Silent())
    except RunNotFound:
        return pretrain(store, folder, config, progress=Silent())


def genres(work: Path) -> Path:
    """Return a store of 500 made-up songs, made if need be."""
    store = work / "genres"
    if not store.is_dir():
        for seed, songs_per_genre in COLLECTIONS:
            write_collection(work / "collection" / str(seed), seed=seed, songs_per_genre=songs_per_genre)
        songbag("extract", work / "collection", store, "--label-from-folder", *LOGMEL)
    return store


if __name__ == "__main__":
    main()
