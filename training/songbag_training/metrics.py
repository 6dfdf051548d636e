"""Metrics of song and window predictions, from probabilities and true classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_SMALLEST_PROBABILITY = 1e-15


def confusion_matrix(true: Ints, predicted: Ints, n_classes: int) -> Ints:
    """Count predictions, shape (n_classes, n_classes): row the true class, column the predicted one."""
    counts = np.bincount(true * n_classes + predicted, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes).astype(np.int64)


def song_metrics(true: Ints, probabilities: Floats) -> dict[str, float | int | None]:
    """Return accuracy, balanced accuracy, macro F1, log loss and number of songs.

    Parameters
    ----------
    true : int64, shape (n,)
        Class of each song.
    probabilities : float64, shape (n, n_classes)

    Returns
    -------
    metrics : dict
        Balanced accuracy is the mean recall over the classes that occur; macro F1 the mean over the classes that occur
        or were predicted. All but `n` are None where there are no songs.

    Notes
    -----
    Equal to scikit-learn's ``balanced_accuracy_score``, ``f1_score(average="macro")`` and ``log_loss``, which warn or
    fail where a class is missing.
    """
    n = len(true)
    if n == 0:
        return {"accuracy": None, "balanced_accuracy": None, "macro_f1": None, "log_loss": None, "n": 0}
    matrix = confusion_matrix(true, probabilities.argmax(axis=1), probabilities.shape[1])
    hits, actual, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    occurs = actual > 0
    either = occurs | (predicted > 0)
    of_truth = np.clip(probabilities[np.arange(n), true], _SMALLEST_PROBABILITY, 1.0)
    return {
        "accuracy": float(hits.sum() / n),
        "balanced_accuracy": float((hits[occurs] / actual[occurs]).mean()),
        "macro_f1": float((2 * hits[either] / (actual + predicted)[either]).mean()),
        "log_loss": float(-np.log(of_truth).mean()),
        "n": n,
    }


def format_confusion(matrix: Ints, classes: Sequence[str]) -> str:
    """Return a confusion matrix as text: rows are true classes, columns predicted ones, numbered as the rows are."""
    width = max(len(name) for name in classes)
    cell = max(4, len(str(int(matrix.max(initial=0)))) + 1, len(str(len(classes))) + 1)
    numbers = "".join(f"{number:>{cell}}" for number in range(1, len(classes) + 1))
    lines = [f"{'true class':<{width + 4}}{numbers}   <- predicted"]
    for number, (name, row) in enumerate(zip(classes, matrix.tolist(), strict=True), 1):
        lines.append(f"{number:>3} {name:<{width}}" + "".join(f"{count or '.':>{cell}}" for count in row))
    return "\n".join(lines)


def format_metrics(metrics: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> str:
    """Return the metrics of all parts as a table: a line a part."""
    names = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss")
    lines = [
        f"{'part':<12}{'songs':>7}" + "".join(f"{name:>19}" for name in names) + f"{'windows':>10}{'accuracy':>10}"
    ]
    for part, of in metrics.items():
        song = "".join(f"{_number(of['song'][name]):>19}" for name in names)
        lines.append(
            f"{part:<12}{of['song']['n']:>7}{song}{of['window']['n']:>10}{_number(of['window']['accuracy']):>10}"
        )
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
