"""Layers of a song model: normalisation, windows folded into the batch, and poolings.

A pooling is a layer that is called with what the window network says of each window and with the mask, and says what
the song's logits are and how much each window counted:

    (embeddings (B, K, E), window logits (B, K, L), mask (B, K))  ->  (song logits (B, L), weights (B, K))

The weights are at least 0, sum to 1 over the real windows and are 0 on masked ones. Poolings of logits (mean, max, lse,
noisy-or, autopool) and attention fit it alike: attention pooling followed by a linear head is the mean of the window
logits weighted by the attention, because the head is affine and the weights sum to 1 (M. Ilse, J. Tomczak, M. Welling,
"Attention-based deep multiple instance learning", ICML 2018, eq. 8, with the classifier after the sum). So the head
always stands before the pooling, and every window has a prediction of its own.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import KerasTensor, ops

from songbag_store.spec import INT16_STEP

PACKAGE = "songbag"


@keras.saving.register_keras_serializable(package=PACKAGE)
class FeatureScaling(keras.layers.Layer):
    """Stored windows to float32 of mean 0 and variance 1 per coefficient.

    Takes windows as stored, shape (..., C, T): int16 in steps of 1/16, or float32. Mean and standard deviation, shape
    (C,), in the features' own unit, are weights that are not trained; they begin as 0 and 1.
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
class MeanPooling(keras.layers.Layer):
    """The song's logits are the mean of those of its real windows; each weighs 1 / N.

    A bag without a real window gives logits and weights of 0, and finite gradients.
    """

    def call(self, embeddings: KerasTensor, logits: KerasTensor, mask: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
        """Pool one batch.

        Parameters
        ----------
        embeddings : shape (B, K, E)
            Not used by this pooling.
        logits : shape (B, K, L)
        mask : shape (B, K)
            1 for a real window, 0 for padding.

        Returns
        -------
        song_logits : shape (B, L)
        weights : shape (B, K)
        """
        real = ops.cast(mask, logits.dtype)
        weights = real / ops.maximum(ops.sum(real, axis=1, keepdims=True), 1.0)
        # Not a product alone: 0 * NaN is NaN, and what stands in a masked slot must not matter.
        kept = ops.where(real[..., None] > 0, logits, 0.0)
        return ops.sum(kept * weights[..., None], axis=1), weights

    def compute_output_spec(
        self, embeddings: KerasTensor, logits: KerasTensor, mask: KerasTensor
    ) -> tuple[KerasTensor, KerasTensor]:
        """Song logits and weights."""
        batch, _, n_logits = logits.shape
        return KerasTensor((batch, n_logits), dtype=logits.dtype), KerasTensor(mask.shape, dtype=logits.dtype)


POOLINGS: dict[str, type[keras.layers.Layer]] = {"mean": MeanPooling}


def channels_last(values: Any, n_channels: int) -> Any:
    """(N, channels * bands, T), channel after channel as stored, to (N, bands, T, channels) as convolutions take it."""
    n_bands, n_frames = values.shape[1] // n_channels, values.shape[2]
    split = keras.layers.Reshape((n_channels, n_bands, n_frames), name="split_channels")(values)
    return keras.layers.Permute((2, 3, 1), name="channels_last")(split)
