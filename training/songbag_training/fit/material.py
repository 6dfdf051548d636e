"""What a training is made of: songs with labels, their split and the spread of their features. No TensorFlow here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pyarrow as pa

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.store import StoreLike
from songbag_training.config import TrainConfig
from songbag_training.songs.labels import Labels
from songbag_training.songs.scaling import scaling_statistics
from songbag_training.splits.deal import choose_split
from songbag_training.splits.split import Split, SplitLike, Subset
from songbag_training.types import FloatArray, Targets


@dataclasses.dataclass(frozen=True, slots=True)
class Material:
    """Songs to train on, and how.

    Attributes
    ----------
    store : SongStore
        Where they are, at the snapshot that is read.
    label : str
        Column of the index with their labels.
    where : str or None
        The SQL expression that chose them.
    labels : Labels
        The songs of the split.
    split : Split
        Into train, validation and test.
    scaling : tuple of two arrays of shape (C,)
        Mean and standard deviation of the training songs' features, see `songbag_training.songs.scaling`.
    config : TrainConfig
        How to train.
    """

    store: SongStore
    label: str
    where: str | None
    labels: Labels
    split: Split
    scaling: tuple[FloatArray, FloatArray]
    config: TrainConfig

    def subset(self, name: Subset) -> tuple[pa.Table, Targets]:
        """Return the index rows of one subset, and the labels of its songs as numbers."""
        rows = self.split.rows_of(name)
        return self.labels.songs.take(pa.array(rows, pa.int64())), self.labels.targets(rows)


def prepare(
    store: StoreLike,
    label: str,
    where: str | None,
    split: SplitLike | None,
    *,
    group: Sequence[str] = (),
    config: TrainConfig,
) -> Material:
    """Choose songs and split; parameters and errors are those of `songbag_training.fit.train.train`.

    A million songs take three seconds, and memory for a few columns of the index: the process takes 1.9 GB.
    """
    store = SongStore.open(store)
    labels, chosen = choose_split(store, label, where, split, group=group, seed=config.seed, as_folds=False)
    for option in ("early_stopping", "calibrate"):
        if getattr(config, option) and not chosen.counts()["validation"]:
            what = "the split has no validation songs, which this option needs"
            raise UsageError(what, place=option, remedy="Leave the option out, or give another split.")
    scaling = scaling_statistics(store, labels.songs["song_id"].take(chosen.rows_of("train")))
    return Material(store, label, where, labels, chosen, scaling, config)
