"""Changes of the colour of a song, which is of a voice, an instrument or a recording and not of a class.

They act on mel bands in dB. Of MFCC, which are the DCT of bands, they are the same changes of coefficients.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from songbag_store import FeatureSpec
from songbag_training.songs.cosines import dct

N_CURVES = 4
"""Cosines of an equaliser curve."""

LEAST_DB = 0.1
"""Added to deviations, so that the rounding of a band that hardly varies does not become as loud as sound."""


def equalizer_curves(spec: FeatureSpec) -> npt.NDArray[np.float32]:
    """Return by how much each curve changes each stored coefficient, in dB, shape (N_CURVES, C).

    Curve k is sqrt(2) cos(pi k (b + 1/2) / n_bands) over the mel bands b, for k from 1 on; of MFCC this is coefficient
    k alone. Deltas do not change, because a curve is the same in every frame. The effect of `top_db` is left out.
    """
    curves = np.zeros((N_CURVES, spec.window_shape[0]), np.float32)
    if spec.kind == "logmel":
        curves[:, : spec.n_bands] = dct(N_CURVES + 1, spec.n_bands)[1:] * np.sqrt(spec.n_bands)
    else:
        for order in range(1, min(N_CURVES + 1, spec.n_bands)):
            curves[order - 1, order] = np.sqrt(spec.n_mels)
    return curves


def equalize(windows: Any, curves: Any, deviation_db: float, seed: Any) -> Any:
    """Add a random curve to each song, (B, K, C, T), given the `equalizer_curves` in the unit of the windows.

    Over all bands and songs the curves have a standard deviation of `deviation_db`.
    """
    n_curves = curves.shape[0]
    drawn = tf.random.stateless_normal([tf.shape(windows)[0], n_curves], seed, 0.0, deviation_db / np.sqrt(n_curves))
    return windows + (drawn @ curves)[:, None, :, None]


def shift_bands(windows: Any, most: float, spec: FeatureSpec, seed: Any) -> Any:
    """Shift the mel bands of each song, (B, K, C, T), up or down, by its own share of them of at most `most`.

    Between two bands it interpolates; the outermost band is repeated. Deltas are shifted alike. Of MFCC the bands are
    those that the coefficients describe.
    """
    n_bands = spec.n_mels
    shifts = tf.random.stateless_uniform([tf.shape(windows)[0], 1], seed, -most * n_bands, most * n_bands)
    places = tf.clip_by_value(tf.range(n_bands, dtype=tf.float32) + shifts, 0.0, n_bands - 1.0)
    near = tf.abs(places[..., None] - tf.range(n_bands, dtype=tf.float32))
    moving = tf.maximum(1.0 - near, 0.0)
    if spec.kind == "mfcc":
        basis = tf.constant(dct(spec.n_bands, n_bands))
        moving = basis @ moving @ tf.transpose(basis)
    channels = tf.split(windows, spec.n_channels, axis=2)
    return tf.concat([moving[:, None] @ one for one in channels], axis=2)


def mix_bands(windows: Any, mask: Any, most: float, least: float, seed: Any) -> Any:
    """Move mean and deviation of each coefficient of a song towards those of another one, by a share of 0 to `most`.

    Both are taken over all frames of the windows of the bag, (B, K, C, T); the labels stay. `least`, in the unit of the
    windows, is added to deviations: see `LEAST_DB`.

    Notes
    -----
    K. Zhou, Y. Yang, Y. Qiao and T. Xiang, "Domain generalization with MixStyle", ICLR 2021, here for the bands of the
    input, as B. Kim et al., "Domain generalization with relaxed instance frequency-wise normalization for multi-device
    acoustic scene classification", Interspeech 2022, take them.
    """
    seeds, n_songs = tf.random.split(seed, 2), tf.shape(windows)[0]
    real = tf.cast(mask, windows.dtype)[:, :, None, None]
    n_values = tf.maximum(tf.reduce_sum(real, axis=1, keepdims=True), 1.0) * windows.shape[3]
    mean = tf.reduce_sum(tf.reduce_sum(windows, 3, keepdims=True) * real, 1, keepdims=True) / n_values
    squares = tf.reduce_sum(tf.math.squared_difference(windows, mean), 3, keepdims=True)
    deviation = tf.sqrt(tf.reduce_sum(squares * real, 1, keepdims=True) / n_values) + least
    share = tf.random.stateless_uniform([n_songs, 1, 1, 1], seeds[0], 0.0, most)
    other = tf.argsort(tf.random.stateless_uniform([n_songs], seeds[1]))
    lent_mean, lent_deviation = tf.gather(mean, other), tf.gather(deviation, other)
    scale = 1.0 + share * (lent_deviation / deviation - 1.0)
    return windows * scale + (mean + share * (lent_mean - mean) - mean * scale)
