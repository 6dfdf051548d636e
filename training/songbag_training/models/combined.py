"""The encoder `combined`: `compact`, and beside it a branch that is given statistics of the window over time."""

from __future__ import annotations

import keras
from keras import KerasTensor, layers, ops

from songbag_training.models.layers import EMBEDDING_NAME

_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_UNITS, _DROPPED = 64, 0.3


def with_statistics(encoder: keras.Model) -> keras.Model:
    """Return an encoder whose embedding goes on with 64 numbers that are learned from `time_statistics` of the window.

    They are normalised by batch, because deviations are smaller than means.
    """
    windows = encoder.input
    x = layers.BatchNormalization(momentum=0.9, name="statistics_norm")(time_statistics(windows))
    x = layers.Dropout(_DROPPED, name="statistics_dropout")(x)
    x = layers.Dense(_UNITS, activation="relu", name="statistics")(x)
    x = layers.Dropout(_DROPPED, name="statistics_units_dropout")(x)
    joined = layers.Concatenate(name="embedding_and_statistics")([encoder.output, x])
    return keras.Model(windows, joined, name=EMBEDDING_NAME)


def time_statistics(images: KerasTensor) -> KerasTensor:
    """Return statistics over the frames of images (N, bands, frames, channels), shape (N, bands * channels * 8).

    For each band: mean, standard deviation, mean step between two frames, and five quantiles. Windows of one frame have
    no steps: 7 numbers.
    """
    n_bands, n_frames, n_channels = images.shape[1:]
    found = [ops.mean(images, axis=2), ops.std(images, axis=2)]
    if n_frames > 1:
        found.append(ops.mean(ops.abs(images[:, :, 1:] - images[:, :, :-1]), axis=2))
    # Frames come last, because of a sort TFLite has only that.
    ordered = ops.sort(ops.transpose(images, (0, 1, 3, 2)), axis=-1)
    found += [ordered[..., int(n_frames * share)] for share in _QUANTILES]
    return ops.reshape(ops.concatenate(found, axis=-1), (-1, n_bands * n_channels * len(found)))
