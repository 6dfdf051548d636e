"""The reference encoder, as songbag runs it and as Keras's own layers write it: one function, the first quicker."""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, layers, ops

from songbag_training.errors import ModelError
from songbag_training.models.layers import EMBEDDING_NAME, PACKAGE


def reference(n_bands: int, n_frames: int, n_channels: int = 1) -> keras.Model:
    """Two valid convolutions of 16 filters with pooling (2, 3) and (2, 2), then two dense layers of 32.

    For windows of (13, 216) and three classes it has, with its head, 21,075 parameters. A pooling leaves out the bands
    and frames at the end that fill no patch of it; those that reach no output are cut off at once instead of being
    convolved: of (13, 216) three bands and four frames.

    Raises
    ------
    ModelError
        If the windows are too small for it: it needs 10 bands and 14 frames.
    """
    if n_bands < 10 or n_frames < 14:
        raise ModelError(
            f"windows of {n_bands} bands and {n_frames} frames are too small for it; it needs 10 and 14",
            place="encoder 'reference'",
            remedy="Use the encoder 'compact', which takes windows of any size.",
        )
    windows = keras.Input((n_bands, n_frames, n_channels), name="image")
    unseen = _unseen(n_bands, 2, 2), _unseen(n_frames, 3, 2)
    x = layers.Cropping2D([(0, n) for n in unseen], name="seen")(windows)
    x = PooledConvolution(16, (3, 3), (2, 3), name="conv_1")(x)
    x = PooledConvolution(16, (3, 3), (2, 2), name="conv_2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(32, activation="relu", name="dense_1")(x)
    x = layers.Dense(32, activation="relu", name="dense_2")(x)
    return keras.Model(windows, x, name=EMBEDDING_NAME)


def plain_reference(n_bands: int, n_frames: int, n_channels: int = 1) -> keras.Model:
    """Return the network of `reference` in Keras's own layers, with the same weights by the same names.

    It is here to be read, and to be tested and timed against: a training step takes 1.5 times as long.
    """
    windows = keras.Input((n_bands, n_frames, n_channels), name="image")
    x = layers.Conv2D(16, 3, activation="relu", name="conv_1")(windows)
    x = layers.MaxPooling2D((2, 3), name="pool_1")(x)
    x = layers.Conv2D(16, 3, activation="relu", name="conv_2")(x)
    x = layers.MaxPooling2D((2, 2), name="pool_2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(32, activation="relu", name="dense_1")(x)
    x = layers.Dense(32, activation="relu", name="dense_2")(x)
    return keras.Model(windows, x, name=EMBEDDING_NAME)


def _unseen(length: int, first_pool: int, second_pool: int) -> int:
    """Return how much at the end of an axis reaches no output, after two convolutions of 3 that are each pooled."""
    n_outputs = ((length - 2) // first_pool - 2) // second_pool
    return length - ((n_outputs * second_pool + 2) * first_pool + 2)


@keras.saving.register_keras_serializable(package=PACKAGE)
class PooledConvolution(keras.layers.Layer):
    """What `Conv2D` with a ReLU and then `MaxPooling2D` compute, in less time: bias and ReLU come after the pooling.

    A bias and a ReLU never put one number above another that was higher, rounded or not: the highest of a patch is
    the same before and after them, to the last bit, and gradients are but for the order of sums. After the pooling
    they touch less memory, by the size of the patch, and that is what they cost on a CPU. Nothing is padded.

    Parameters
    ----------
    filters : int
    kernel_size, pool_size : tuple of two int
        Over bands and frames.
    """

    def __init__(self, filters: int, kernel_size: tuple[int, int], pool_size: tuple[int, int], **options: Any) -> None:
        super().__init__(**options)
        self.filters = filters
        self.kernel_size = tuple(kernel_size)
        self.pool_size = tuple(pool_size)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        own = {"filters": self.filters, "kernel_size": self.kernel_size, "pool_size": self.pool_size}
        return {**super().get_config(), **own}

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create kernel and bias, as `Conv2D` does."""
        shape = (*self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, images: KerasTensor) -> KerasTensor:
        """Turn (N, bands, frames, channels) into (N, fewer bands, fewer frames, filters)."""
        convolved = ops.conv(images, self.kernel, padding="valid")
        highest = ops.max_pool(convolved, self.pool_size, padding="valid")
        return ops.relu(highest + self.bias)
