"""The GPUs and the precision of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from songbag_training.errors import ModelError


def find_strategy(batch_size: int, n_members: int = 1) -> tf.distribute.Strategy:
    """Return how a batch is spread over GPUs: over all that TensorFlow sees if there are several, else not at all.

    Each GPU holds the whole model and takes its share of every batch. ``CUDA_VISIBLE_DEVICES`` hides GPUs. Several
    members are trained on one GPU: the copies of a song would not stay together.

    Raises
    ------
    ModelError
        If there are fewer songs in a batch than GPUs.
    """
    n_gpus = len(tf.config.list_logical_devices("GPU"))
    if n_gpus < 2 or n_members > 1:
        return tf.distribute.get_strategy()
    if batch_size < n_gpus:
        remedy = "Raise it, or show TensorFlow fewer of them with CUDA_VISIBLE_DEVICES."
        raise ModelError(f"is {batch_size}, but there are {n_gpus} GPUs", place="batch_size", remedy=remedy)
    return tf.distribute.MirroredStrategy()


@contextmanager
def precision(mixed: bool) -> Iterator[None]:
    """Make the layers that are built inside compute in float16 with float32 weights, or only in float32.

    Keras scales the loss so that small gradients do not vanish.
    """
    # Every GPU with tensor cores has float16; some have no bfloat16.
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16" if mixed else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
