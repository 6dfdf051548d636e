"""Tasks: from logits of songs to a loss, to probabilities and to the classes that are predicted.

A song is of exactly one class (single-label) or of any number of them (multi-label). Two classes of a single-label task
have one logit, that of the second class, and a sigmoid; more have one logit each and a softmax; those of a multi-label
task have one logit and one sigmoid each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from keras import KerasTensor, ops

from songbag_training.errors import ModelError
from songbag_training.models.layers import PACKAGE
from songbag_training.types import Floats, Targets, Task

THRESHOLD = 0.5
"""A song is predicted to be of those classes of a multi-label task that are more probable than this."""


def n_logits(n_classes: int, task: Task = "single-label") -> int:
    """Return the units of the head.

    Raises
    ------
    ModelError
        If there are fewer than two classes.
    """
    if n_classes < 2:
        raise ModelError(f"{n_classes} classes cannot be told apart; it takes two", place="model")
    return 1 if n_classes == 2 and task == "single-label" else int(n_classes)


@keras.saving.register_keras_serializable(package=PACKAGE)
class SongLoss(keras.losses.Loss):
    """Cross-entropy of song logits: of a softmax, or the mean over the sigmoids.

    Parameters
    ----------
    n_classes : int
    task : Task
    class_weights : array, optional
        What `balanced_weights` gives: a factor for the songs of each class; of a multi-label task, for each class a
        factor for the songs without it and one for those with it.
    label_smoothing : float
        Share e of each target that is spread evenly: over all classes of a softmax (C. Szegedy et al., "Rethinking the
        Inception architecture for computer vision", CVPR 2016), over yes and no of a sigmoid.

    Notes
    -----
    Takes class numbers, shape (B,), or shares, shape (B, n_classes), as mixed bags have them; of two classes the share
    of the second, shape (B,) or (B, 1). Shares of several classes weigh as the mean of these.
    """

    def __init__(
        self,
        n_classes: int,
        task: Task = "single-label",
        *,
        class_weights: npt.ArrayLike | None = None,
        label_smoothing: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**({"name": "song_loss"} | options))
        self.n_classes = n_classes
        self.task = task
        self.class_weights = None if class_weights is None else np.asarray(class_weights, np.float32)
        self.label_smoothing = label_smoothing

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        own = {"n_classes": self.n_classes, "task": self.task, "label_smoothing": self.label_smoothing}
        weights = None if self.class_weights is None else self.class_weights.tolist()
        return {**super().get_config(), **own, "class_weights": weights}

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        """Return the loss of each song, shape (B,)."""
        shares = _shares(y_true, y_pred, self.n_classes)
        if self.task == "single-label" and self.n_classes > 2:
            weights = 1.0 if self.class_weights is None else ops.sum(shares * self.class_weights, axis=-1)
            smooth = shares * (1 - self.label_smoothing) + self.label_smoothing / self.n_classes
            return weights * ops.categorical_crossentropy(smooth, y_pred, from_logits=True)
        smooth = shares * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = ops.binary_crossentropy(smooth, y_pred, from_logits=True)
        if self.class_weights is not None:
            # Of two classes the weights of no and yes, as of each class of a multi-label task.
            without, having = np.atleast_2d(self.class_weights).T
            losses = losses * (shares * having + (1 - shares) * without)
        return ops.mean(losses, axis=-1)


@keras.saving.register_keras_serializable(package=PACKAGE)
class SongAccuracy(keras.metrics.Mean):
    """Share of songs whose class is predicted; of a multi-label task, share of right answers over songs and classes.

    Takes the same labels as `SongLoss`; of shares, the highest is the class.
    """

    def __init__(self, n_classes: int, task: Task = "single-label", **options: Any) -> None:
        super().__init__(**({"name": "accuracy"} | options))
        self.n_classes = n_classes
        self.task = task

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {**super().get_config(), "n_classes": self.n_classes, "task": self.task}

    def update_state(self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: Any = None) -> Any:
        """Count one batch."""
        shares = _shares(y_true, y_pred, self.n_classes)
        if self.task == "single-label" and self.n_classes > 2:
            right = ops.argmax(shares, axis=-1) == ops.argmax(y_pred, axis=-1)
        else:
            right = (shares > THRESHOLD) == (y_pred > 0)
        return super().update_state(ops.cast(right, "float32"), sample_weight)


def _shares(y_true: KerasTensor, y_pred: KerasTensor, n_classes: int) -> KerasTensor:
    """Return labels as shares of each logit, of the shape of the logits, (B, L)."""
    if len(y_true.shape) == 2 and y_true.shape[-1] == y_pred.shape[-1]:
        return ops.cast(y_true, y_pred.dtype)
    numbers = ops.reshape(y_true, (-1,))
    if y_pred.shape[-1] == 1:
        return ops.cast(numbers, y_pred.dtype)[:, None]
    return ops.one_hot(ops.cast(numbers, "int32"), n_classes, dtype=y_pred.dtype)


def balanced_weights(targets: Targets, n_classes: int, task: Task = "single-label") -> npt.NDArray[np.float32]:
    """Return weights under which each class counts as much as any other, and all songs together as without them.

    Parameters
    ----------
    targets : int64, shape (n,), or float32, shape (n, n_classes)
        Labels of the training songs, see `songbag_training.songs.labels.encode_labels`.

    Returns
    -------
    weights : float32, shape (n_classes,) or (n_classes, 2)
        ``n / (n_classes * songs of the class)``, as scikit-learn's ``class_weight="balanced"``; of a multi-label task
        for each class ``n / (2 * songs without it)`` and ``n / (2 * songs with it)``. A class of no song counts as one
        of a single song.
    """
    n = len(targets)
    if task == "single-label":
        counts = np.bincount(targets, minlength=n_classes)
    else:
        having = targets.sum(axis=0)
        counts = np.stack([n - having, having], axis=1)
    return np.asarray(n / (counts.shape[-1] * np.maximum(counts, 1)), np.float32)


def probabilities(logits: npt.ArrayLike, task: Task = "single-label") -> Floats:
    """Turn logits, shape (N, L), into probabilities, shape (N, n_classes); rows of a single-label task sum to 1."""
    values = np.asarray(logits, np.float64)
    if task == "multi-label":
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)))
    if values.shape[1] == 1:
        # Softmax over (0, z) is the sigmoid of z.
        values = np.concatenate([np.zeros_like(values), values], axis=1)
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def predicted_labels(probabilities: Floats, classes: Sequence[str], task: Task) -> pa.Array:
    """Return what is predicted of each song: its most probable class, or the list of those above `THRESHOLD`."""
    if task == "single-label":
        return pa.array([classes[number] for number in probabilities.argmax(axis=1)], pa.string())
    chosen = [[name for name, is_one in zip(classes, row, strict=True) if is_one] for row in probabilities > THRESHOLD]
    return pa.array(chosen, pa.list_(pa.string()))
