"""Layers of a song model: scaling, windows folded into the batch, batch normalisation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import KerasTensor, ops

from songbag_store.format.spec import INT16_STEP
from songbag_training.compat import fused_batch_norm
from songbag_training.songs.cosines import dct

PACKAGE = "songbag"
SPECTRAL_BANDS = 32
"""Bands of a spectrum that is made of MFCC: 13 coefficients fill some 26, and halves of 32 are whole numbers."""
EMBEDDING_NAME = "encoder"
"""Name of the network from a window to a vector. Weights are stored under it."""


class OfStored(keras.layers.Layer):
    """A layer that takes windows as stored: int16 in steps, or float32.

    Parameters
    ----------
    step : float
        Unit of windows that are stored as int16.
    """

    def __init__(self, step: float = INT16_STEP, **options: Any) -> None:
        # Also with mixed precision: float16 would keep 11 of the 15 bits of a stored value.
        super().__init__(**({"dtype": "float32"} | options))
        self.step = step

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer."""
        options: dict[str, Any] = super().get_config()
        return options | {"step": self.step}

    def decoded(self, windows: KerasTensor) -> KerasTensor:
        """Return windows in the unit of the features."""
        step = self.step if keras.backend.standardize_dtype(windows.dtype) == "int16" else 1.0
        return ops.cast(windows, self.compute_dtype) * step


@keras.saving.register_keras_serializable(package=PACKAGE)
class FeatureScaling(OfStored):
    """Scales stored windows to float32 of mean 0 and variance 1 for each coefficient.

    Takes windows as stored, shape (..., C, T): int16 in steps, or float32. Mean and standard deviation, shape (C,), in
    the features' own unit, are weights that are not trained and begin as 0 and 1.
    """

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
        return self.scaled(self.decoded(windows), self.mean, self.std)

    def scaled(self, values: Any, mean: Any, std: Any) -> Any:
        """Scale windows in the features' own unit, by mean and deviation of shape (C,)."""
        return (values - mean[:, None]) / std[:, None]

    def compute_output_spec(self, windows: KerasTensor) -> KerasTensor:
        """Return the shape of the input, as floats."""
        return KerasTensor(windows.shape, dtype=self.compute_dtype)


@keras.saving.register_keras_serializable(package=PACKAGE)
class SpectralScaling(FeatureScaling):
    """Scales stored MFCC, turned back into the smooth log-mel spectrum that they describe.

    Takes windows as `FeatureScaling` does, of shape (..., channels * C, T), and gives (..., channels * bands, T). The
    spectrum is the inverse DCT of the coefficients at `bands` places. A band's deviation is that of independent
    coefficients: the index has no more. Units cancel out, so the number of mel bands plays no part.
    """

    def __init__(self, step: float = INT16_STEP, n_channels: int = 1, **options: Any) -> None:
        super().__init__(step, **options)
        self.n_channels = n_channels

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer."""
        return super().get_config() | {"n_channels": self.n_channels}

    def scaled(self, values: Any, mean: Any, std: Any) -> Any:
        """Return the spectrum of windows, with mean 0 and variance about 1 in each band."""
        waves = self._waves(values.shape[-2])
        # With plain arrays the deviation is one, too: a constant of the graph.
        deviation = (waves**2 @ std[:, None] ** 2) ** 0.5
        return ops.matmul(waves, values - mean[:, None]) / deviation

    def compute_output_spec(self, windows: KerasTensor) -> KerasTensor:
        """Return the shape of the spectrum."""
        *songs, n_coefficients, n_frames = windows.shape
        return KerasTensor((*songs, len(self._waves(n_coefficients)), n_frames), dtype=self.compute_dtype)

    def _waves(self, n_coefficients: int) -> npt.NDArray[np.float32]:
        """Return the inverse DCT of all channels, which do not mix."""
        each = inverse_cosines(n_coefficients // self.n_channels)
        return np.kron(np.eye(self.n_channels, dtype=np.float32), each)


def inverse_cosines(n_coefficients: int) -> npt.NDArray[np.float32]:
    """Return the inverse DCT at 32 places, or one a coefficient if there are more, float32, shape (bands, C)."""
    return dct(n_coefficients, max(SPECTRAL_BANDS, n_coefficients)).T


@keras.saving.register_keras_serializable(package=PACKAGE)
class FoldWindows(keras.layers.Layer):
    """Reshapes (B, K, C, T) to (B * K, C, T), so that one window network works for every bag size."""

    def call(self, windows: KerasTensor) -> KerasTensor:
        """Return the windows of all songs one after the other."""
        return ops.reshape(windows, (-1, *windows.shape[2:]))

    def compute_output_spec(self, windows: KerasTensor) -> KerasTensor:
        """Keep the type, which may be int16."""
        return KerasTensor((None, *windows.shape[2:]), dtype=windows.dtype)


@keras.saving.register_keras_serializable(package=PACKAGE)
class UnfoldWindows(keras.layers.Layer):
    """Reshapes (B * K, E) back to (B, K, E), with K from the mask of shape (B, K)."""

    def call(self, values: KerasTensor, mask: KerasTensor) -> KerasTensor:
        """Return the values of each song."""
        return ops.reshape(values, (-1, ops.shape(mask)[1], values.shape[-1]))

    def compute_output_spec(self, values: KerasTensor, mask: KerasTensor) -> KerasTensor:
        """Take K from the mask; it may be unknown while the network is built."""
        return KerasTensor((mask.shape[0], mask.shape[1], values.shape[-1]), dtype=values.dtype)


@keras.saving.register_keras_serializable(package=PACKAGE)
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """`BatchNormalization` of images, (N, bands, frames, channels), with TensorFlow's fused operation in training.

    Weights, options and results are those of Keras, except for rounding. Keras uses a dozen operations that each go
    through memory: half of a training step of the encoder 'compact' (docs/decisions/0042).
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
    """Turn stored windows, (N, channels * bands, T), into images for convolutions, (N, bands, T, channels)."""
    n_bands, n_frames = values.shape[1] // n_channels, values.shape[2]
    split = keras.layers.Reshape((n_channels, n_bands, n_frames), name="split_channels")(values)
    return keras.layers.Permute((2, 3, 1), name="channels_last")(split)
