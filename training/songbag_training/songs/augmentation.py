"""Augmentation: changes the windows, masks and labels of training batches, and leaves the model as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from songbag_store import FeatureSpec
from songbag_training.config import AUGMENTATIONS, TrainConfig
from songbag_training.songs.colour import (
    LEAST_DB,
    equalize,
    equalizer_curves,
    mix_bands,
    shift_bands,
)
from songbag_training.usual import USUAL, are_possible

Features = dict[str, Any]
Change = Callable[[Features, Any, Any], tuple[Features, Any]]

_ROLL, _GAIN, _MIX, _BANDS, _FRAMES, _DROP, _SHIFT, _EQUALIZER, _BAND_MIX = range(9)


def augmentation(
    config: TrainConfig, *, spec: FeatureSpec, mean: npt.NDArray[np.float32], n_logits: int
) -> Callable[[tf.data.Dataset, int], tf.data.Dataset]:
    """Return a function that changes the windows, masks and labels of batches.

    It takes a `tf.data.Dataset` of ``({"windows": (B, K, C, T) as stored, "mask": (B, K)}, labels)`` and the number of
    its first batch, counted from the beginning of the training. Labels are targets of a task, see
    `songbag_training.songs.task.Task`. It returns the same; with mixup, labels are shares, shape (B, n_logits).
    Of several members of a network each has a copy of every bag, which is changed by itself: B is then as many times
    the number of songs, and the copies of a song come one after the other.

    Parameters
    ----------
    config : TrainConfig
        Its seed and the fields in `songbag_training.config.AUGMENTATIONS`.
    spec : FeatureSpec
        Of the windows.
    mean : float32, shape (C,)
        Of each coefficient, in the features' own unit, see `songbag_training.songs.scaling`. What is blanked out gets
        this value, which the network sees as 0.
    n_logits : int
        Of the task.
    """
    impossible: dict[str, Any] = {} if are_possible(spec) else dict.fromkeys(USUAL, 0.0)
    config = dataclasses.replace(config, **impossible)
    if config.n_members == 1 and not any(getattr(config, name) for name in AUGMENTATIONS):
        return lambda batches, first: batches
    change = _change(config, spec, mean, n_logits)

    # Traced once for all epochs, each of which is a dataset of its own. A batch depends on nothing but the seed and its
    # number, so a resumed training gets the batches of one that was never stopped.
    def numbered_change(number: Any, batch: tuple[Features, Any]) -> tuple[Features, Any]:
        return change(*batch, tf.stack([tf.constant(config.seed, tf.int64), number]))

    traced: Callable[..., Any] = tf.function(numbered_change, autograph=False)

    def apply(batches: tf.data.Dataset, first: int) -> tf.data.Dataset:
        # With op determinism TensorFlow makes a parallel map sequential and prints a message about it.
        return tf.data.Dataset.zip(tf.data.Dataset.counter(first), batches).map(traced).prefetch(2)

    return apply


def _change(config: TrainConfig, spec: FeatureSpec, mean: npt.NDArray[np.float32], n_logits: int) -> Change:
    """Return the function that changes one batch, given its seed, int64 of shape (2,)."""
    blank = tf.constant(np.asarray(mean, np.float32)[:, None] / np.float32(spec.step))
    curves = tf.constant(equalizer_curves(spec) / np.float32(spec.step))
    loudness = tf.constant(level_change(spec)[:, None] / np.float32(spec.step))

    def change(features: Features, labels: Any, seed: Any) -> tuple[Features, Any]:
        windows, mask = tf.cast(features["windows"], tf.float32), features["mask"]
        if config.n_members > 1:
            windows, mask, labels = (tf.repeat(values, config.n_members, axis=0) for values in (windows, mask, labels))
        if config.time_shift:
            windows = roll_frames(windows, config.time_shift, _own(seed, _ROLL))
        if config.band_shift:
            windows = shift_bands(windows, config.band_shift, spec, _own(seed, _SHIFT))
        if config.gain_db:
            windows = windows + shift_levels(loudness, tf.shape(windows)[0], config.gain_db, _own(seed, _GAIN))
        if config.equalizer_db:
            windows = equalize(windows, curves, config.equalizer_db, _own(seed, _EQUALIZER))
        if config.band_mix:
            windows = mix_bands(windows, mask, config.band_mix, LEAST_DB / spec.step, _own(seed, _BAND_MIX))
        if config.mixup:
            shares = as_shares(labels, n_logits)
            windows, mask, labels = mix_bags(windows, mask, shares, config.mixup, _own(seed, _MIX))
        if config.band_mask:
            windows = mask_bands(windows, blank, config.band_mask, spec.n_channels, _own(seed, _BANDS))
        if config.time_mask:
            windows = mask_frames(windows, blank, config.time_mask, _own(seed, _FRAMES))
        if config.window_dropout:
            mask = drop_windows(mask, config.window_dropout, _own(seed, _DROP))
        if spec.encoding == "int16":
            windows = tf.saturate_cast(tf.round(windows), tf.int16)
        return {"windows": windows, "mask": mask}, labels

    return change


def _own(seed: Any, change: int) -> Any:
    """Return a seed for one kind of change, so that turning another kind off does not alter it."""
    return tf.random.experimental.stateless_fold_in(seed, change)


def as_shares(labels: Any, n_logits: int) -> Any:
    """Turn class numbers, shape (B,) or (B, 1), into shares, float32, (B, n_logits). Shares stay as they are."""
    if n_logits == 1 or labels.shape[1:] == (n_logits,):
        return tf.reshape(tf.cast(labels, tf.float32), (-1, n_logits))
    return tf.one_hot(tf.cast(tf.reshape(labels, (-1,)), tf.int32), n_logits)


def roll_frames(windows: Any, most: float, seed: Any) -> Any:
    """Roll the frames of each window, (B, K, C, T), by its own random number from 0 to ``most * T``."""
    n_frames = windows.shape[-1]
    shifts = tf.random.stateless_uniform(tf.shape(windows)[:2], seed, 0, round(most * n_frames) + 1, tf.int32)
    frames = (tf.range(n_frames) - shifts[..., None]) % n_frames
    return tf.gather(windows, frames, axis=3, batch_dims=2)


def level_change(spec: FeatureSpec) -> npt.NDArray[np.float32]:
    """Return by how much one dB of level changes each stored coefficient, shape (C,).

    It changes every band of log-mel by 1, the first coefficient of MFCC by the square root of the number of bands
    (because the DCT is orthonormal), other coefficients, deltas and other kinds of features by 0. The effect of
    `top_db` is left out.
    """
    change = np.zeros(spec.window_shape[0], np.float32)
    if spec.kind == "logmel":
        change[: spec.n_bands] = 1.0
    elif spec.kind == "mfcc":
        change[0] = np.sqrt(spec.n_mels)
    return change


def shift_levels(loudness: Any, n_songs: Any, deviation_db: float, seed: Any) -> Any:
    """Return a random change of level for each song, shape (B, 1, C, 1), given that of one dB, (C, 1)."""
    return tf.random.stateless_normal([n_songs, 1, 1, 1], seed, 0.0, deviation_db) * loudness


def mix_bags(windows: Any, mask: Any, shares: Any, concentration: float, seed: Any) -> tuple[Any, Any, Any]:
    """Mix each bag with another one, window by window, and the labels in the same proportion.

    Each bag keeps at least half of itself. If only one of two slots holds a window, that window is taken unchanged.

    Returns
    -------
    windows : shape (B, K, C, T)
    mask : shape (B, K)
        1 if either bag has a window there.
    shares : shape (B, n_classes)

    Notes
    -----
    H. Zhang, M. Cisse, Y. Dauphin and D. Lopez-Paz, "mixup: beyond empirical risk minimization", ICLR 2018.
    """
    n_songs = tf.shape(windows)[0]
    seeds = tf.random.split(seed, 3)
    # Above 0, because both draws can be 0 at a small concentration.
    draws = tf.random.stateless_gamma([2, n_songs], seeds[0], concentration) + 1e-20
    drawn = draws[0] / (draws[0] + draws[1])
    kept = tf.maximum(drawn, 1 - drawn)[:, None]
    other = tf.argsort(tf.random.stateless_uniform([n_songs], seeds[1]))
    own, lent = kept * mask, (1 - kept) * tf.gather(mask, other)
    share = tf.math.divide_no_nan(lent, own + lent)[..., None, None]
    mixed = windows + share * (tf.gather(windows, other) - windows)
    return mixed, tf.maximum(mask, tf.gather(mask, other)), kept * shares + (1 - kept) * tf.gather(shares, other)


def mask_frames(windows: Any, blank: Any, most: float, seed: Any) -> Any:
    """Blank out one run of 0 to ``most * T`` frames in each window, (B, K, C, T), with `blank`, (C, 1).

    Notes
    -----
    D. S. Park et al., "SpecAugment: a simple data augmentation method for automatic speech
    recognition", Interspeech 2019.
    """
    return tf.where(_runs(tf.shape(windows)[:2], windows.shape[3], most, seed)[:, :, None, :], blank, windows)


def mask_bands(windows: Any, blank: Any, most: float, n_channels: int, seed: Any) -> Any:
    """Blank out one run of 0 to ``most * n_bands`` bands in each window, and the same bands of its deltas."""
    run = _runs(tf.shape(windows)[:2], windows.shape[2] // n_channels, most, seed)
    return tf.where(tf.tile(run, [1, 1, n_channels])[..., None], blank, windows)


def _runs(shape: Any, length: int, most: float, seed: Any) -> Any:
    """Return a run of random length and place for each window, bool, (B, K, length)."""
    seeds = tf.random.split(seed, 2)
    runs = tf.random.stateless_uniform(shape, seeds[0], 0, round(most * length) + 1, tf.int32)
    room = tf.cast(length - runs + 1, tf.float32)
    starts = tf.cast(tf.random.stateless_uniform(shape, seeds[1]) * room, tf.int32)
    positions, starts = tf.range(length), starts[..., None]
    return (positions >= starts) & (positions < starts + runs[..., None])


def drop_windows(mask: Any, rate: float, seed: Any) -> Any:
    """Mask real windows with probability `rate`, but never all windows of a bag."""
    lots = tf.random.stateless_uniform(tf.shape(mask), seed) * mask
    stays = (lots >= rate) | (lots == tf.reduce_max(lots, axis=1, keepdims=True))
    return mask * tf.cast(stays, mask.dtype)
