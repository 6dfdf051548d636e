"""Few training songs: networks, trees on song summaries, and the mean of both by several shares.

    python -m benchmarks.trees ESC-10 FSDD WORK [--draws 1 2] [--only NAME]

ESC-10 is the folder as it is distributed, FSDD the manifest of the free spoken digit dataset. Eight songs of a class
(of digits sixteen) of two folds (of four people) teach, the songs of the three other folds (two people) are tested. A
training has three networks; these are then judged alone, and with trees by each share. WORK takes stores and
runs; what is finished there is not done again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.defaults import stores
from benchmarks.warm_start import trained
from songbag_store import SongStore
from songbag_training import TrainConfig, usual
from songbag_training.evaluation.metrics import song_metrics
from songbag_training.runs.run import Run
from songbag_training.splits.split import Split
from songbag_training.summaries.blend import mixed
from songbag_training.types import Floats

SHARES = (0.25, 0.33, 0.4, 0.5, 0.6)
TEACHERS = {
    "fold": (({"1", "2"}, {"3", "4", "5"}), ({"4", "5"}, {"1", "2", "3"})),
    "speaker": (({"george", "jackson", "lucas", "nicolas"}, {"theo", "yweweler"}),) * 2,
}
SONGS = {"fold": 8, "speaker": 16}


def main() -> None:
    """Print a line for each collection and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("esc10", type=Path)
    parser.add_argument("fsdd", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--draws", type=int, nargs="+", default=[1, 2], choices=[1, 2])
    parser.add_argument("--only", nargs="+", choices=["esc10", "esc10-mfcc", "digits"])
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    for name, path, (_, label, _, column) in stores(asked.esc10, asked.fsdd, asked.work):
        if asked.only is None or name in asked.only:
            store = SongStore.open(path)
            for draw in asked.draws:
                split = few(store, label, column, draw)
                config = TrainConfig(seed=draw, members=3, tree_share=usual.TREE_SHARE)
                run = trained(store, split, config, asked.work / f"few-{name}-{draw}", None, label)
                told = "  ".join(f"{what} {accuracy:.3f} {loss:.2f}" for what, accuracy, loss in found(run, store))
                print(f"{name} {draw}: {told}", flush=True)


def few(store: SongStore, label: str, column: str, draw: int) -> Split:
    """Return a split that trains on a few songs of each class of some groups, and tests all songs of others."""
    teachers, tested = TEACHERS[column][draw - 1]
    songs = store.songs().sort_values("song_id")
    groups, rng = songs[column].astype(str), np.random.default_rng(draw)
    drawn = [
        own["song_id"].sample(SONGS[column], random_state=rng) for _, own in songs[groups.isin(teachers)].groupby(label)
    ]
    train = {song_id for own in drawn for song_id in own}
    kept = songs[groups.isin(tested) | songs["song_id"].isin(train)]
    parts = tuple("train" if song_id in train else "test" for song_id in kept["song_id"])
    return Split(tuple(kept["song_id"]), tuple(kept[label]), parts)


def found(run: Run, store: SongStore) -> Iterator[tuple[str, float, float]]:
    """Yield accuracy and log loss of the test songs: of the networks, of the trees, and of both by each share."""
    from songbag_training.evaluation.score import SongScorer

    task, predictions = run.facts.song_task, run.predictions()
    predictions = predictions[predictions["part"] == "test"].set_index("song_id")
    rows = store.songs(ids=list(predictions.index), arrow=True)
    true = task.encode(predictions.loc[rows["song_id"].to_pylist(), "label"].tolist())
    scores = list(SongScorer(run.load_model(), task).of_store(store, rows))
    trees = np.stack([score.of_learners["trees"] for score in scores])
    networks = np.mean([list(score.of_learners.values())[:-1] for score in scores], axis=1)

    def judged(what: str, shares: Floats) -> tuple[str, float, float]:
        metrics = song_metrics(task, true, shares)
        return what, float(metrics["accuracy"]), float(metrics["log_loss"])

    yield judged("networks", networks)
    yield judged("trees", trees)
    for share in SHARES:
        yield judged(
            f"by {share:g}", task.probabilities(mixed(np.log(networks), trees, share, exclusive=True, library=np))
        )


if __name__ == "__main__":
    main()
