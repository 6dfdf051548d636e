"""Metrics of predictions, from probabilities and true classes; scikit-learn computes them where it can.

True classes are numbers, shape (n,), where a song is of one class; ones and zeros, shape (n, n_classes), where it may
be of several (multi-label): then a class is predicted where its probability is above 1/2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sklearn_metrics

from songbag_training.types import Bools, Floats, Ints, Metrics

SINGLE_LABEL = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "average_precision", "log_loss", "ece")
MULTI_LABEL = ("accuracy", "subset_accuracy", "micro_f1", "macro_f1", "roc_auc", "average_precision", "log_loss", "ece")

_SMALLEST_PROBABILITY = 1e-15
CONFIDENCE_BINS = 15


def metric_names(true: npt.NDArray[Any]) -> tuple[str, ...]:
    """Return the names of the metrics that songs with such labels have."""
    return SINGLE_LABEL if true.ndim == 1 else MULTI_LABEL


def song_metrics(true: npt.NDArray[Any], probabilities: Floats) -> Metrics:
    """Return all metrics of some songs.

    Parameters
    ----------
    true : int64, shape (n,), or 0 and 1, shape (n, n_classes)
    probabilities : float64, shape (n, n_classes)

    Returns
    -------
    metrics : dict
        The names of `metric_names`, and the number of songs as `n`. What is not defined is None: everything where there
        are no songs, ROC-AUC and average precision where no class both occurs and is missing.

        ``balanced_accuracy`` is the mean recall of the classes that occur; ``macro_f1`` the mean F1 of those that occur
        or were predicted. ``roc_auc`` and ``average_precision`` are the mean over classes of each against all others;
        of two classes, those of the second. ``ece`` is the expected calibration error, see `calibration_error`.
        ``subset_accuracy`` is the share of songs with every class right, ``accuracy`` of a multi-label task the share
        of right answers to "is this song of this class?", and ``log_loss`` the mean over these questions.
    """
    n = len(true)
    if n == 0:
        return dict.fromkeys(metric_names(true)) | {"n": 0}
    predicted = predict_classes(probabilities, multi_label=true.ndim == 2)
    own = _several(true > 0, predicted) if true.ndim == 2 else _single(true, predicted)
    hits, confidence = confidences(true, probabilities)
    roc_auc, average_precision = ranking_metrics(*_ranked(true, probabilities))
    metrics = own | {
        "roc_auc": roc_auc,
        "average_precision": average_precision,
        "log_loss": float(losses(true, probabilities).mean()),
        "ece": calibration_error(hits, confidence),
    }
    return {name: metrics[name] for name in metric_names(true)} | {"n": n}


def predict_classes(probabilities: Floats, *, multi_label: bool) -> npt.NDArray[Any]:
    """Return the class of each song, shape (n,), or, multi-label, whether it is of each class, shape (n, n_classes)."""
    return probabilities > 0.5 if multi_label else probabilities.argmax(axis=1)


def _single(true: Ints, predicted: Ints) -> Metrics:
    present = np.unique(true)
    return {
        "accuracy": float(sklearn_metrics.accuracy_score(true, predicted)),
        # balanced_accuracy_score is the same, but warns of predicted classes that do not occur.
        "balanced_accuracy": float(
            sklearn_metrics.recall_score(true, predicted, labels=present, average="macro", zero_division=0.0)
        ),
        "macro_f1": float(sklearn_metrics.f1_score(true, predicted, average="macro", zero_division=0.0)),
    }


def _several(true: Bools, predicted: Bools) -> Metrics:
    either = np.flatnonzero((true | predicted).any(axis=0))
    macro = 0.0
    if len(either):
        macro = float(
            sklearn_metrics.f1_score(true[:, either], predicted[:, either], average="macro", zero_division=0.0)
        )
    return {
        "accuracy": float((true == predicted).mean()),
        "subset_accuracy": float((true == predicted).all(axis=1).mean()),
        "micro_f1": float(sklearn_metrics.f1_score(true, predicted, average="micro", zero_division=0.0)),
        "macro_f1": macro,
    }


def losses(true: npt.NDArray[Any], probabilities: Floats) -> Floats:
    """Return the cross-entropy of each song: of its class, or the mean over all questions, multi-label."""
    if true.ndim == 1:
        of_truth = probabilities[np.arange(len(true)), true]
        of_songs: Floats = -np.log(np.clip(of_truth, _SMALLEST_PROBABILITY, 1.0))
        return of_songs
    of_answers = np.where(true > 0, probabilities, 1.0 - probabilities)
    of_questions: Floats = -np.log(np.clip(of_answers, _SMALLEST_PROBABILITY, 1.0))
    means: Floats = of_questions.mean(axis=1)
    return means


def confidences(true: npt.NDArray[Any], probabilities: Floats) -> tuple[Bools, Floats]:
    """Return which answers are right, and how probable each was said to be; multi-label, an answer a class."""
    if true.ndim == 1:
        predicted = probabilities.argmax(axis=1)
        return predicted == true, probabilities.max(axis=1)
    return ((probabilities > 0.5) == (true > 0)).ravel(), np.maximum(probabilities, 1.0 - probabilities).ravel()


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


def _ranked(true: npt.NDArray[Any], probabilities: Floats) -> tuple[list[Bools], list[Floats], None]:
    """Return, for each class that is ranked, which songs are of it and its probabilities."""
    if true.ndim == 2:
        return list((true > 0).T), list(probabilities.T), None
    ranked = range(1, 2) if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    return [true == number for number in ranked], [probabilities[:, number] for number in ranked], None


def ranking_metrics(
    members: Sequence[Bools], scores: Sequence[Floats], weights: Sequence[Floats] | None
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


def confusion_matrix(true: Ints, predicted: Ints, n_classes: int) -> Ints:
    """Count predictions, shape (n_classes, n_classes): row the true class, column the predicted one."""
    counts = np.bincount(true * n_classes + predicted, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes).astype(np.int64)


def class_metrics(true: npt.NDArray[Any], probabilities: Floats, classes: Sequence[str]) -> dict[str, Metrics]:
    """Return precision, recall, F1 and number of songs of each class; what is not defined is None."""
    predicted = predict_classes(probabilities, multi_label=true.ndim == 2)
    of_classes: dict[str, Metrics] = {}
    for number, name in enumerate(classes):
        own, said = (
            (true[:, number] > 0, predicted[:, number]) if true.ndim == 2 else (true == number, predicted == number)
        )
        hits, n_own, n_said = int((own & said).sum()), int(own.sum()), int(said.sum())
        of_classes[name] = {
            "precision": hits / n_said if n_said else None,
            "recall": hits / n_own if n_own else None,
            "f1": 2 * hits / (n_own + n_said) if n_own + n_said else None,
            "n": n_own,
        }
    return of_classes
