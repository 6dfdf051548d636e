"""`RunFacts`: the content of `run.json`. Neither Keras nor TensorFlow here."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from pathlib import Path
from typing import Self, TypedDict

from songbag_store import FeatureSpec
from songbag_store.errors import UsageError
from songbag_store.format.document import LATER, Count, Digest, Identifier, Ordinal, Time, require
from songbag_store.storage.files import is_there
from songbag_training.config import BaselineConfig, RunConfig, TrainConfig
from songbag_training.errors import ModelError, RunNotFound
from songbag_training.runs.document import CROSS_VALIDATION, FORMAT, RUN, parse_run_document, read_run_document
from songbag_training.songs.task import Task
from songbag_training.types import TaskName

_LARGEST_BATCH_BYTES = 2**37


class ParentFacts(TypedDict):
    """The run that a training started from."""

    run_id: Identifier
    """Its identity."""
    weights_sha256: Digest
    """Digest of its weights."""
    folder: str
    """Where it was, as an absolute path."""


class FloorFacts(TypedDict):
    """What a baseline reaches on the same test songs: the accuracy of each learner."""

    learner: str
    """The one that parts of the training songs chose."""
    linear: float
    trees: float
    mean: float


PRETRAINING: TaskName = "pretraining"
"""Task of a run that has learned without labels."""


class PretrainingFacts(TypedDict):
    """What belongs to a training without labels alone."""

    projection: Ordinal
    """Numbers of a projection."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """The content of `run.json`.

    Raises
    ------
    ValueError
        If fields contradict each other, or no model can be built from them.
    """

    format: int = FORMAT
    """Number of this layout; another one is refused."""
    run_id: Identifier
    """32 hexadecimal digits; the snapshot is tagged ``run-<run_id>``."""
    created_at: Time
    """ISO 8601, UTC."""
    finished_at: Time | None = None
    """None until the training has ended."""
    store_location: str
    """Where the store was, as an absolute path or address."""
    store_uuid: Identifier
    """Identity of the store."""
    snapshot: Count
    """Number of the snapshot that was read."""
    snapshot_sha256: Digest
    """Digest of that snapshot's file."""
    spec: FeatureSpec
    """The store's `FeatureSpec`."""
    fingerprint: Digest
    """Of the spec."""
    label: str
    """Column of the index with the labels."""
    where: str | None
    """SQL expression that chose the songs; None for all."""
    classes: list[str]
    """In the order of the model's outputs; of two classes, the single logit is that of the second."""
    task: TaskName
    """Whether a song is of one class or of any number of them."""
    split_sha256: Digest
    """Digest of the rows of `split.parquet`."""
    config: RunConfig
    """The `TrainConfig` of a network, or the `BaselineConfig` of a baseline."""
    best_epoch: Ordinal | None = None
    """Epoch that the weights are of, counted from 1; None for a baseline."""
    versions: dict[str, str]
    """Of songbag, numpy, Python, and Keras and TensorFlow or, for a baseline, scikit-learn."""
    files: dict[str, Digest] | None = None
    """SHA-256 of every finished file; None if the run was begun before there were seals. See `runs.seals`."""
    replaced: dict[str, Digest] = dataclasses.field(default_factory=dict)
    """SHA-256 of files that an evaluation is replacing."""
    thresholds: dict[str, float] | None = dataclasses.field(default=None, metadata=LATER)
    """Of each class, if they are not 1/2: see `songbag_training.songs.task.Task`."""
    costs: list[list[float]] | None = dataclasses.field(default=None, metadata=LATER)
    """What each mistake costs, a row for each true class, if the prediction is the class of least expected cost."""
    parent: ParentFacts | None = dataclasses.field(default=None, metadata=LATER)
    """The run whose encoder the training began with; None if it began with random weights."""
    continued: list[Ordinal] | None = dataclasses.field(default=None, metadata=LATER)
    """Numbers of epochs after which the training had ended before it went on to more."""

    floor: FloorFacts | None = dataclasses.field(default=None, metadata=LATER)
    """What a baseline reaches on the test songs."""
    pretraining: PretrainingFacts | None = dataclasses.field(default=None, metadata=LATER)
    """Of a training without labels, which has neither classes nor a label."""

    def __post_init__(self) -> None:
        require((self.task == PRETRAINING) == (self.pretraining is not None), "task", self.task, "that of these facts")
        if self.pretraining is None:
            fits = len(set(self.classes)) == len(self.classes) >= 2
            require(fits, "classes", self.classes, "a list of two or more different names")
        self._check_rule()
        if self.spec.fingerprint != self.fingerprint:
            raise ValueError("the field 'fingerprint' is not that of the field 'spec'")
        if isinstance(self.config, BaselineConfig):
            return
        config = self.config
        require(self.parent or not config.freeze, "parent", self.parent, "a run, whose encoder is frozen")
        n_bytes = config.batch_size * config.bag_size * self.spec.window_bytes
        # The only size in `run.json` that cannot be checked against the weights.
        if n_bytes > _LARGEST_BATCH_BYTES:
            what = f"batch_size {config.batch_size} with bag_size {config.bag_size} makes batches of {n_bytes:,} bytes"
            raise ModelError(what, place="config", remedy="Lower one of them.")

    def _check_rule(self) -> None:
        """Refuse thresholds and costs that are not those of the classes."""
        several, n = self.task == "multi-label", len(self.classes)
        if self.thresholds is not None:
            shares = [self.thresholds.get(name, -1.0) for name in self.classes]
            fits = (several or n == 2) and len(self.thresholds) == n and all(0 <= one <= 1 for one in shares)
            require(fits, "thresholds", self.thresholds, "a number from 0 to 1 for each class")
        if self.costs is not None:
            fits = not several and self.thresholds is None and [len(row) for row in self.costs] == [n] * n
            fits = fits and all(0 <= one < math.inf for row in self.costs for one in row)
            require(fits, "costs", self.costs, "a row for each true class, with numbers from 0")

    def network(self, place: str | Path) -> TrainConfig:
        """Return the options of a run that has trained a network.

        Raises
        ------
        UsageError
            If it is a baseline.
        """
        if isinstance(self.config, TrainConfig):
            return self.config
        what = "the run is a baseline, which is no network and looks at whole songs, not at windows"
        remedy = "Give a run of `songbag train`; of a baseline there are `evaluate`, `predict`, `report` and `compare`."
        raise UsageError(what, place=str(place), remedy=remedy)

    @property
    def baseline(self) -> BaselineConfig:
        """The options of a baseline.

        Raises
        ------
        UsageError
            If it is a run of a network.
        """
        if isinstance(self.config, BaselineConfig):
            return self.config
        raise UsageError("is a network, not a baseline", place=f"run {self.run_id}")

    @property
    def is_baseline(self) -> bool:
        """Whether a linear model or trees have learned, not a network."""
        return isinstance(self.config, BaselineConfig)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the `run.json` of a run folder; see `read_run_document` for the errors."""
        remedy = "Restore the file from a copy, or use the songbag that wrote it."
        return read_run_document(folder / RUN, partial(parse_run_document, cls), remedy)

    @classmethod
    def open(cls, folder: Path, *, finished: bool = True) -> Self:
        """Read the `run.json` of a run, finished or, if that is not asked for, under way.

        Raises
        ------
        RunNotFound
            If there is none, or its training was not finished.
        DamagedRun, NewerRun
            See `read_run_document`.
        """
        try:
            facts = cls.read(folder)
        except (FileNotFoundError, NotADirectoryError):
            if is_there(folder / CROSS_VALIDATION):
                remedy = f"Give one of its folds, each of which is a run: {folder / 'fold-1'}."
                raise RunNotFound("this is a cross-validation", place=str(folder), remedy=remedy) from None
            remedy = "Check the path; `songbag train STORE --label L -o RUN` makes a run."
            raise RunNotFound("there is no run here (no run.json)", place=str(folder), remedy=remedy) from None
        if finished and facts.finished_at is None:
            remedy = "Resume it: the command that trains it with --resume, or `resume(folder)`."
            raise RunNotFound("the training of this run was not finished", place=str(folder), remedy=remedy)
        return facts

    @property
    def song_task(self) -> Task:
        """What is learned, and what is predicted.

        Raises
        ------
        UsageError
            If the run has learned without labels.
        """
        if self.pretraining is not None:
            what = "this run is an encoder without classes, learned without labels"
            remedy = "Train from it first: `songbag train STORE --label L --from RUN -o RUN2`."
            raise UsageError(what, place=f"run {self.run_id[:8]}", remedy=remedy)
        thresholds = tuple(float(self.thresholds[name]) for name in self.classes) if self.thresholds else ()
        task = Task.named(self.task, self.classes)
        return dataclasses.replace(task, thresholds=thresholds, costs=tuple(map(tuple, self.costs or ())))
