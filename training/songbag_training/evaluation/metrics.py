"""Metrics of predictions, from probabilities and targets; scikit-learn computes them where it can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sklearn_metrics

from songbag_training.songs.task import Task
from songbag_training.types import Bools, Floats, Ints, Label, Metrics, Targets

_ONE_CLASS = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "average_precision", "log_loss", "ece")
_SEVERAL = ("accuracy", "subset_accuracy", "micro_f1", "macro_f1", "roc_auc", "average_precision", "log_loss", "ece")

CONFIDENCE_BINS = 15
_MISTAKES = 20


def metric_names(task: Task) -> tuple[str, ...]:
    """Return the names of the metrics of a task."""
    return _SEVERAL if task.several else _ONE_CLASS


def song_metrics(task: Task, true: Targets, probabilities: Floats) -> Metrics:
    """Return all metrics of some songs.

    Parameters
    ----------
    task : Task
    true : Targets
        The songs' labels.
    probabilities : float64, shape (n, n_classes)

    Returns
    -------
    metrics : dict
        The names of `metric_names`, and the number of songs as `n`. What is not defined is None: everything where there
        are no songs, ROC-AUC and average precision where no class both occurs and is missing.

        ``balanced_accuracy`` is the mean recall of the classes that occur; ``macro_f1`` the mean F1 of those that occur
        or were predicted. ``roc_auc`` and ``average_precision`` are the mean over classes of each against all others;
        of two classes, those of the second. ``ece`` is the expected calibration error, see `calibration_error`.
        ``subset_accuracy`` is the share of songs with every class right. Where a song may be of several classes,
        ``accuracy`` is the share of right answers to "is this song of this class?", and ``log_loss`` the mean over
        these questions.
    """
    n = len(true)
    if n == 0:
        return dict.fromkeys(metric_names(task)) | {"n": 0}
    own, said = task.members(true), task.predicted(probabilities)
    right = task.right(true, probabilities)
    _, recall, f1, _ = _of_classes(own, said)
    ranked = range(1, 2) if task.n_logits == 1 else range(len(task.classes))
    roc_auc, average_precision = ranking_metrics([own[:, i] for i in ranked], [probabilities[:, i] for i in ranked])
    metrics = {
        "accuracy": float(right.mean()),
        "subset_accuracy": float((own == said).all(axis=1).mean()),
        "balanced_accuracy": _mean(recall),
        "micro_f1": float(sklearn_metrics.f1_score(own, said, average="micro", zero_division=0.0)),
        "macro_f1": _mean(f1) or 0.0,
        "roc_auc": roc_auc,
        "average_precision": average_precision,
        "log_loss": float(task.losses(true, probabilities).mean()),
        "ece": calibration_error(right.ravel(), task.confidences(probabilities).ravel()),
    }
    return {name: metrics[name] for name in metric_names(task)} | {"n": n}


def class_metrics(task: Task, true: Targets, probabilities: Floats) -> dict[str, Metrics]:
    """Return precision, recall, F1 and number of songs of each class; what is not defined is None."""
    of_classes = _of_classes(task.members(true), task.predicted(probabilities))
    found = {}
    for name, *own, n in zip(task.classes, *(column.tolist() for column in of_classes), strict=True):
        precision, recall, f1 = (None if np.isnan(value) else value for value in own)
        found[name] = {"precision": precision, "recall": recall, "f1": f1, "n": n}
    return found


def _of_classes(own: Bools, said: Bools) -> tuple[Floats, Floats, Floats, Ints]:
    """Return precision, recall, F1 and number of songs of each class; what is not defined is NaN."""
    if not len(own):
        # scikit-learn refuses them.
        nothing = np.full(own.shape[1], np.nan)
        return nothing, nothing, nothing, np.zeros(own.shape[1], np.int64)
    found: tuple[Floats, Floats, Floats, Ints] = sklearn_metrics.precision_recall_fscore_support(
        own, said, average=None, zero_division=np.nan
    )
    return found


def _mean(values: Floats) -> float | None:
    """Return the mean of the values that are defined."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None


def confusion_matrix(task: Task, true: Targets, probabilities: Floats) -> Ints:
    """Count predictions, shape (n_classes, n_classes): row the true class, column the predicted one."""
    numbers = np.arange(len(task.classes))
    counts: Ints = sklearn_metrics.confusion_matrix(true, probabilities.argmax(axis=1), labels=numbers)
    return counts


def calibration_error(hits: npt.NDArray[Any], confidence: Floats, weights: Floats | None = None) -> float:
    """Return the expected calibration error: how far, in the mean, confidence is from the share of right answers.

    Answers are put into 15 bins of equal width by their confidence: ECE = sum over bins of n_bin / n *
    \\|share of hits - mean confidence\\| (C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On calibration of modern neural
    networks", ICML 2017, eq. 3).
    """
    weights = np.ones(len(hits)) if weights is None else weights
    bins = confidence_bins(confidence)
    gaps = np.bincount(bins, weights * (np.asarray(hits, np.float64) - confidence), CONFIDENCE_BINS)
    return float(np.abs(gaps).sum() / weights.sum())


def confidence_bins(confidence: Floats) -> Ints:
    """Return the bin of each confidence, from 0."""
    return np.minimum((confidence * CONFIDENCE_BINS).astype(np.int64), CONFIDENCE_BINS - 1)


def ranking_metrics(
    members: Sequence[Bools], scores: Sequence[Floats], weights: Sequence[Floats] | None = None
) -> tuple[float | None, float | None]:
    """Return the mean ROC-AUC and average precision of the classes for which they are defined.

    Parameters
    ----------
    members, scores, weights : sequences of arrays, one a class
        Which songs are of it, their scores, and how often each counts.
    """
    areas, precisions = [], []
    for position, (own, values) in enumerate(zip(members, scores, strict=True)):
        weight = None if weights is None else weights[position]
        there = own if weight is None else own[weight > 0]
        if there.any() and not there.all():
            areas.append(sklearn_metrics.roc_auc_score(own, values, sample_weight=weight))
            precisions.append(sklearn_metrics.average_precision_score(own, values, sample_weight=weight))
    if not areas:
        return None, None
    return float(np.mean(areas)), float(np.mean(precisions))


def confident_mistakes(
    task: Task,
    song_ids: Sequence[str],
    labels: Sequence[Label],
    probabilities: Floats,
    *,
    limit: int = _MISTAKES,
) -> list[dict[str, Any]]:
    """Return wrong answers, the surest first: song_id, label, said, probability.

    Where a model is wrong and sure of it, the label is as often wrong as the model. `said` is the predicted class;
    where a song may be of several it is ``rock`` or ``not rock``, and a song may come several times.
    """
    confidence = task.confidences(probabilities).ravel()
    wrong = np.flatnonzero(~task.right(task.encode(labels), probabilities).ravel())
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")[:limit]]
    said = task.predicted(probabilities)
    found = []
    for answer in surest.tolist():
        row, number = divmod(answer, len(task.classes)) if task.several else (answer, int(said[answer].argmax()))
        name = task.classes[number]
        found.append(
            {
                "song_id": song_ids[row],
                "label": list(labels[row]) if task.several else labels[row],
                "said": name if said[row, number] else f"not {name}",
                "probability": float(confidence[answer]),
            }
        )
    return found
