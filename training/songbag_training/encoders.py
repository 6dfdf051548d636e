"""Encoders: networks that turn one window into an embedding vector.

An encoder is a function ``(n_bands, n_frames, n_channels) -> keras.Model`` from windows (bands, frames, channels) to
vectors; the head that makes logits of them is not its business. Layers are named, because weights are stored by name.
What a name stands for never changes: runs are rebuilt from it. A better network gets a new name.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers

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
    """Three convolutions along time, batch-normalised, then mean and maximum over time: 128 numbers.

    All coefficients of a frame enter a filter together: neighbouring cepstral coefficients have no likeness that a
    filter sliding over them could use, and one dimension less makes it several times faster. Any window size will do.
    """
    windows = keras.Input((n_bands, n_frames, n_channels), name="image")
    x = layers.Permute((2, 1, 3), name="frames_first")(windows)
    x = layers.Reshape((n_frames, n_bands * n_channels), name="frames")(x)
    for number in (1, 2, 3):
        x = layers.Conv1D(64, 5, padding="same", use_bias=False, name=f"conv_{number}")(x)
        # With Keras's 0.99, the averages of a small collection would still be the initial ones when training ends.
        x = layers.BatchNormalization(momentum=0.9, name=f"norm_{number}")(x)
        x = layers.Activation("relu", name=f"relu_{number}")(x)
        if number < 3:
            x = layers.MaxPooling1D(2, padding="same", name=f"pool_{number}")(x)
    mean = layers.GlobalAveragePooling1D(name="time_mean")(x)
    highest = layers.GlobalMaxPooling1D(name="time_max")(x)
    x = layers.Concatenate(name="embedding")([mean, highest])
    x = layers.Dropout(0.3, name="dropout")(x)
    return keras.Model(windows, x, name=EMBEDDING_NAME)


ENCODERS: dict[str, Encoder] = {"compact": compact, "reference": reference}
