"""Encoders: functions ``(n_bands, n_frames, n_channels) -> keras.Model``, from one window to an embedding vector."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import KerasTensor, layers

from songbag_training.models.layers import EMBEDDING_NAME, FusedBatchNormalization
from songbag_training.models.reference import reference

Encoder = Callable[[int, int, int], keras.Model]


def compact(n_bands: int, n_frames: int, n_channels: int = 1) -> keras.Model:
    """Four convolutions of 16, 32, 64 and 128 filters, batch-normalised, then mean and maximum over time.

    The first convolution, 5 x 5, has a stride of 2 over frames, and over bands if there are 32 or more; max pooling of
    2 x 2 stands between the others, so a filter of the last one sees most bands and about a second. It takes windows of
    any size and makes 1,024 numbers of (64, 216).
    """
    windows = keras.Input((n_bands, n_frames, n_channels), name="image")
    return keras.Model(windows, _compact(windows), name=EMBEDDING_NAME)


def spectral(n_bands: int, n_frames: int, n_channels: int = 1) -> keras.Model:
    """`compact` on the smooth spectrum of MFCC, see `songbag_training.models.layers.SpectralScaling`.

    Convolutions over coefficients find little, because neighbours among them have nothing in common.
    """
    spectra = keras.Input((n_bands, n_frames, n_channels), name="image")
    # The deviation of a band depends on how coefficients go together, which is learned here.
    x = layers.Permute((2, 1, 3), name="bands_last")(spectra)
    x = layers.Reshape((n_frames, 1, n_bands * n_channels), name="band_by_band")(x)
    x = FusedBatchNormalization(momentum=0.9, name="norm_0")(x)
    x = layers.Reshape((n_frames, n_bands, n_channels), name="bands")(x)
    x = layers.Permute((2, 1, 3), name="spectrum")(x)
    return keras.Model(spectra, _compact(x), name=EMBEDDING_NAME)


def _compact(windows: KerasTensor) -> KerasTensor:
    n_bands = windows.shape[1]
    # The level of a recording says little about its content.
    level = layers.GlobalAveragePooling2D(keepdims=True, name="level")(windows)
    x = layers.Subtract(name="without_level")([windows, level])
    x = _convolution(x, 1, 16, 5, strides=(2 if n_bands >= 32 else 1, 2))
    for number, filters in ((2, 32), (3, 64), (4, 128)):
        size = tuple(2 if length >= 4 else 1 for length in x.shape[1:3])
        x = layers.MaxPooling2D(size, padding="same", name=f"pool_{number - 1}")(x)
        x = _convolution(x, number, filters, 3)
    # Bands stay separate, because a low sound differs from a high one.
    bands, frames, filters = x.shape[1:]
    x = layers.Permute((2, 1, 3), name="frames_first")(x)
    x = layers.Reshape((frames, bands * filters), name="frames")(x)
    # The maximum makes a short sound count in a window that is otherwise silent.
    mean = layers.GlobalAveragePooling1D(name="time_mean")(x)
    highest = layers.GlobalMaxPooling1D(name="time_max")(x)
    x = layers.Concatenate(name="embedding")([mean, highest])
    return layers.Dropout(0.3, name="dropout")(x)


def dense(n_bands: int, n_frames: int, n_channels: int = 1) -> keras.Model:
    """One layer of 128 units over all numbers of a window, for windows that are embeddings already."""
    windows = keras.Input((n_bands, n_frames, n_channels), name="image")
    x = layers.Flatten(name="numbers")(windows)
    x = layers.Dense(128, activation="relu", name="dense")(x)
    x = layers.Dropout(0.3, name="dropout")(x)
    return keras.Model(windows, x, name=EMBEDDING_NAME)


def _convolution(
    x: KerasTensor, number: int, filters: int, size: int, strides: tuple[int, int] = (1, 1)
) -> KerasTensor:
    name = f"conv_{number}"
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False, name=name)(x)
    # Keras's 0.99 takes some 500 steps to forget the initial averages, more than the training of a small collection.
    x = FusedBatchNormalization(momentum=0.9, name=f"norm_{number}")(x)
    return layers.Activation("relu", name=f"relu_{number}")(x)


# Runs are rebuilt by these names, and weights are stored by the names of layers: a better network gets a new name.
ENCODERS: dict[str, Encoder] = {"compact": compact, "dense": dense, "reference": reference, "spectral": spectral}
