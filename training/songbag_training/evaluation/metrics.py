"""Metrics of predictions, from probabilities and targets."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import metrics as sklearn_metrics

from songbag_store.machine import reserve
from songbag_training.songs.task import Task
from songbag_training.types import Bools, Floats, Ints, Metrics, Targets

_ONE_CLASS = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "average_precision", "log_loss", "ece")
_SEVERAL = ("accuracy", "subset_accuracy", "micro_f1", "macro_f1", "roc_auc", "average_precision", "log_loss", "ece")

CONFIDENCE_BINS = 15
_MISTAKES = 20

PIECE_VALUES = 2**20
"""Numbers of songs and classes that are worked on at a time."""

MOST_BYTES = 64_000_000
"""Larger arrays of probabilities lie on disk."""


def metric_names(task: Task) -> tuple[str, ...]:
    """Return the names of the metrics of a task."""
    return _SEVERAL if task.several else _ONE_CLASS


def pieces(n: int, n_classes: int) -> Iterator[slice]:
    """Yield slices that cut n songs into pieces, of each of which numbers of all classes may be in memory: 8 MB."""
    size = max(1, PIECE_VALUES // n_classes)
    return (slice(start, start + size) for start in range(0, n, size))


def room(n: int, n_classes: int, folder: Path) -> Floats:
    """Return an array of shape (n, n_classes), which lies in a file without a name in a folder if it is large."""
    if n * n_classes * 8 <= MOST_BYTES:
        return np.empty((n, n_classes))
    with tempfile.TemporaryFile(dir=folder) as file:
        # A page of a file with holes, written when the disk is full, would end the process.
        reserve(file.fileno(), n * n_classes * 8)
        return np.memmap(file, np.float64, "w+", shape=(n, n_classes))


def taken(values: Floats, rows: Sequence[int], folder: Path) -> Floats:
    """Return some rows of an array, in room of its own unless these are all."""
    if len(rows) == len(values) and np.array_equal(rows, np.arange(len(values))):
        return values
    numbers: Ints = np.array(rows, np.int64)
    found = room(len(rows), values.shape[1], folder)
    for piece in pieces(len(rows), values.shape[1]):
        found[piece] = values[numbers[piece]]
    return found


def song_metrics(
    task: Task, true: Targets, probabilities: Floats, said: Bools | None = None, rows: Ints | None = None
) -> Metrics:
    """Return all metrics of some songs.

    Parameters
    ----------
    task : Task
    true : Targets
        The songs' labels.
    probabilities : float64, shape (n, n_classes)
    said : bool, shape (n, n_classes), optional
        What was predicted; by default what the task predicts.
    rows : int64 array, optional
        The songs that count; by default all.

    Returns
    -------
    metrics : dict
        The names of `metric_names`, and the number of songs as `n`. What is not defined is None: everything if there
        are no songs, ROC-AUC and average precision if no class both occurs and is missing.

        ``balanced_accuracy`` is the mean recall of the classes that occur, ``macro_f1`` the mean F1 of those that occur
        or are predicted. ``roc_auc`` and ``average_precision`` are means over the classes, each against all others; of
        two classes they are those of the second. ``ece`` is the expected calibration error, see `calibration_gaps`.
        ``subset_accuracy`` is the share of songs with every class right. If a song may be of several classes,
        ``accuracy`` is the share of right answers to "is this song of this class?", and ``log_loss`` the mean over
        these questions. ``roc_auc``, ``average_precision``, ``log_loss`` and ``ece`` are of the probabilities alone,
        and do not change with thresholds or costs.

    Memory: some megabytes, and a few numbers for each song at a time. The probabilities may lie on disk.
    """
    n_classes = len(task.classes)
    n = len(true) if rows is None else len(rows)
    counts, gaps, loss = np.zeros(3 * n_classes + 1, np.int64), np.zeros(CONFIDENCE_BINS), 0.0
    for piece in pieces(n, n_classes):
        part: slice | Ints = piece if rows is None else rows[piece]
        own, shares = true[part], probabilities[part]
        answered = task.predicted(shares) if said is None else said[part]
        counts += outcomes(task.members(own), answered).sum(axis=0)
        gaps += calibration_gaps(*answers(task, own, shares))
        loss += float(task.losses(own, shares).sum())
    ranked = task.ranked
    whole: slice | Ints = slice(None) if rows is None else rows
    members = (_has(task, true, number)[whole] for number in ranked)
    ranking = ranking_metrics(members, (probabilities[:, number][whole] for number in ranked))
    return summed_metrics(task, n, counts, gaps, loss, ranking)


def _has(task: Task, true: Targets, number: int) -> Bools:
    """Return which songs are of one class."""
    return np.asarray(true[:, number] > 0 if task.several else true == number)


def summed_metrics(
    task: Task, n: int, counts: Ints, gaps: Floats, loss: float, ranking: tuple[float | None, float | None]
) -> Metrics:
    """Return the metrics of `n` songs or windows from sums over them, in the order of `metric_names`."""
    if n == 0:
        return dict.fromkeys(metric_names(task)) | {"n": 0}
    metrics: Metrics = {name: float(value) for name, value in counted_metrics(task, counts, n).items()}
    n_answers = n * len(task.classes) if task.several else n
    ece = float(np.abs(gaps).sum() / n_answers)
    return metrics | {"roc_auc": ranking[0], "average_precision": ranking[1], "log_loss": loss / n, "ece": ece, "n": n}


def outcomes(own: Bools, said: Bools) -> Bools:
    """Return which classes of each song are right, missed, and falsely predicted, and whether all is right.

    Shape (n, 3 * n_classes + 1); `own` and `said` are of shape (n, n_classes).
    """
    return np.concatenate([own & said, own & ~said, ~own & said, (own == said).all(axis=1)[:, None]], axis=1)


def summed_outcomes(own: Bools, said: Bools) -> Ints:
    """Return the sums of `outcomes` over all songs."""
    counts = np.zeros(3 * own.shape[1] + 1, np.int64)
    for piece in pieces(len(own), own.shape[1]):
        counts += outcomes(own[piece], said[piece]).sum(axis=0)
    return counts


def counted_metrics(task: Task, counts: Ints, n: int) -> dict[str, Floats]:
    """Return the metrics that count right and wrong answers.

    Parameters
    ----------
    task : Task
    counts : int64, shape (..., 3 * n_classes + 1)
        Sums of `outcomes` over n songs.
    n : int
    """
    right, missed, false = np.split(counts[..., :-1].astype(np.float64), 3, axis=-1)
    answered = 2 * right + missed + false
    macro_f1 = _mean_share(2 * right, answered)
    if not task.several:
        recall = _mean_share(right, right + missed)
        return {"accuracy": right.sum(axis=-1) / n, "balanced_accuracy": recall, "macro_f1": macro_f1}
    n_answers = n * right.shape[-1]
    return {
        "accuracy": (n_answers - (missed + false).sum(axis=-1)) / n_answers,
        "subset_accuracy": counts[..., -1] / n,
        "micro_f1": 2 * right.sum(axis=-1) / np.maximum(answered.sum(axis=-1), 1),
        "macro_f1": macro_f1,
    }


def _mean_share(parts: Floats, wholes: Floats) -> Floats:
    """Return the mean over the classes whose whole is not 0, or 0 if there is none."""
    mean: Floats = (parts / np.maximum(wholes, 1)).sum(axis=-1) / np.maximum((wholes > 0).sum(axis=-1), 1)
    return mean


def class_metrics(task: Task, true: Targets, probabilities: Floats, said: Bools | None = None) -> dict[str, Metrics]:
    """Return precision, recall, F1 and number of songs of each class. What is not defined is None."""
    own, said = task.members(true), task.predicted(probabilities) if said is None else said
    # scikit-learn refuses empty arrays.
    found = (*np.full((3, own.shape[1]), np.nan), np.zeros(own.shape[1], np.int64))
    if len(own):
        found = sklearn_metrics.precision_recall_fscore_support(own, said, average=None, zero_division=np.nan)
    names = ("precision", "recall", "f1", "n")
    return {
        name: {key: None if np.isnan(value) else value for key, value in zip(names, values, strict=True)}
        for name, *values in zip(task.classes, *(column.tolist() for column in found), strict=True)
    }


def confusion_matrix(task: Task, true: Targets, probabilities: Floats) -> Ints:
    """Count predictions, shape (n_classes, n_classes): row the true class, column the predicted one."""
    numbers = np.arange(len(task.classes))
    counts: Ints = sklearn_metrics.confusion_matrix(true, task.predicted(probabilities).argmax(axis=1), labels=numbers)
    return counts


def answers(task: Task, true: Targets, probabilities: Floats) -> tuple[Bools, Floats]:
    """Return whether the more probable answers are right, and their probabilities; thresholds do not count."""
    plain = task.plain
    return plain.right(true, probabilities).ravel(), plain.confidences(probabilities).ravel()


def calibration_gaps(hits: Bools, confidence: Floats) -> Floats:
    """Return the sum of hit minus confidence in each of 15 bins of equal width, by confidence.

    The expected calibration error is the sum of their absolute values divided by the number of answers (C. Guo,
    G. Pleiss, Y. Sun, K. Weinberger, "On calibration of modern neural networks", ICML 2017, eq. 3).
    """
    bins = np.minimum((confidence * CONFIDENCE_BINS).astype(np.int64), CONFIDENCE_BINS - 1)
    return np.asarray(np.bincount(bins, hits - confidence, CONFIDENCE_BINS), np.float64)


def ranking_metrics(
    members: Iterable[Bools], scores: Iterable[Floats], weights: Iterable[Floats] | None = None
) -> tuple[float | None, float | None]:
    """Return the mean ROC-AUC and average precision over the classes for which they are defined.

    Parameters
    ----------
    members, scores, weights : iterables of arrays, one for each class
        Which songs are of the class, their scores, and how often each song counts.
    """
    found = []
    for own, values, weight in zip(members, scores, repeat(None) if weights is None else weights, strict=False):
        there = own if weight is None else own[weight > 0]
        if there.any() and not there.all():
            area = sklearn_metrics.roc_auc_score(own, values, sample_weight=weight)
            found.append((area, sklearn_metrics.average_precision_score(own, values, sample_weight=weight)))
    if not found:
        return None, None
    roc_auc, average_precision = np.mean(found, axis=0).tolist()
    return roc_auc, average_precision


def confident_mistakes(
    task: Task, song_ids: Sequence[str], true: Targets, probabilities: Floats
) -> list[dict[str, Any]]:
    """Return wrong answers, the most confident first: song_id, label, said, probability.

    Often such a label is wrong, not the model. `said` is the predicted class. If a song may be of several classes, it
    is ``rock`` or ``not rock``, and a song can occur several times.
    """
    n_classes, surest = len(task.classes), list[tuple[float, int]]()
    for piece in pieces(len(true), n_classes):
        confidence = task.confidences(probabilities[piece]).ravel()
        wrong = np.flatnonzero(~task.right(true[piece], probabilities[piece]).ravel())
        own = wrong[np.argsort(-confidence[wrong], kind="stable")[:_MISTAKES]]
        first = piece.start * (n_classes if task.several else 1)
        surest = sorted(surest + [(-float(confidence[one]), first + one) for one in own.tolist()])[:_MISTAKES]
    found = []
    for minus, answer in surest:
        row = answer // n_classes if task.several else answer
        said = task.predicted(probabilities[row : row + 1])[0]
        number = answer % n_classes if task.several else int(said.argmax())
        name = task.classes[number] if said[number] else f"not {task.classes[number]}"
        (label,) = task.labels(task.members(true[row : row + 1])).to_pylist()
        found.append({"song_id": song_ids[row], "label": label, "said": name, "probability": -minus})
    return found
