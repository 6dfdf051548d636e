"""Encoders: networks that turn one window into an embedding vector.

An encoder is a function ``(n_bands, n_frames, n_channels) -> keras.Model`` from windows (bands, frames, channels) to
vectors; the head that makes logits of them is not its business. Layers are named, because weights are stored by name.
What a name stands for never changes: runs are rebuilt from it. A better network gets a new name.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import KerasTensor, layers

from songbag_training.models.layers import EMBEDDING_NAME, FusedBatchNormalization
from songbag_training.models.reference import reference

Encoder = Callable[[int, int, int], keras.Model]


def compact(n_bands: int, n_frames: int, n_channels: int = 1) -> keras.Model:
    """Four convolutions of 16, 32, 64 and 128 filters, batch-normalised, then mean and maximum over time.

    The mean over a window is taken out first: how loud a recording is says little about what it is of. The first
    convolution, of 5 x 5, sees every second frame, and of 32 bands or more every second one; between the others the
    highest of each 2 x 2 is kept, so that a filter of the last sees most of the bands and about a second. Bands stay
    apart to the end, for a low sound is not a high one; of time there are the mean and the maximum, so that a short
    sound counts although the rest of its window is silent. Windows of any size will do; of (64, 216), 1,024 numbers.
    """
    windows = keras.Input((n_bands, n_frames, n_channels), name="image")
    level = layers.GlobalAveragePooling2D(keepdims=True, name="level")(windows)
    x = layers.Subtract(name="without_level")([windows, level])
    x = _convolution(x, 1, 16, 5, strides=(2 if n_bands >= 32 else 1, 2))
    for number, filters in ((2, 32), (3, 64), (4, 128)):
        size = tuple(2 if length >= 4 else 1 for length in x.shape[1:3])
        x = layers.MaxPooling2D(size, padding="same", name=f"pool_{number - 1}")(x)
        x = _convolution(x, number, filters, 3)
    bands, frames, filters = x.shape[1:]
    x = layers.Permute((2, 1, 3), name="frames_first")(x)
    x = layers.Reshape((frames, bands * filters), name="frames")(x)
    mean = layers.GlobalAveragePooling1D(name="time_mean")(x)
    highest = layers.GlobalMaxPooling1D(name="time_max")(x)
    x = layers.Concatenate(name="embedding")([mean, highest])
    x = layers.Dropout(0.3, name="dropout")(x)
    return keras.Model(windows, x, name=EMBEDDING_NAME)


def _convolution(
    x: KerasTensor, number: int, filters: int, size: int, strides: tuple[int, int] = (1, 1)
) -> KerasTensor:
    name = f"conv_{number}"
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False, name=name)(x)
    # With Keras's 0.99, the averages of a small collection would still be the initial ones when training ends.
    x = FusedBatchNormalization(momentum=0.9, name=f"norm_{number}")(x)
    return layers.Activation("relu", name=f"relu_{number}")(x)


ENCODERS: dict[str, Encoder] = {"compact": compact, "reference": reference}
