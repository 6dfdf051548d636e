"""Augmentation of bags on their way to the network: other windows each time, of the same songs.

It changes batches of a `tf.data.Dataset`, not the model: what is saved and exported knows nothing of it. Each
change is drawn from (seed, number of the batch) by a counter-based generator, so a run that goes on in the middle of
an epoch meets the same batches as one that was never stopped, and there is no state to keep.

Windows come and go as stored, (B, K, C, T): what is blanked out becomes the mean of its coefficient over the training
songs, which the network sees as 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from songbag_store import FeatureSpec
from songbag_store.format.spec import INT16_STEP
from songbag_training.config import AUGMENTATIONS, TrainConfig

Features = dict[str, Any]
Change = Callable[[Features, Any, Any], tuple[Features, Any]]

_ROLL, _GAIN, _MIX, _BANDS, _FRAMES, _DROP = range(6)


def augmentation(
    config: TrainConfig, *, spec: FeatureSpec, mean: npt.NDArray[np.float32], n_classes: int
) -> Callable[[tf.data.Dataset, int], tf.data.Dataset]:
    """Return a function that has the windows, masks and labels of batches changed.

    It takes a `tf.data.Dataset` of ``({"windows": (B, K, C, T) as stored, "mask": (B, K)}, labels)``, where labels are
    class numbers, shape (B,), or shares, shape (B, n_classes), and the number of its first batch, counted from the
    beginning of the training. It returns the same; with mixup, labels become shares, shape (B, n_classes), of two
    classes that of the second, (B, 1).

    Parameters
    ----------
    config : TrainConfig
        Its seed and the fields in `songbag_training.config.AUGMENTATIONS`.
    spec : FeatureSpec
        Of the windows.
    mean : float32, shape (C,)
        Of each coefficient, in the features' own unit, see `songbag_training.songs.scaling`.
    n_classes : int
    """
    if not any(getattr(config, name) for name in AUGMENTATIONS):
        return lambda batches, first: batches
    change = _change(config, spec, mean, n_classes)

    # A function of TensorFlow's is traced once for all epochs, each of which is a dataset of its own.
    def of_number(number: Any, features: Features, labels: Any) -> tuple[Features, Any]:
        return change(features, labels, tf.stack([tf.constant(config.seed, tf.int64), number]))

    traced: Callable[..., Any] = tf.function(of_number, autograph=False)

    # Rewriting Python's control flow for TensorFlow takes half a second, and there is none.
    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def handed_over(number: Any, batch: tuple[Features, Any]) -> Any:
        return traced(number, *batch)

    def apply(batches: tf.data.Dataset, first: int) -> tf.data.Dataset:
        numbered = tf.data.Dataset.zip(tf.data.Dataset.counter(first), batches)
        # With op determinism TensorFlow would make a parallel map sequential, and say so on the terminal.
        return numbered.map(handed_over).prefetch(2)

    return apply


def _change(config: TrainConfig, spec: FeatureSpec, mean: npt.NDArray[np.float32], n_classes: int) -> Change:
    """Return the function that changes one batch, given its seed, int64 of shape (2,)."""
    step = INT16_STEP if spec.encoding == "int16" else 1.0
    blank = tf.constant(np.asarray(mean, np.float32)[:, None] / step)
    loudness = tf.constant(level_change(spec)[:, None] / step)

    def change(features: Features, labels: Any, seed: Any) -> tuple[Features, Any]:
        windows, mask = tf.cast(features["windows"], tf.float32), features["mask"]
        if config.time_shift:
            windows = roll_frames(windows, config.time_shift, _own(seed, _ROLL))
        if config.gain_db:
            windows = windows + shift_levels(loudness, tf.shape(windows)[0], config.gain_db, _own(seed, _GAIN))
        if config.mixup:
            shares = as_shares(labels, n_classes)
            windows, mask, labels = mix_bags(windows, mask, shares, config.mixup, _own(seed, _MIX))
        if config.band_mask:
            windows = mask_bands(windows, blank, config.band_mask, spec.n_channels, _own(seed, _BANDS))
        if config.time_mask:
            windows = mask_frames(windows, blank, config.time_mask, _own(seed, _FRAMES))
        if config.window_dropout:
            mask = drop_windows(mask, config.window_dropout, _own(seed, _DROP))
        if spec.encoding == "int16":
            windows = tf.cast(tf.round(windows), tf.int16)
        return {"windows": windows, "mask": mask}, labels

    return change


def _own(seed: Any, change: int) -> Any:
    """Return another seed for each kind of change: one that is turned off leaves the others what they were."""
    return tf.random.experimental.stateless_fold_in(seed, change)


def as_shares(labels: Any, n_classes: int) -> Any:
    """Turn class numbers, shape (B,), into shares, (B, n_classes), of two classes (B, 1); shares stay as they are."""
    if labels.shape.rank == 2:
        return tf.cast(labels, tf.float32)
    if n_classes == 2:
        return tf.cast(labels, tf.float32)[:, None]
    return tf.one_hot(labels, n_classes)


def roll_frames(windows: Any, most: float, seed: Any) -> Any:
    """Roll the frames of each window, (B, K, C, T), by a number of its own from 0 to ``most * T``."""
    n_frames = windows.shape[-1]
    shifts = tf.random.stateless_uniform(tf.shape(windows)[:2], seed, 0, round(most * n_frames) + 1, tf.int32)
    frames = (tf.range(n_frames) - shifts[..., None]) % n_frames
    return tf.gather(windows, frames, axis=3, batch_dims=2)


def level_change(spec: FeatureSpec) -> npt.NDArray[np.float32]:
    """Return by how much one dB of level changes each stored coefficient, shape (C,).

    Every band of log-mel by 1; of MFCC the first by the square root of the number of bands, for the DCT is orthonormal,
    and the others not at all; deltas never. What the features' floor (`top_db`) does to it is left out.
    """
    change = np.zeros(spec.window_shape[0], np.float32)
    if spec.kind == "logmel":
        change[: spec.n_bands] = 1.0
    else:
        change[0] = np.sqrt(spec.n_mels)
    return change


def shift_levels(loudness: Any, n_songs: Any, deviation_db: float, seed: Any) -> Any:
    """Return what makes each song louder or quieter, shape (B, 1, C, 1), given what one dB is, (C, 1)."""
    return tf.random.stateless_normal([n_songs, 1, 1, 1], seed, 0.0, deviation_db) * loudness


def mix_bags(windows: Any, mask: Any, shares: Any, concentration: float, seed: Any) -> tuple[Any, Any, Any]:
    """Mix each bag with another one, window by window, and the labels by the same shares.

    Each bag keeps at least half of itself. Where only one of two slots holds a window, that one is taken as it is.

    Returns
    -------
    windows : shape (B, K, C, T)
    mask : shape (B, K)
        1 where either bag has a window.
    shares : shape (B, n_classes)

    Notes
    -----
    H. Zhang, M. Cisse, Y. Dauphin and D. Lopez-Paz, "mixup: beyond empirical risk minimization", ICLR 2018.
    """
    n_songs = tf.shape(windows)[0]
    seeds = tf.random.split(seed, 3)
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
    As the masks of bands: D. S. Park et al., "SpecAugment: a simple data augmentation method for automatic speech
    recognition", Interspeech 2019.
    """
    return tf.where(_runs(tf.shape(windows)[:2], windows.shape[3], most, seed)[:, :, None, :], blank, windows)


def mask_bands(windows: Any, blank: Any, most: float, n_channels: int, seed: Any) -> Any:
    """Blank out one run of 0 to ``most * n_bands`` bands in each window, the same in its deltas."""
    run = _runs(tf.shape(windows)[:2], windows.shape[2] // n_channels, most, seed)
    return tf.where(tf.tile(run, [1, 1, n_channels])[..., None], blank, windows)


def _runs(shape: Any, length: int, most: float, seed: Any) -> Any:
    """Return for each window where a run lies whose length and place are drawn, bool, (B, K, length)."""
    seeds = tf.random.split(seed, 2)
    runs = tf.random.stateless_uniform(shape, seeds[0], 0, round(most * length) + 1, tf.int32)
    room = tf.cast(length - runs + 1, tf.float32)
    starts = tf.cast(tf.random.stateless_uniform(shape, seeds[1]) * room, tf.int32)
    positions, starts = tf.range(length), starts[..., None]
    return (positions >= starts) & (positions < starts + runs[..., None])


def drop_windows(mask: Any, rate: float, seed: Any) -> Any:
    """Mask real windows with probability `rate`, but of each bag never all."""
    lots = tf.random.stateless_uniform(tf.shape(mask), seed) * mask
    stays = (lots >= rate) | (lots == tf.reduce_max(lots, axis=1, keepdims=True))
    return mask * tf.cast(stays, mask.dtype)
