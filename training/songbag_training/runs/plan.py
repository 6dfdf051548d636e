"""The documents of a cross-validation and of a sweep: what is validated or tried, and on what."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from songbag_store import SongStore
from songbag_store.errors import SongbagError, UsageError
from songbag_store.format.document import (
    LATER,
    Count,
    Digest,
    Identifier,
    Ordinal,
    parse_document,
    require,
    write_fields,
)
from songbag_store.storage.files import is_there, write_whole
from songbag_store.store import StoreLike
from songbag_training.config import RunConfig, TrainConfig
from songbag_training.errors import RunNotFound
from songbag_training.runs.document import CROSS_VALIDATION, FORMAT, RUN, SWEEP, parse_run_document, read_run_document
from songbag_training.runs.facts import ParentFacts
from songbag_training.search import Search

_METRICS = "metrics.json"
_FOLDS = "a list of two or more different names"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The content of `cross-validation.json`."""

    format: int = FORMAT
    """Number of this layout."""
    store_uuid: Identifier
    """Identity of the store."""
    snapshot: Count
    """Number of the snapshot that is read."""
    label: str
    """Column of the index with the labels."""
    where: str | None
    """SQL expression that chose the songs; None for all."""
    split_sha256: Digest
    """Digest of the folds."""
    folds: list[str]
    """Their names, in the order of the folders."""
    config: RunConfig
    """The options of every fold."""
    files: dict[str, Digest] | None = None
    """SHA-256 of every finished file but those of the folds; None if it was begun before there were seals."""
    replaced: dict[str, Digest] = dataclasses.field(default_factory=dict)
    """SHA-256 of files that are being replaced by those of another call."""
    parent: ParentFacts | None = dataclasses.field(default=None, metadata=LATER)
    """The run with whose encoder the training of every fold begins."""

    def __post_init__(self) -> None:
        require(len(self.folds) >= 2 and len(set(self.folds)) == len(self.folds), "folds", self.folds, _FOLDS)

    @property
    def network(self) -> TrainConfig:
        """The options of a cross-validation of networks.

        Raises
        ------
        UsageError
            If it is of baselines.
        """
        if isinstance(self.config, TrainConfig):
            return self.config
        remedy = "Go on with the command that began it: `songbag baseline` with the same options."
        raise UsageError("the cross-validation is of baselines", place="resume", remedy=remedy)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file.

        Raises
        ------
        DamagedRun
            If it is not what songbag wrote.
        NewerRun
            If it is of another format.
        """
        return read_run_document(path, partial(parse_run_document, cls), "Choose another `output`.")

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read the file of a cross-validation that was begun in a folder; see `read`.

        Raises
        ------
        RunNotFound
            If there is none.
        """
        try:
            return cls.read(folder / CROSS_VALIDATION)
        except (FileNotFoundError, NotADirectoryError):
            what, remedy = f"there is no cross-validation here (no {CROSS_VALIDATION})", "Check the path."
            raise RunNotFound(what, place=str(folder), remedy=remedy) from None

    def write(self, path: Path) -> None:
        """Write the file, in place of an earlier one."""
        write_whole(path, write_fields(self))


Settings = dict[str, Any]
"""Values of options of a training by their names, as JSON types."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """The content of `sweep.json`."""

    format: int = FORMAT
    """Number of this layout."""
    store_location: str
    """Where the store was, as an absolute path or address."""
    store_uuid: Identifier
    """Identity of the store."""
    snapshot: Count
    """Number of the snapshot that is read."""
    label: str
    """Column of the index with the labels."""
    where: str | None
    """SQL expression that chose the songs; None for all."""
    split_sha256: Digest
    """Digest of the split of every point."""
    folds: list[str]
    """Names of the folds if each point is a cross-validation; empty if each is a run."""
    config: TrainConfig
    """What the points have in common."""
    search: Search
    """What was asked for."""
    points: list[dict[str, Any]]
    """What is different in each point: the values of its options."""
    winner: Ordinal | None = dataclasses.field(default=None, metadata=LATER)
    """Number of the point that was chosen, and is the only one that is tested."""
    files: dict[str, Digest] = dataclasses.field(default_factory=dict)
    """SHA-256 of the files beside this one."""
    parent: ParentFacts | None = dataclasses.field(default=None, metadata=LATER)
    """The run with whose encoder the training of every point begins."""

    def __post_init__(self) -> None:
        require(self.points, "points", self.points, "a list of one or more")
        require((self.winner or 1) <= len(self.points), "winner", self.winner, "the number of a point")
        for point in self.points:
            self.config_of(point)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file; see `Plan.read`."""
        return read_run_document(path, partial(parse_run_document, cls), "Choose another `output`.")

    def write(self, path: Path) -> None:
        """Write the file, in place of an earlier one."""
        write_whole(path, write_fields(self))

    def config_of(self, point: Settings) -> TrainConfig:
        """Return how a point is trained."""
        return dataclasses.replace(self.config.as_begun, **point)


def point_name(number: int) -> str:
    """Return the name of a point's folder, by its number from 1."""
    return f"point-{number}"


def sweep_of(folder: Path) -> Path | None:
    """Return the folder of the sweep that a run or a cross-validation is a point of, or a fold of a point."""
    parent = folder.absolute().parent
    if is_there(parent / SWEEP):
        return parent
    return parent.parent if is_there(parent / CROSS_VALIDATION) and is_there(parent.parent / SWEEP) else None


def judged_by(config: TrainConfig) -> tuple[str, int]:
    """Return the metric that points are compared by, and 1 if more of it is better, -1 if less is."""
    return ("log_loss", -1) if config.monitor == "loss" else (config.monitor.replace("-", "_"), 1)


def validation_value(folder: Path, plan: SweepPlan) -> float | None:
    """Return the metric of a trained point that it is compared by; of folds the mean. None if it is not defined."""
    name, _ = judged_by(plan.config)
    values = [metrics["song"][name] for metrics in validations(folder, len(plan.folds))]
    if not values or any(value is None for value in values):
        return None
    return float(np.mean(values))


def validations(folder: Path, n_folds: int) -> list[dict[str, Any]]:
    """Return the metrics of the validation songs of a run, or of each fold of a cross-validation.

    Nothing is returned unless all of them are trained.
    """
    folders = [folder / f"fold-{number}" for number in range(1, n_folds + 1)] if n_folds else [folder]
    found = []
    for own in folders:
        with suppress(SongbagError, OSError):
            if is_there(own / RUN):
                found.append(read_run_document(own / _METRICS, parse_document, "")["validation"])
    return found if len(found) == len(folders) else []


def open_as_begun(store: StoreLike, begun: Plan | SweepPlan | None) -> SongStore:
    """Open a store at the snapshot of what was begun on it; at its own snapshot if nothing was."""
    opened = SongStore.open(store)
    return SongStore.open(opened, snapshot=begun.snapshot) if begun and begun.store_uuid == opened.uuid else opened
