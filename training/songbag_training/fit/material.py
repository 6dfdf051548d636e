"""What a training is made of: songs with labels, and their split. No TensorFlow here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.progress import Progress
from songbag_store.store import StoreLike
from songbag_store.words import counted
from songbag_training.config import CHOOSING, BaselineConfig, RunConfig, TrainConfig
from songbag_training.evaluation.metrics import song_metrics
from songbag_training.lineage.parent import Parent, encoder_of
from songbag_training.songs.costs import with_costs
from songbag_training.songs.labels import Labels
from songbag_training.songs.scaling import scaling_statistics
from songbag_training.songs.task import Task
from songbag_training.splits.deal import Choice, choose_split
from songbag_training.splits.split import Split, SplitLike, Subset
from songbag_training.types import FloatArray, Targets
from songbag_training.usual import FOR, USUAL, are_possible

if TYPE_CHECKING:
    from songbag_training.fit.team import Team
    from songbag_training.runs.run import RunLike


AnyConfig = TypeVar("AnyConfig", TrainConfig, BaselineConfig)


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
    scaling : tuple of two arrays of shape (C,), or None
        Mean and standard deviation of the training songs' features, see `songbag_training.songs.scaling`; None if those
        of the run to start from are taken.
    config : TrainConfig
        How to train.
    notes : list of str
        What is to be said about the split.
    parent : Parent or None
        The run to start from.
    team : Team or None
        The machines that train; None if there is only this one.
    """

    store: SongStore
    label: str
    where: str | None
    labels: Labels
    split: Split
    scaling: tuple[FloatArray, FloatArray] | None
    config: TrainConfig
    notes: list[str]
    parent: Parent | None = None
    team: Team | None = None

    @property
    def class_weights(self) -> npt.NDArray[np.float32] | None:
        """The factors of the classes in the loss, as `Task.balanced_weights` returns them; None if all are 1."""
        if self.config.class_weight == "none":
            return None
        return self.labels.task.balanced_weights(self.labels.targets(self.split.rows_of("train")))

    @property
    def n_epoch_songs(self) -> int:
        """The number of songs in an epoch."""
        return self.config.epoch_songs or self.split.counts()["train"]

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
    from_run: RunLike | None = None,
    resumed: bool = False,
    progress: Progress | None = None,
) -> Material:
    """Choose songs and split; parameters and errors are those of `songbag_training.fit.train.train`.

    `progress` shows notes on the labels and the search for copies. `resumed` says that the training was begun before,
    and goes on with the weights of its checkpoint.

    Beside the search for copies, a million songs take three seconds, and memory for a few columns of the index: the
    process takes 1.9 GB.
    """
    store = SongStore.open(store)
    parent = None if from_run is None else Parent.open(from_run)
    encoder = encoder_of(parent, config, store, resumed=resumed)
    config = dataclasses.replace(config, encoder=encoder)
    choice, config = choose_songs(store, label, where, split, group, config, progress)
    labels, chosen = choice.labels, choice.split
    if not resumed:
        config = config.settled(store.spec, len(chosen.song_ids), members=parent.n_members if parent else None)
    check_monitor(config, labels, chosen)
    ids = labels.songs["song_id"].take(chosen.rows_of("train"))
    scaling = scaling_statistics(store, ids) if parent is None else None
    return Material(
        store, label, where, labels, chosen, scaling, config, [*choice.notes, *_left_out(config, store)], parent
    )


def _left_out(config: TrainConfig, store: SongStore) -> list[str]:
    """Return notes on changes of the songs that these features cannot have."""
    names = [] if are_possible(store.spec) else [name for name in USUAL if getattr(config, name)]
    return [f"note: {name} changes nothing: it is for {FOR}" for name in names]


def choose_songs(
    store: SongStore,
    label: str,
    where: str | None,
    split: SplitLike | None,
    group: Sequence[str],
    config: AnyConfig,
    progress: Progress | None,
) -> tuple[Choice, AnyConfig]:
    """Choose songs and split, and return them with the options, which read labels as the split did.

    Options that the split or the task cannot serve are refused.
    """
    choice = choose_split(
        store,
        label,
        where,
        split,
        group=group,
        seed=config.seed,
        as_folds=False,
        reading=config.reading,
        progress=progress,
    )
    config = dataclasses.replace(config, **choice.split.reading.to_dict())
    _require_validation(config, choice.split)
    check_thresholds(config, choice.labels.task)
    return choice, config


def _require_validation(config: RunConfig, split: Split) -> None:
    """Refuse an option that chooses by the validation songs, if the split has none."""
    for option in CHOOSING:
        if config.chooses_by(option) and not split.counts()["validation"]:
            what = "the split has no validation songs, which this option needs"
            raise UsageError(what, place=option, remedy="Leave the option out, or give another split.")


def check_monitor(config: TrainConfig, labels: Labels, split: Split) -> None:
    """Refuse to monitor a metric that the task, or these validation songs, do not have."""
    if config.monitor == "loss":
        return
    task, true = labels.task, labels.targets(split.rows_of("validation"))
    found = song_metrics(task, true, np.full((len(true), len(task.classes)), 1 / len(task.classes)))
    if found.get(config.monitor.replace("-", "_")) is None:
        what = f"{config.monitor} is not defined for a {task.name} task with these validation songs"
        raise UsageError(what, place="monitor", remedy="Monitor another metric, or give another split.")


def check_thresholds(config: RunConfig, task: Task) -> None:
    """Refuse costs that are not those of the classes, and F1 where it cannot choose."""
    if config.weighs_costs:
        with_costs(task, config.thresholds or "")
    elif config.thresholds and not task.several and len(task.classes) > 2:
        what = f"a song is of one of {len(task.classes)} classes; f1 is for two classes, or for lists of classes"
        raise UsageError(what, place="thresholds", remedy="Give costs, cost:TRUE>PREDICTED=COST, or leave it out.")


def note_songs(labels: Labels, split: Split, notes: Sequence[str], progress: Progress) -> None:
    """Say how many songs there are in each subset, and what is to be said about the split."""
    subsets = ", ".join(f"{n:,} {subset}" for subset, n in split.counts().items())
    progress.note(f"{counted(len(split.song_ids), 'song')} of {counted(len(labels.classes), 'class')}: {subsets}")
    if split.group:
        progress.note(f"songs of the same {' or '.join(split.group)} stay in one subset")
    for note in notes:
        progress.note(note)
