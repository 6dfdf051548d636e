"""Where a training runs, and with numbers of what precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from songbag_training.errors import ModelError


def find_strategy(batch_size: int) -> tf.distribute.Strategy:
    """Return how a batch is spread: over all GPUs that TensorFlow sees if there are several, else not at all.

    ``CUDA_VISIBLE_DEVICES`` narrows what it sees. Each GPU holds the whole model and takes its share of every batch.

    Raises
    ------
    ModelError
        If there are fewer songs in a batch than GPUs.
    """
    n_gpus = len(tf.config.list_logical_devices("GPU"))
    if n_gpus < 2:
        return tf.distribute.get_strategy()
    if batch_size < n_gpus:
        remedy = "Raise it, or show TensorFlow fewer of them with CUDA_VISIBLE_DEVICES."
        raise ModelError(f"is {batch_size}, but there are {n_gpus} GPUs", place="batch-size", remedy=remedy)
    return tf.distribute.MirroredStrategy()


@contextmanager
def precision(mixed: bool) -> Iterator[None]:
    """Have layers that are made meanwhile compute in float16, their weights being float32, or all in float32.

    float16 and not bfloat16, because every GPU with tensor cores has it. Keras scales the loss so that small gradients
    do not vanish.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16" if mixed else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
