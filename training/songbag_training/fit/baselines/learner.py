"""A baseline: what it learns from which songs, and its run folder. No TensorFlow here."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from songbag_store import SongStore
from songbag_store.progress import Indented, Progress, stretch
from songbag_store.storage.files import is_there
from songbag_store.words import counted
from songbag_training.config import BaselineConfig
from songbag_training.evaluation.calibration import scale
from songbag_training.fit.decision import rule_of, temperature_of
from songbag_training.fit.record import new_facts, now, pin
from songbag_training.runs.attempt import attempt
from songbag_training.runs.document import RUN
from songbag_training.runs.evaluate import judge_split
from songbag_training.runs.plan import Plan
from songbag_training.runs.run import Run
from songbag_training.runs.weights import save_tensors
from songbag_training.songs.labels import Labels
from songbag_training.splits.parts import inner_parts
from songbag_training.splits.split import Split
from songbag_training.summaries.learning import N_PARTS, choose, drawn, fit, trees_on
from songbag_training.summaries.predictor import Predictor
from songbag_training.summaries.scorer import SummaryScorer
from songbag_training.summaries.statistics import SongSummaries
from songbag_training.summaries.trees import Trees
from songbag_training.types import FloatArray, Ints, Targets


@dataclasses.dataclass(frozen=True, slots=True)
class SummaryMaterial:
    """Songs that a baseline learns from.

    Attributes
    ----------
    store : SongStore
    label : str
        Column with the labels.
    where : str or None
        SQL that chose the songs.
    labels : Labels
        The songs of the split.
    split : Split
        Into train, validation and test.
    config : BaselineConfig
    known : SongSummaries
        The summaries of the store's songs.
    """

    store: SongStore
    label: str
    where: str | None
    labels: Labels
    split: Split
    config: BaselineConfig
    known: SongSummaries

    def rows(self, numbers: Ints) -> pa.Table:
        """Return rows of the index, by their numbers among the labelled songs."""
        return self.labels.songs.take(pa.array(numbers, pa.int64()))


def predictor_of(material: SummaryMaterial, progress: Progress, trees: Trees | None = None) -> Predictor:
    """Fit the linear model and the trees, which may be given; choose between them on parts of the training songs."""
    labels, config, task = material.labels, material.config, material.labels.task
    rows, summaries, targets = _training_songs(material, progress)
    learner = config.learner
    if learner == "auto":
        parts = inner_parts(labels, material.split, rows.tolist(), N_PARTS, seed=config.seed)
        learner, scores = choose(summaries, targets, task, config, parts)
        told = ", ".join(f"{name} {score:.2f}" for name, score in scores.items())
        progress.note(f"parts of the training songs choose {learner}" + (f": right {told}" if told else ""))
    return fit(summaries, targets, task, config, learner, trees=trees)


def fitted_trees(material: SummaryMaterial, progress: Progress) -> Trees:
    """Fit trees alone."""
    _, summaries, targets = _training_songs(material, progress)
    return trees_on(summaries, targets, material.labels.task, material.config)


def _training_songs(material: SummaryMaterial, progress: Progress) -> tuple[Ints, FloatArray, Targets]:
    """Return the songs that are learned from, by their numbers, and their summaries and labels."""
    labels, config, task = material.labels, material.config, material.labels.task
    train = np.array(material.split.rows_of("train"), np.int64)
    own = drawn(task.pairs([labels.names[row] for row in train]), len(train), config.seed)
    if len(own) < len(train):
        progress.note(f"learns from {len(own):,} of {len(train):,} training songs, drawn by the seed")
    rows = train[own]
    with stretch(progress, None, f"{counted(len(rows), 'training song is', 'training songs are')} summed up"):
        return rows, material.known.of(material.rows(rows)), labels.targets(rows.tolist())


def learn(material: SummaryMaterial, folder: Path, progress: Progress) -> tuple[Run, dict[str, Any]]:
    """Make a baseline in a new or empty folder; return its run and its metrics."""
    predictor, config = predictor_of(material, progress), material.config
    task = material.labels.task
    if config.calibrates or config.thresholds:
        rows = np.array(material.split.rows_of("validation"), np.int64)
        true = material.labels.targets(rows.tolist())
        shares = predictor.probabilities(material.known.of(material.rows(rows)))
        if config.calibrates:
            temperature = temperature_of(task, true, shares, progress)
            predictor = dataclasses.replace(predictor, temperature=temperature)
            shares = scale(task, shares, temperature)
        task = rule_of(config, task, true, shares, progress)
    import sklearn

    chosen = dataclasses.replace(config, learner=predictor.learner)
    facts = new_facts(
        material.store,
        material.split,
        (sklearn, np),
        label=material.label,
        where=material.where,
        classes=list(material.labels.classes),
        task=material.labels.task.name,
        config=chosen,
    )
    run = Run.create(folder, facts, material.split)
    with attempt(folder):
        pin(run, material.store, progress)
        save_tensors(run.weights_path, predictor.tensors())
        run.predict_by(task)
        scorer = SummaryScorer(dataclasses.replace(predictor, task=task), material.store.spec, material.known)
        with stretch(progress, None, f"{counted(len(material.split.song_ids), 'song is', 'songs are')} judged"):
            metrics = judge_split(run, material.store, scorer).metrics
        run.finish(finished_at=now())
    return run, metrics


def learn_folds(
    folder: Path, store: SongStore, plan: Plan, labels: Labels, trainings: Sequence[Split], progress: Progress
) -> None:
    """Make the baselines of a cross-validation; the songs are summed up once for all folds."""
    config = plan.config
    if not isinstance(config, BaselineConfig):
        raise AssertionError("the folds are of networks")
    known = SongSummaries.remembered(store, labels.songs, config.summaries)
    for number, (split, name) in enumerate(zip(trainings, plan.folds, strict=True), 1):
        progress.note(f"fold {number} of {len(trainings)}, {name!r}:")
        material = SummaryMaterial(store, plan.label, plan.where, labels, split, config, known)
        learn_fold(material, folder / f"fold-{number}", Indented(progress))


def learn_fold(material: SummaryMaterial, folder: Path, progress: Progress) -> Run:
    """Make the baseline of one fold; keep one that an earlier call finished."""
    if is_there(folder / RUN):
        run = Run.open_unfinished(folder)
        run.split()
        if run.facts.finished_at is not None:
            progress.note(f"finished before: {folder}")
            return run
    # A call that was stopped may have left a folder.
    shutil.rmtree(folder, ignore_errors=True)
    run, metrics = learn(material, folder, progress)
    progress.note(f"held-out accuracy: {learners_in_words(metrics['test'])}")
    return run


def learners_in_words(metrics: dict[str, Any]) -> str:
    """Return the accuracy of each learner on the test songs: ``linear 0.71, trees 0.56, mean 0.70``."""
    return ", ".join(f"{name} {own['accuracy']:.2f}" for name, own in metrics["learners"].items())
