"""Layers of a song model besides its pooling: scaling, windows folded into the batch, batch normalisation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import KerasTensor, ops

from songbag_store.format.spec import INT16_STEP
from songbag_training.compat import fused_batch_norm

PACKAGE = "songbag"
EMBEDDING_NAME = "encoder"
"""Name of the network from a window to a vector; weights are stored by it."""


@keras.saving.register_keras_serializable(package=PACKAGE)
class FeatureScaling(keras.layers.Layer):
    """Stored windows to float32 of mean 0 and variance 1 per coefficient.

    Takes windows as stored, shape (..., C, T): int16 in steps of 1/16, or float32. Mean and standard deviation, shape
    (C,), in the features' own unit, are weights that are not trained; they begin as 0 and 1. All is computed in
    float32, also under a policy of mixed precision: of the 15 bits of a stored value float16 would keep 11.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"dtype": "float32"} | options))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the two weights."""
        shape = (input_shape[-2],)
        self.mean = self.add_weight(name="mean", shape=shape, initializer="zeros", trainable=False)
        self.std = self.add_weight(name="std", shape=shape, initializer="ones", trainable=False)

    def set_statistics(self, mean: npt.ArrayLike, std: npt.ArrayLike) -> None:
        """Set mean and standard deviation, each of shape (C,)."""
        self.mean.assign(np.asarray(mean, np.float32))
        self.std.assign(np.asarray(std, np.float32))

    def call(self, windows: KerasTensor) -> KerasTensor:
        """Return float32 windows of the same shape."""
        step = INT16_STEP if keras.backend.standardize_dtype(windows.dtype) == "int16" else 1.0
        values = ops.cast(windows, self.compute_dtype) * step
        return (values - self.mean[:, None]) / self.std[:, None]

    def compute_output_spec(self, windows: KerasTensor) -> KerasTensor:
        """Floats come out, whatever goes in."""
        return KerasTensor(windows.shape, dtype=self.compute_dtype)


@keras.saving.register_keras_serializable(package=PACKAGE)
class FoldWindows(keras.layers.Layer):
    """(B, K, C, T) to (B * K, C, T): the window network sees one batch, built once, whatever the bag size."""

    def call(self, windows: KerasTensor) -> KerasTensor:
        """Return the windows of all songs one after the other, of the type they have."""
        return ops.reshape(windows, (-1, *windows.shape[2:]))

    def compute_output_spec(self, windows: KerasTensor) -> KerasTensor:
        """Keep the type: int16 stays int16."""
        return KerasTensor((None, *windows.shape[2:]), dtype=windows.dtype)


@keras.saving.register_keras_serializable(package=PACKAGE)
class UnfoldWindows(keras.layers.Layer):
    """(B * K, E) back to (B, K, E), with K from the mask of shape (B, K)."""

    def call(self, values: KerasTensor, mask: KerasTensor) -> KerasTensor:
        """Return the values song by song."""
        return ops.reshape(values, (-1, ops.shape(mask)[1], values.shape[-1]))

    def compute_output_spec(self, values: KerasTensor, mask: KerasTensor) -> KerasTensor:
        """K may be unknown while the network is built."""
        return KerasTensor((mask.shape[0], mask.shape[1], values.shape[-1]), dtype=values.dtype)


@keras.saving.register_keras_serializable(package=PACKAGE)
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """`BatchNormalization` of images, (N, bands, frames, channels), by TensorFlow's one operation for it in training.

    Keras puts it together from a dozen that each go through memory, which was half of a training step of the encoder
    'compact'. Function, weights and options are the same, as are the numbers but for rounding.
    """

    def call(self, images: KerasTensor, training: bool | None = None) -> KerasTensor:
        """Normalise by the batch in training, by the moving averages otherwise."""
        if not (training and self.trainable):
            return super().call(images, training=False)
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        normal, mean, variance = fused_batch_norm(images, gamma, beta, self.epsilon)
        for average, of_batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + of_batch * (1.0 - self.momentum))
        return normal


def channels_last(values: Any, n_channels: int) -> Any:
    """(N, channels * bands, T), channel after channel as stored, to (N, bands, T, channels) as convolutions take it."""
    n_bands, n_frames = values.shape[1] // n_channels, values.shape[2]
    split = keras.layers.Reshape((n_channels, n_bands, n_frames), name="split_channels")(values)
    return keras.layers.Permute((2, 3, 1), name="channels_last")(split)
