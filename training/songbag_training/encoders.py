"""Encoders: networks that turn one window into an embedding vector.

An encoder is a function ``(n_bands, n_frames, n_channels) -> keras.Model`` from windows (bands, frames, channels) to
vectors; the head that makes logits of them is not its business. Layers are named, because weights are stored by name.
What a name stands for never changes: runs are rebuilt from it. A better network gets a new name.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import KerasTensor, layers

from songbag_training.errors import ModelError

Encoder = Callable[[int, int, int], keras.Model]

EMBEDDING_NAME = "encoder"


def reference(n_bands: int, n_frames: int, n_channels: int = 1) -> keras.Model:
    """Two valid convolutions of 16 filters with pooling (2, 3) and (2, 2), then two dense layers of 32.

    For windows of (13, 216) and three classes it has, with its head, 21,075 parameters.

    Raises
    ------
    ModelError
        If the windows are too small for it: it needs 10 bands and 14 frames.
    """
    if n_bands < 10 or n_frames < 14:
        raise ModelError(
            f"windows of {n_bands} bands and {n_frames} frames are too small for it; it needs 10 and 14",
            where="encoder 'reference'",
            remedy="Use the encoder 'compact', which takes windows of any size.",
        )
    windows = keras.Input((n_bands, n_frames, n_channels), name="image")
    x = layers.Conv2D(16, 3, activation="relu", name="conv_1")(windows)
    x = layers.MaxPooling2D((2, 3), name="pool_1")(x)
    x = layers.Conv2D(16, 3, activation="relu", name="conv_2")(x)
    x = layers.MaxPooling2D((2, 2), name="pool_2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(32, activation="relu", name="dense_1")(x)
    x = layers.Dense(32, activation="relu", name="dense_2")(x)
    return keras.Model(windows, x, name=EMBEDDING_NAME)


def compact(n_bands: int, n_frames: int, n_channels: int = 1) -> keras.Model:
    """Four convolutions of 16, 32, 64 and 128 filters, batch-normalised, then mean and maximum: 256 numbers.

    The first, of 5 x 5, sees every second frame, and of 32 bands or more every second one; between the others the
    highest of each 2 x 2 is kept, so that a filter of the last sees most of the bands and about a second. Mean and
    maximum are over all that is left of bands and frames: a short sound counts although the rest of its window is
    silent. Windows of any size will do.
    """
    windows = keras.Input((n_bands, n_frames, n_channels), name="image")
    x = _convolution(windows, 1, 16, 5, strides=(2 if n_bands >= 32 else 1, 2))
    for number, filters in ((2, 32), (3, 64), (4, 128)):
        size = tuple(2 if length >= 4 else 1 for length in x.shape[1:3])
        x = layers.MaxPooling2D(size, padding="same", name=f"pool_{number - 1}")(x)
        x = _convolution(x, number, filters, 3)
    mean = layers.GlobalAveragePooling2D(name="mean")(x)
    highest = layers.GlobalMaxPooling2D(name="max")(x)
    x = layers.Concatenate(name="embedding")([mean, highest])
    x = layers.Dropout(0.3, name="dropout")(x)
    return keras.Model(windows, x, name=EMBEDDING_NAME)


def _convolution(
    x: KerasTensor, number: int, filters: int, size: int, strides: tuple[int, int] = (1, 1)
) -> KerasTensor:
    name = f"conv_{number}"
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False, name=name)(x)
    # With Keras's 0.99, the averages of a small collection would still be the initial ones when training ends.
    x = layers.BatchNormalization(momentum=0.9, name=f"norm_{number}")(x)
    return layers.Activation("relu", name=f"relu_{number}")(x)


ENCODERS: dict[str, Encoder] = {"compact": compact, "reference": reference}
