"""The songs of a run's page: which of them, in which order, and sums over all of them.

Predictions are read twice, in batches. Memory holds some bytes for every song, and text only of those that are shown.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from songbag_training.evaluation.metrics import CONFIDENCE_BINS, answers
from songbag_training.evaluation.predictions import probability_names
from songbag_training.songs.task import Task
from songbag_training.types import Bools, Floats, Label, Targets

MOST_SONGS = 10_000
_BATCH_NUMBERS = 2**21
_FOLLOWED = 5
_JUDGED, _WRONG = 1, 2


@dataclasses.dataclass(frozen=True, slots=True)
class Calibration:
    """Of each bin of confidence: how many answers, their mean confidence, and how many of them are right."""

    counts: Floats
    confidence: Floats
    right: Floats


@dataclasses.dataclass(frozen=True, slots=True)
class ShownSong:
    """A song on the page; `followed` are the numbers of the classes whose probability is shown over its seconds."""

    song_id: str
    label: str
    answer: str
    confidence: float
    is_right: bool
    subset: str
    followed: list[int]


@dataclasses.dataclass(frozen=True, slots=True)
class Songs:
    """What the predictions of a run say.

    Attributes
    ----------
    n : int
        All songs.
    shown : list of ShownSong
        At most 10,000: first the judged ones, wrong answers before right ones, of wrong ones the surest first, of right
        ones the least sure.
    pairs : Counter of (int, int)
        Of the judged songs, if each is of one class: how often a class was taken for another, or for itself.
    balance : dict of str to array
        How many songs of each class each subset has.
    calibration : Calibration
        Of the judged songs.
    """

    n: int
    shown: list[ShownSong]
    pairs: Counter[tuple[int, int]]
    balance: dict[str, Floats]
    calibration: Calibration


def read_songs(path: Path, task: Task, column: str, judged: str | None) -> Songs:
    """Read `predictions.parquet`; `column` has the subset or the fold, `judged` the judged one; None: all are."""
    kinds, confidences = [np.zeros(0, np.int8)], [np.zeros(0, np.float32)]
    pairs: Counter[tuple[int, int]] = Counter()
    balance: dict[str, Floats] = {}
    sums = np.zeros((3, CONFIDENCE_BINS))
    for batch in _batches(path, task, column):
        true, said, shares, subsets = _read(batch, task, column)
        wrong, sure = _confidence(task, true, said, shares)
        is_judged = np.ones(len(true), bool) if judged is None else subsets == judged
        kinds.append((is_judged * _JUDGED + wrong * _WRONG).astype(np.int8))
        confidences.append(sure.astype(np.float32))
        members = task.members(true)
        for subset in np.unique(subsets):
            own = members[subsets == subset].sum(axis=0).astype(np.float64)
            balance[str(subset)] = balance.get(str(subset), np.zeros(len(task.classes))) + own
        hits, confidence = answers(task, true[is_judged], shares[is_judged])
        bins = np.minimum((confidence * CONFIDENCE_BINS).astype(np.int64), CONFIDENCE_BINS - 1)
        for row, weights in enumerate((np.ones(len(bins)), confidence, hits.astype(np.float64))):
            sums[row] += np.bincount(bins, weights, CONFIDENCE_BINS)
        if not task.several:
            pairs.update(zip(true[is_judged].tolist(), said[is_judged].argmax(axis=1).tolist(), strict=True))
    kind, confidence = np.concatenate(kinds), np.concatenate(confidences)
    order = _order(kind, confidence)[:MOST_SONGS]
    shown = _shown(path, task, column, order, kind, confidence)
    return Songs(len(kind), shown, pairs, balance, Calibration(*sums))


def _order(kind: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Return the rows in the order of the page."""
    wrong = (kind & _WRONG) > 0
    within = np.where(wrong, -confidence, confidence)
    return np.lexsort((within, ~wrong, (kind & _JUDGED) == 0))


def _shown(
    path: Path, task: Task, column: str, order: np.ndarray, kind: np.ndarray, confidence: np.ndarray
) -> list[ShownSong]:
    position = {row: place for place, row in enumerate(order.tolist())}
    found: list[ShownSong | None] = [None] * len(order)
    begin = 0
    for batch in _batches(path, task, column):
        rows = [row for row in range(batch.num_rows) if begin + row in position]
        taken = batch.take(pa.array(rows, pa.int64()))
        true, answered, shares, _ = _read(taken, task, column)
        concerned = task.members(true) | answered
        names = (taken[name].to_pylist() for name in ("song_id", "label", "predicted", column))
        for at, (row, song_id, label, said, subset) in enumerate(zip(rows, *names, strict=True)):
            ranked = np.lexsort((-shares[at], ~concerned[at]))[:_FOLLOWED]
            whole = begin + row
            found[position[whole]] = ShownSong(
                song_id=str(song_id),
                label=_text(label),
                answer=_text(said),
                confidence=float(confidence[whole]),
                is_right=not kind[whole] & _WRONG,
                subset=str(subset),
                followed=sorted(ranked.tolist()),
            )
        begin += batch.num_rows
    return [one for one in found if one is not None]


def _batches(path: Path, task: Task, column: str) -> Iterator[pa.RecordBatch]:
    names = ["song_id", "label", "predicted", column, *probability_names(task.classes)]
    size = max(64, _BATCH_NUMBERS // len(task.classes))
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=size, columns=names)


def _read(batch: pa.RecordBatch, task: Task, column: str) -> tuple[Targets, Bools, Floats, np.ndarray]:
    """Return labels, answers, probabilities and subsets. Each fold of a cross-validation has thresholds of its own."""
    true, said = (
        task.encode([tuple(one) if isinstance(one, list) else one for one in batch[name].to_pylist()])
        for name in ("label", "predicted")
    )
    shares = np.stack([batch[name].to_numpy(zero_copy_only=False) for name in probability_names(task.classes)], axis=1)
    return true, task.members(said), shares, np.array(batch[column].to_pylist(), dtype=object)


def _confidence(task: Task, true: Targets, said: Bools, shares: Floats) -> tuple[Bools, Floats]:
    """Return which songs are answered wrongly, and how sure: of a wrong one its surest mistake, else its least sure."""
    right = said == task.members(true)
    if not task.several:
        return ~right.all(axis=1), np.where(said, shares, 0.0).sum(axis=1)
    sure = np.where(said, shares, 1.0 - shares)
    wrong: Bools = ~np.asarray(right.all(axis=1), bool)
    return wrong, np.where(wrong, np.where(right, -1.0, sure).max(axis=1), sure.min(axis=1))


def _text(label: Label | list[str] | None) -> str:
    return label if isinstance(label, str) else ", ".join(label or ()) or "none"
