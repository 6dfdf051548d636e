"""The reference encoder, in a fast form and in Keras's own layers. Both compute the same function."""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, layers, ops

from songbag_store.words import counted
from songbag_training.errors import ModelError
from songbag_training.models.layers import EMBEDDING_NAME, PACKAGE


def reference(n_bands: int, n_frames: int, n_channels: int = 1) -> keras.Model:
    """Two valid convolutions of 16 filters with pooling (2, 3) and (2, 2), then two dense layers of 32.

    With its head it has 21,075 parameters for windows of (13, 216) and three classes.

    Raises
    ------
    ModelError
        If the windows are smaller than 10 bands or 14 frames.
    """
    if n_bands < 10 or n_frames < 14:
        size = f"{counted(n_bands, 'band')} and {counted(n_frames, 'frame')}"
        raise ModelError(
            f"windows of {size} are too small for it; it needs 10 and 14",
            place="encoder 'reference'",
            remedy="Use the encoder 'compact', which takes windows of any size.",
        )
    windows = keras.Input((n_bands, n_frames, n_channels), name="image")
    # A pooling ignores bands and frames at the end that fill no patch. Cutting off those that reach no output, three
    # bands and four frames of (13, 216), saves the time of convolving them.
    unseen = _unseen(n_bands, 2, 2), _unseen(n_frames, 3, 2)
    x = layers.Cropping2D([(0, n) for n in unseen], name="seen")(windows)
    x = PooledConvolution(16, (3, 3), (2, 3), name="conv_1")(x)
    x = PooledConvolution(16, (3, 3), (2, 2), name="conv_2")(x)
    return _with_dense_layers(windows, x)


def plain_reference(n_bands: int, n_frames: int, n_channels: int = 1) -> keras.Model:
    """Return the network of `reference` in Keras's own layers, with the same weights and names.

    It documents `reference`, and tests and benchmarks compare the two: a training step takes 1.5 times as long.
    """
    windows = keras.Input((n_bands, n_frames, n_channels), name="image")
    x = layers.Conv2D(16, 3, activation="relu", name="conv_1")(windows)
    x = layers.MaxPooling2D((2, 3), name="pool_1")(x)
    x = layers.Conv2D(16, 3, activation="relu", name="conv_2")(x)
    x = layers.MaxPooling2D((2, 2), name="pool_2")(x)
    return _with_dense_layers(windows, x)


def _with_dense_layers(windows: KerasTensor, x: KerasTensor) -> keras.Model:
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(32, activation="relu", name="dense_1")(x)
    x = layers.Dense(32, activation="relu", name="dense_2")(x)
    return keras.Model(windows, x, name=EMBEDDING_NAME)


def _unseen(length: int, first_pool: int, second_pool: int) -> int:
    """Return how many values at the end of an axis reach no output of two convolutions of 3, each pooled."""
    n_outputs = ((length - 2) // first_pool - 2) // second_pool
    return length - ((n_outputs * second_pool + 2) * first_pool + 2)


@keras.saving.register_keras_serializable(package=PACKAGE)
class PooledConvolution(keras.layers.Layer):
    """`Conv2D` with a ReLU and then `MaxPooling2D`, without padding, but bias and ReLU come after the pooling.

    They keep the order of numbers, so the maximum of a patch is the same, to the last bit; gradients are equal except
    for the order of sums. After the pooling they touch less memory, which is what takes their time on a CPU.

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
        """Return the arguments of the constructor."""
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
