"""The network that learns without labels: which of the songs of a batch are two windows of?

A. Saeed, D. Grangier and N. Zeghidour, "Contrastive learning of general-purpose audio representations" (COLA), ICASSP
2021: the similarity of two windows is bilinear, and the loss is a cross-entropy over the songs of the batch.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, ops

from songbag_store import FeatureSpec
from songbag_training.models.layers import PACKAGE, FoldWindows
from songbag_training.models.model import window_network
from songbag_training.types import FloatArray

N_WINDOWS = 2
"""Windows of a song in a batch."""

_NEVER = -1e9


@keras.saving.register_keras_serializable(package=PACKAGE)
class Similarity(keras.layers.Layer):
    """How similar the first window of each song is to the second window of every song.

    Takes projections of the windows of B songs, shape (2 * B, P), and returns logits, shape (B, B). The projections are
    normalised and go through tanh; the similarity is bilinear in them.
    """

    def __init__(self, **options: Any) -> None:
        # Also with mixed precision: sums over P numbers are too coarse in float16.
        super().__init__(**({"dtype": "float32"} | options))
        self.norm = keras.layers.LayerNormalization(dtype="float32", name="norm")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights."""
        size = input_shape[-1]
        self.norm.build(input_shape)
        self.kernel = self.add_weight(name="kernel", shape=(size, size), initializer="glorot_uniform")

    def call(self, projections: KerasTensor) -> KerasTensor:
        """Return the logits of each first window."""
        values = ops.tanh(self.norm(projections))
        pairs = ops.reshape(values, (-1, N_WINDOWS, values.shape[-1]))
        first, second = pairs[:, 0], pairs[:, 1]
        return ops.matmul(ops.matmul(first, self.kernel), ops.transpose(second))

    def compute_output_spec(self, projections: KerasTensor) -> KerasTensor:
        """Return the shape of the logits: a row and a column a song."""
        return KerasTensor((None, None), dtype="float32")


def contrast_model(
    spec: FeatureSpec, *, encoder: str, size: int, scaling: tuple[FloatArray, FloatArray] | None = None
) -> keras.Model:
    """Return the network from two windows of each song to logits (B, B): which second window belongs to a first one.

    Parameters
    ----------
    spec : FeatureSpec
        Decides shape and type of the windows.
    encoder : str
        As for `songbag_training.models.model.song_model`.
    size : int
        Numbers of a projection, which is compared in the place of the embedding.
    scaling : tuple of two arrays of shape (C,), optional
        Mean and standard deviation, see `songbag_training.songs.scaling`.

    Returns
    -------
    model : keras.Model
        From ``{"windows": (B, 2, C, T) as stored, "mask": (B, 2)}``; the mask is not looked at, because the second
        window of a song with one window is that window again, changed in another way.
    """
    network = window_network(spec, size, encoder)
    if scaling is not None:
        network.get_layer("scaling").set_statistics(*scaling)
    windows = keras.Input((N_WINDOWS, *spec.window_shape), dtype=spec.encoding, name="windows")
    mask = keras.Input((N_WINDOWS,), name="mask")
    _, projections = network(FoldWindows(name="fold")(windows))
    logits = Similarity(name="similarity")(projections)
    return keras.Model({"windows": windows, "mask": mask}, logits, name="contrast_model")


@keras.saving.register_keras_serializable(package=PACKAGE)
class ContrastLoss(keras.losses.Loss):
    """Cross-entropy of the songs of a batch, shape (B,). Targets are numbers of recordings, shape (B,).

    Songs with the same number are copies of each other: they are not told apart.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"name": "contrast_loss"} | options))

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        """Return the loss of each song."""
        own = own_song(y_pred)
        return ops.categorical_crossentropy(own, _without_copies(y_true, y_pred, own), from_logits=True)


@keras.saving.register_keras_serializable(package=PACKAGE)
class ContrastAccuracy(keras.metrics.Mean):
    """Share of the songs of a batch whose own second window is the most similar one; it takes what the loss takes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"name": "accuracy"} | options))

    def update_state(self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: Any = None) -> Any:
        """Count one batch."""
        return super().update_state(told_apart(y_true, y_pred), sample_weight)


def told_apart(recordings: KerasTensor, logits: KerasTensor) -> KerasTensor:
    """Return 1 for each song whose own second window is the most similar one, shape (B,)."""
    left = _without_copies(recordings, logits, own_song(logits))
    songs = ops.arange(ops.shape(left)[0], dtype="int32")
    return ops.cast(ops.cast(ops.argmax(left, axis=-1), "int32") == songs, "float32")


def own_song(logits: KerasTensor) -> KerasTensor:
    """Return 1 where row and column are of the same song, shape (B, B)."""
    return ops.eye(ops.shape(logits)[0], dtype="float32")


def _without_copies(recordings: KerasTensor, logits: KerasTensor, own: KerasTensor) -> KerasTensor:
    flat = ops.reshape(recordings, (-1,))
    is_copy = ops.logical_and(flat[:, None] == flat[None, :], own < 1)
    return ops.where(is_copy, _NEVER, logits)
