"""`cross_validate`: every fold is tested once, by a model trained on all the others.

::

    cross-validation.json   what is validated, on what: `Plan`. The same command goes on with what it describes
    split.parquet           song_id, label, part: the fold of each song
    fold-1/ fold-2/ ...     a run folder each, in the order of the folds
    metrics.json            of each fold, their mean and spread, and of all predictions together
    predictions.parquet     song_id, label, predicted, fold, p_<class>...: each song by the model that did not know it
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.format.document import Count, Digest, Identifier, require, write_fields
from songbag_store.progress import Indented, Progress, shown_on
from songbag_store.sql.shown import Shown
from songbag_store.storage.files import claim_folder, replacing, write_whole
from songbag_store.store import StoreLike
from songbag_training.config import TrainConfig
from songbag_training.errors import RunNotFound
from songbag_training.evaluation.display import format_table
from songbag_training.evaluation.intervals import bootstrap_intervals
from songbag_training.evaluation.metrics import song_metrics
from songbag_training.evaluation.predictions import probability_names
from songbag_training.fit.train import resume, train
from songbag_training.runs.document import parse_run_document, read_run_document
from songbag_training.runs.run import Run
from songbag_training.songs.labels import Labels, labelled_songs, require_learnable
from songbag_training.splits.deal import carve_validation, make_split
from songbag_training.splits.split import Split, SplitLike, apply_split, check_trainable

FORMAT = 1
DEFAULT_FOLDS = 5
MEMORY_BYTES = 10**9

_DEFAULTS = TrainConfig()
_PLAN = "cross-validation.json"
_FOLDS = "a list of two or more different names"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The content of `cross-validation.json`."""

    format: int = FORMAT
    """Number of this layout."""
    store_uuid: Identifier
    """Which store it is, wherever it lies."""
    snapshot: Count
    """Number of the snapshot that is read."""
    label: str
    """Column of the index with the labels."""
    where: str | None
    """SQL expression that chose the songs; None for all."""
    split_sha256: Digest
    """Digest of the folds."""
    folds: list[str]
    """Their names; that of ``fold-1`` first."""
    config: TrainConfig
    """The `TrainConfig` of every fold."""

    def to_json(self) -> bytes:
        """Return the content of the file."""
        return write_fields(self)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `to_json` gave.

        Raises
        ------
        DamagedRun
            If it is not what songbag wrote.
        NewerRun
            If it is of another format.
        """
        return read_run_document(path, cls._from_json, "Choose another -o.")

    @classmethod
    def _from_json(cls, data: bytes) -> Self:
        plan = parse_run_document(cls, data, FORMAT, "cross-validation")
        require(len(plan.folds) >= 2 and len(set(plan.folds)) == len(plan.folds), "folds", plan.folds, _FOLDS)
        return plan


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class CrossValidation(Shown):
    """What came of a cross-validation.

    Attributes
    ----------
    folder : pathlib.Path
        Where everything is.
    metrics : dict
        The content of `metrics.json`: ``{"folds": {name: ...}, "mean": ..., "std": ..., "pooled": ...}``; `std` is the
        sample standard deviation over the folds.
    runs : list of Run
        One a fold.
    """

    folder: Path
    metrics: dict[str, Any]
    runs: list[Run]

    def _facts(self) -> Iterator[tuple[str, object]]:
        yield "folder", self.folder
        yield "folds", len(self.runs)
        for name, mean in self.metrics["mean"].items():
            std = self.metrics["std"][name]
            yield name, mean if mean is None or std is None else f"{mean:.3f} +- {std:.3f}"


def cross_validate(
    store: StoreLike,
    label: str,
    output: str | Path,
    config: TrainConfig = _DEFAULTS,
    *,
    folds: int | None = None,
    fold_column: str | None = None,
    split: SplitLike | None = None,
    group: Sequence[str] = (),
    where: str | None = None,
    memory_bytes: int = MEMORY_BYTES,
    progress: Progress | None = None,
) -> CrossValidation:
    """Train once for each fold, on all other folds, and test on this one.

    Nothing is chosen by the fold that is tested: a fold trains all epochs and keeps the last weights. With
    ``config.early_stopping`` or ``config.calibrate`` 15 % of its training songs are taken out to validate instead.

    The folds share one reading of the store: what one has read stays in memory for the others, as stored, up to
    `memory_bytes`; what finds no room there is read again by each.

    The same call goes on where an earlier one was stopped: finished folds are not trained again, the fold that was
    under way goes on behind its last checkpoint, and the snapshot is the one that it began with.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store.
    label : str
        Column of the index with the labels.
    output : str or pathlib.Path
        Folder of the cross-validation: new, empty, or left by the same call.
    config : TrainConfig
        Of each fold; its seed also makes the folds.
    folds : int, optional
        How many folds to make; 5 where nothing else is said.
    fold_column : str, optional
        Column of the index with the name of each song's fold.
    split : Split, str or pathlib.Path, optional
        Folds made beforehand.
    group : sequence of str, optional
        Columns of the index: songs with the same artist, album, ... stay in one fold.
    where : str, optional
        SQL expression over the index; only these songs are used.
    memory_bytes : int
        The most that is kept of the store; 1 GB holds some 3,000 songs of three minutes in 13 MFCC.
    progress : Progress, optional
        As for `train`.

    Raises
    ------
    LabelError
        If a class cannot be learned, or does not come into every training.
    LeakError, SplitMismatch
        If given folds do not fit the store.
    UsageError
        If the folder holds something else, or options contradict each other.
    """
    progress = progress or shown_on(sys.stdout)
    folder = Path(output)
    store = _at_snapshot_of(folder, SongStore.open(store)).remembering(memory_bytes)
    split = None if split is None else Split.read(split)
    kept = {"group": group, "group of the split": split.group if split else ()}
    labels = labelled_songs(store, label, where, {"fold_column": [fold_column] if fold_column else [], **kept})
    labels, split = _folds(
        store, labels, label, split, folds=folds, fold_column=fold_column, group=group, config=config
    )
    trainings = [_training_split(split, name, labels, label, config) for name in split.names]
    plan = Plan(
        store_uuid=store.uuid,
        snapshot=store.snapshot,
        label=label,
        where=where,
        split_sha256=split.digest,
        folds=split.names,
        config=config,
    )
    _begin(folder, plan, split)
    progress.note(f"{len(split.song_ids)} songs of {len(labels.classes)} classes in {len(trainings)} folds")
    runs = []
    for number, training in enumerate(trainings, 1):
        progress.note(f"fold {number} of {len(trainings)}, {plan.folds[number - 1]!r}:")
        runs.append(_train_fold(folder / f"fold-{number}", store, plan, training, config, progress))
    metrics = _sum_up(folder, plan, labels, runs)
    progress.note(format_cross_validation(metrics))
    return CrossValidation(folder, metrics, runs)


def _at_snapshot_of(folder: Path, store: SongStore) -> SongStore:
    """Return the store at the snapshot that a cross-validation in this folder began with."""
    if not (folder / _PLAN).is_file():
        return store
    plan = Plan.read(folder / _PLAN)
    if plan.store_uuid != store.uuid or plan.snapshot == store.snapshot:
        return store
    return store.at(plan.snapshot)


def _folds(
    store: SongStore,
    labels: Labels,
    label: str,
    split: Split | None,
    *,
    folds: int | None,
    fold_column: str | None,
    group: Sequence[str],
    config: TrainConfig,
) -> tuple[Labels, Split]:
    """Return the songs and their folds: saved, given or new."""
    if split is None:
        number = folds if folds is not None or fold_column is not None else DEFAULT_FOLDS
        split = make_split(labels, label, folds=number, fold_column=fold_column, group=group, seed=config.seed)
    elif folds is not None or fold_column is not None or group:
        what = "the saved split has its folds and groups already"
        raise UsageError(what, place="split", remedy="Leave out `folds`, `fold_column` and `group`.")
    else:
        _require_folds(split)
        labels, split = apply_split(split, labels, store.songs(columns=["song_id"], arrow=True))
        require_learnable(labels, label)
    _require_folds(split)
    return labels, split


def _require_folds(split: Split) -> None:
    if not split.is_folds:
        what = "the split consists of train, validation and test, not of folds"
        raise UsageError(what, place="cross-validate", remedy="`songbag train` takes it; make folds with `folds`.")


def _training_split(split: Split, name: str, labels: Labels, label: str, config: TrainConfig) -> Split:
    """Return the split of one fold's training, with validation songs where something is to be chosen by them."""
    training = split.fold(name)
    check_trainable(training, labels.classes, label)
    chosen_by = config.early_stopping or config.calibrate
    return carve_validation(training, labels, label, seed=config.seed) if chosen_by else training


def _begin(folder: Path, plan: Plan, split: Split) -> None:
    """Make the folder, or make sure that it is one of the same cross-validation."""
    if not (folder / _PLAN).is_file():
        claim_folder(folder)
        split.write(folder / "split.parquet")
        write_whole(folder / _PLAN, plan.to_json())
        return
    there, asked = dataclasses.asdict(Plan.read(folder / _PLAN)), dataclasses.asdict(plan)
    differing = [name for name in asked if asked[name] != there[name]]
    if differing:
        raise UsageError(
            f"the folder holds another cross-validation (it differs in {', '.join(differing)})",
            place=str(folder),
            remedy="Give the same options to go on with that one, or choose another -o.",
        )


def _train_fold(
    folder: Path, store: SongStore, plan: Plan, split: Split, config: TrainConfig, progress: Progress
) -> Run:
    """Train one fold; what an earlier call has finished stays, and what it has begun goes on."""
    keras.backend.clear_session()
    try:
        run = Run.open_unfinished(folder)
    except RunNotFound:
        # A call that was stopped before the training began may have left a folder.
        shutil.rmtree(folder, ignore_errors=True)
    else:
        run.split()
        if run.facts.finished_at is not None:
            progress.note(f"  finished before: {folder}")
            return run
        progress.note(f"  going on with {folder}")
        return resume(folder, store, encoder=config.encoder, progress=Indented(progress))
    return train(store, plan.label, folder, where=plan.where, split=split, config=config, progress=Indented(progress))


def _sum_up(folder: Path, plan: Plan, labels: Labels, runs: list[Run]) -> dict[str, Any]:
    """Pool the predictions of the folds; write both files and return the metrics."""
    tables = []
    for name, run in zip(plan.folds, runs, strict=True):
        table = pq.read_table(run.folder / "predictions.parquet", partitioning=None)
        table = table.filter(pc.field("part") == "test").drop_columns(["part"])
        position = table.column_names.index("predicted") + 1
        tables.append(table.add_column(position, "fold", pa.array([name] * table.num_rows, pa.string())))
    pooled = pa.concat_tables(tables).sort_by("song_id")
    with replacing(folder / "predictions.parquet") as temporary:
        pq.write_table(pooled, temporary, compression="zstd")
    answers = {name: _answers(table, labels) for name, table in zip(plan.folds, tables, strict=True)}
    of_folds = {name: song_metrics(labels.task, *own) for name, own in answers.items()}
    names = [name for name in of_folds[plan.folds[0]] if name != "n"]
    values = {name: np.array([own[name] for own in of_folds.values()], np.float64) for name in names}
    everything = _answers(pooled, labels)
    metrics = {
        "folds": of_folds,
        "mean": {name: _or_none(own.mean()) for name, own in values.items()},
        "std": {name: _or_none(own.std(ddof=1)) for name, own in values.items()},
        "pooled": song_metrics(labels.task, *everything),
        "intervals": bootstrap_intervals(labels.task, *everything),
    }
    write_whole(folder / "metrics.json", json.dumps(metrics, indent=2).encode())
    return metrics


def _or_none(value: np.float64) -> float | None:
    """Return None for what is not defined: a metric that some fold does not have."""
    return float(value) if np.isfinite(value) else None


def _answers(predictions: pa.Table, labels: Labels) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Return the true classes and the probabilities of a table of predictions."""
    names: list[Any] = predictions["label"].to_pylist()
    shares = [predictions[name].to_numpy() for name in probability_names(labels.classes)]
    return labels.task.encode(names), np.stack(shares, axis=1)


def format_cross_validation(metrics: dict[str, Any]) -> str:
    """Return the metrics as a table: a line a fold, then mean, standard deviation and all songs together."""
    rows = [*metrics["folds"].items(), *((name, metrics[name]) for name in ("mean", "std", "pooled"))]
    return format_table("fold", rows, list(metrics["mean"]))
