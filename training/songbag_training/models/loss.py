"""The loss and the accuracy that a song model is trained with."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import KerasTensor, ops

from songbag_training.models.layers import PACKAGE
from songbag_training.songs.augmentation import as_shares
from songbag_training.songs.task import THRESHOLD


@keras.saving.register_keras_serializable(package=PACKAGE)
class SongLoss(keras.losses.Loss):
    """Cross-entropy of song logits: of a softmax, or the mean over the sigmoids.

    Parameters
    ----------
    softmax : bool
        See `songbag_training.songs.task.Task.softmax`.
    class_weights : array, optional
        As `Task.balanced_weights` returns them: a factor for the songs of each class; or, if a song may be of several,
        for each class a factor for the songs without it and one for the songs with it.
    label_smoothing : float
        Share of each target that is spread evenly: over all classes of a softmax (C. Szegedy et al., "Rethinking the
        Inception architecture for computer vision", CVPR 2016), over yes and no of a sigmoid.

    Notes
    -----
    Takes class numbers, shape (B,), or shares, shape (B, n_classes), as mixed bags have them; of two classes the share
    of the second, shape (B,) or (B, 1). A mixed song has the mean weight of its classes, by their shares.
    """

    def __init__(
        self, softmax: bool, *, class_weights: npt.ArrayLike | None = None, label_smoothing: float = 0.0, **options: Any
    ) -> None:
        super().__init__(**({"name": "song_loss"} | options))
        self.softmax = softmax
        self.class_weights = None if class_weights is None else np.asarray(class_weights, np.float32)
        self.label_smoothing = label_smoothing

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        own = {"softmax": self.softmax, "label_smoothing": self.label_smoothing}
        weights = None if self.class_weights is None else self.class_weights.tolist()
        return {**super().get_config(), **own, "class_weights": weights}

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        """Return the loss of each song, shape (B,)."""
        shares = as_shares(y_true, y_pred.shape[-1])
        if self.softmax:
            weights = 1.0 if self.class_weights is None else ops.sum(shares * self.class_weights, axis=-1)
            smooth = shares * (1 - self.label_smoothing) + self.label_smoothing / y_pred.shape[-1]
            return weights * ops.categorical_crossentropy(smooth, y_pred, from_logits=True)
        smooth = shares * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = ops.binary_crossentropy(smooth, y_pred, from_logits=True)
        if self.class_weights is not None:
            # One sigmoid has the weights of its two classes, several have such a pair each.
            without, having = np.atleast_2d(self.class_weights).T
            losses = losses * (shares * having + (1 - shares) * without)
        return ops.mean(losses, axis=-1)


@keras.saving.register_keras_serializable(package=PACKAGE)
class SongAccuracy(keras.metrics.Mean):
    """Share of right answers: one answer for each song, or, if a song may be of several classes, for each class too.

    Takes the same labels as `SongLoss`; the class of a mixed song is the one with the highest share.
    """

    def __init__(self, softmax: bool, **options: Any) -> None:
        super().__init__(**({"name": "accuracy"} | options))
        self.softmax = softmax

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "softmax": self.softmax}

    def update_state(self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: Any = None) -> Any:
        """Count one batch."""
        shares = as_shares(y_true, y_pred.shape[-1])
        if self.softmax:
            right = ops.argmax(shares, axis=-1) == ops.argmax(y_pred, axis=-1)
        else:
            right = (shares > THRESHOLD) == (y_pred > 0)
        return super().update_state(ops.cast(right, "float32"), sample_weight)
