"""`CrossValidation`: what the folds of a cross-validation found, each for itself and all together."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from songbag_store.progress import Progress
from songbag_store.sql.shown import Shown
from songbag_store.storage.files import replacing, write_whole
from songbag_store.words import counted
from songbag_training.evaluation.display import format_table
from songbag_training.evaluation.headline import floor_lines, headline, mean_floor, small_notes
from songbag_training.evaluation.intervals import class_intervals, song_intervals
from songbag_training.evaluation.leaks import in_words, leak_lines, without_suspects
from songbag_training.evaluation.metrics import class_metrics, song_metrics
from songbag_training.evaluation.predictions import probability_names
from songbag_training.pages.run import add_page
from songbag_training.runs.document import CROSS_VALIDATION
from songbag_training.runs.overlap import inherited_suspects
from songbag_training.runs.plan import Plan
from songbag_training.runs.run import Run
from songbag_training.runs.seals import replacing_results
from songbag_training.songs.labels import Labels
from songbag_training.splits.deal import Choice
from songbag_training.splits.groups import find_units
from songbag_training.splits.notes import suspected
from songbag_training.splits.split import Split
from songbag_training.types import Bools, Floats, Ints, Targets


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class CrossValidation(Shown):
    """The result of a cross-validation.

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


def sum_up(folder: Path, plan: Plan, choice: Choice, progress: Progress) -> CrossValidation:
    """Pool what finished folds say of their test songs, write it and show it."""
    labels, made = choice.labels, choice.split
    runs: list[Run] = [Run.open(folder / f"fold-{number}") for number in range(1, len(plan.folds) + 1)]
    units = find_units(labels.songs, made.group, list(made.copies().values()))
    suspects = {in_words(what, "other folds"): rows for what, rows in suspected(made, labels.songs).items()}
    suspects |= _inherited(runs, made)
    tested = _tested(plan, runs)
    pooled = pa.concat_tables(tested.values()).sort_by("song_id")
    metrics = _metrics(labels, tested, pooled, units, suspects)
    if floors := [run.facts.floor for run in runs if run.facts.floor is not None]:
        metrics["floor"] = mean_floor(floors)
    path = folder / CROSS_VALIDATION
    with replacing_results(folder, lambda: Plan.read(path), lambda plan: plan.write(path)) as staged:
        write_whole(staged / "metrics.json", json.dumps(metrics, indent=2).encode())
        with replacing(staged / "predictions.parquet") as temporary:
            pq.write_table(pooled, temporary, compression="zstd")
    _show(metrics, pooled.num_rows, progress)
    add_page(folder, progress)
    return CrossValidation(folder, metrics, runs)


def _tested(plan: Plan, runs: list[Run]) -> dict[str, pa.Table]:
    """Return the predictions of the test songs of each fold, by its name, which stands in the column `fold`."""
    tables = {}
    for name, run in zip(plan.folds, runs, strict=True):
        table = run.predictions(arrow=True).filter(pc.field("part") == "test")
        position = table.column_names.index("part")
        tables[name] = table.set_column(position, "fold", pa.repeat(name, table.num_rows))
    return tables


def _metrics(
    labels: Labels, tested: Mapping[str, pa.Table], pooled: pa.Table, units: Ints, suspects: Mapping[str, Ints]
) -> dict[str, Any]:
    """Return the metrics of each fold, their mean and spread, and those of all predictions together.

    Songs, units and pooled predictions are all in the order of song ids. The units are those of `find_units`; the
    suspects are rows of the songs: see `songbag_training.evaluation.leaks`.
    """
    # By what each fold predicted: its thresholds are its own.
    of_folds = {name: song_metrics(labels.task, *_answers(table, labels)) for name, table in tested.items()}
    names = [name for name in next(iter(of_folds.values())) if name != "n"]
    values = {name: np.array([own[name] for own in of_folds.values()], np.float64) for name in names}
    true, shares, said = _answers(pooled, labels)
    intervals = song_intervals(labels.task, true, shares, units, said)
    of_classes = class_metrics(labels.task, true, shares, said)
    for name, ends in class_intervals(labels.task, true, shares, units, said).items():
        of_classes[name] |= ends
    metrics: dict[str, Any] = {
        "folds": of_folds,
        "mean": {name: _or_none(own.mean()) for name, own in values.items()},
        "std": {name: _or_none(own.std(ddof=1)) for name, own in values.items()},
        "pooled": song_metrics(labels.task, true, shares, said),
        "intervals": intervals.ends,
        "without_interval": intervals.reasons,
        "classes": of_classes,
    }
    return metrics | without_suspects(labels.task, true, shares, pooled["song_id"].to_pylist(), suspects, said)


def _show(metrics: dict[str, Any], n_songs: int, progress: Progress) -> None:
    """Show the metrics of the folds and of all predictions together."""
    rows = [*metrics["folds"].items(), *((name, metrics[name]) for name in ("mean", "std", "pooled"))]
    progress.note(format_table("fold", rows, list(metrics["mean"])))
    if "floor" in metrics:
        for line in floor_lines(metrics["mean"]["accuracy"], metrics["floor"], "mean of the folds"):
            progress.note(line)
    for note in small_notes(metrics):
        progress.note(note)
    over = counted(n_songs, "song")
    progress.note(f"all folds together: {headline(metrics['pooled'], metrics['intervals'])} over {over}")
    for line in leak_lines({"song": metrics["pooled"], **metrics}):
        progress.note(line)


def _inherited(runs: list[Run], split: Split) -> dict[str, Ints]:
    """Return the rows of songs that the run that all folds were started from knows, by why."""
    known: list[str] = []
    for run in runs:
        own = run.split()
        known += [own.song_ids[row] for rows in inherited_suspects(run, own).values() for row in rows]
    rows = np.flatnonzero(np.isin(np.array(split.song_ids), known)) if known else np.array([], np.int64)
    return {"are known from the run that all were started from": rows} if len(rows) else {}


def _or_none(value: np.float64) -> float | None:
    """Return None for a number that is not defined, because a fold does not have this metric."""
    return float(value) if np.isfinite(value) else None


def _answers(predictions: pa.Table, labels: Labels) -> tuple[Targets, Floats, Bools]:
    """Return the true classes, the probabilities and the predicted classes of a table of predictions."""
    task = labels.task
    true, said = (task.encode(predictions[name].to_pylist()) for name in ("label", "predicted"))
    shares = [predictions[name].to_numpy() for name in probability_names(task.classes)]
    return true, np.stack(shares, axis=1), task.members(said)
