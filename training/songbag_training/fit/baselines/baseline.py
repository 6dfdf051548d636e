"""`baseline`: a linear model and trees on song summaries, as a run or a cross-validation. No TensorFlow here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from songbag_store import SongStore
from songbag_store.format.declaration import require_kind
from songbag_store.progress import Progress, shown_on
from songbag_store.storage.files import claim_folder, is_there
from songbag_store.store import StoreLike
from songbag_training.config import BaselineConfig
from songbag_training.evaluation.headline import cross_validation_hint, headline, small_notes
from songbag_training.evaluation.leaks import leak_lines
from songbag_training.fit.baselines.learner import SummaryMaterial, learn, learners_in_words
from songbag_training.fit.cross_validation import cross_validate
from songbag_training.fit.material import choose_songs, note_songs
from songbag_training.fit.pooled import CrossValidation
from songbag_training.pages.run import add_page
from songbag_training.runs.interruption import refuse_unfinished, telling
from songbag_training.runs.run import Run
from songbag_training.splits.split import Split, SplitLike
from songbag_training.summaries.statistics import SongSummaries

_DEFAULTS = BaselineConfig()


def baseline(
    store: StoreLike,
    label: str,
    output: str | Path,
    config: BaselineConfig = _DEFAULTS,
    *,
    where: str | None = None,
    split: SplitLike | None = None,
    folds: int | None = None,
    fold_column: str | None = None,
    group: Sequence[str] = (),
    progress: Progress | None = None,
) -> Run | CrossValidation:
    """Fit a linear model and trees to summaries of songs, and write a run folder: the floor of every other run.

    The summaries say of each coefficient how it is distributed in the song, see
    `songbag_training.summaries.statistics`. Splits, metrics and files are those of `train`; there are no windows. Which
    of linear model, trees and the mean of both counts is chosen on three parts of the training songs, and each one's
    metrics are in `metrics.json`. At most 10,000 training songs are learned from. The same store and options give the
    same files, to the byte, beside times and ids.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store, at the snapshot to learn from.
    label : str
        Column of the index with one label a song, or with a list of them.
    output : str or pathlib.Path
        The run folder, new or empty; of folds, also one that the same call has left.
    config : BaselineConfig
        What learns, and how.
    where : str, optional
        SQL expression over the index; only these songs are used.
    split : Split, str or pathlib.Path, optional
        A split made beforehand, also one of folds; by default a new one is made.
    folds : int, optional
        Cross-validate with so many folds.
    fold_column : str, optional
        Cross-validate with the folds that this column of the index names.
    group : sequence of str, optional
        Columns of the index: songs with the same artist, album, ... stay in one subset of a new split.
    progress : Progress, optional
        Where to show what is done; by default standard output.

    Returns
    -------
    run : Run or CrossValidation
        The finished run; with folds, their cross-validation.

    Raises
    ------
    LabelError
        If the labels cannot be learned.
    LeakError
        If a test song would also be learned from.
    SplitMismatch
        If the store no longer has the songs of the split.
    ModelError
        If features are not finite numbers, or the index lacks their sums.
    UsageError
        If the folder is not empty, or no song is left.

    Examples
    --------
    >>> run = baseline("my-store", "genre", "runs/floor")
    >>> run.metrics["test"]["song"]["accuracy"], run.metrics["test"]["learners"]["trees"]["accuracy"]
    """
    require_kind(config, "config", BaselineConfig)
    progress, folder = progress or shown_on(sys.stdout), Path(output)
    given = None if split is None else Split.read(split)
    if folds is not None or fold_column is not None or (given is not None and given.is_folds):
        dealt = {"folds": folds, "fold_column": fold_column, "split": given}
        return cross_validate(store, label, folder, config, **dealt, group=group, where=where, progress=progress)  # type: ignore[arg-type]
    refuse_unfinished(folder, store)
    if is_there(folder):
        claim_folder(folder)
    with telling(folder, store, progress):
        material, notes = _prepare(SongStore.open(store), label, where, given, group, config, progress)
        note_songs(material.labels, material.split, notes, progress)
        run, metrics = learn(material, folder, progress)
    held_out = metrics["test"]
    few = small_notes(held_out)
    for note in (*few, *cross_validation_hint(held_out["song"]["n"], len(material.split.song_ids), bool(few))):
        progress.note(note)
    progress.note(f"held-out accuracy: {learners_in_words(held_out)}")
    progress.note(f"{run.facts.config.model_in_words}: {headline(held_out['song'], held_out['intervals'])}: {folder}")
    for line in leak_lines(held_out):
        progress.note(line)
    add_page(folder, progress)
    return run


def _prepare(
    store: SongStore,
    label: str,
    where: str | None,
    split: Split | None,
    group: Sequence[str],
    config: BaselineConfig,
    progress: Progress,
) -> tuple[SummaryMaterial, list[str]]:
    """Choose songs and split; return what a baseline is made of, and what is to be said about the split."""
    choice, config = choose_songs(store, label, where, split, group, config, progress)
    known = SongSummaries.remembered(store, choice.labels.songs, config.summaries)
    return SummaryMaterial(store, label, where, choice.labels, choice.split, config, known), choice.notes
