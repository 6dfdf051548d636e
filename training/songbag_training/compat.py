"""Undocumented parts of Keras and TensorFlow that songbag uses; tests/training/test_compat.py checks each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf


def rename_variable(variable: keras.Variable, path: str) -> None:
    """Change the `path` of a variable. Keras sets it once, from the names of the layers around it."""
    variable._path = path


def map_traced(data: tf.data.Dataset, function: Any, arguments: Sequence[Any], element: Any) -> tf.data.Dataset:
    """Return `data.map` with a traced function, which runs in the thread that asks for an element.

    `Dataset.map` traces a function for each dataset, which takes longer than a training step. It also runs it in the
    threads that train, and one of them would wait for the batch.

    Parameters
    ----------
    data : tf.data.Dataset
    function : tf.types.experimental.ConcreteFunction
        Takes an element of the data and then the arguments.
    arguments : sequence of tensors
    element : nested structure of tf.TensorSpec
        What the function returns.
    """
    kinds = tf.nest.flatten(element)
    mapped = tf.raw_ops.MapDataset(
        input_dataset=tf.data.experimental.to_variant(data),
        other_arguments=arguments,
        f=function,
        output_types=[kind.dtype for kind in kinds],
        output_shapes=[kind.shape for kind in kinds],
        use_inter_op_parallelism=False,
        preserve_cardinality=True,
    )
    return tf.data.experimental.from_variant(mapped, element)


def fused_batch_norm(images: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Normalise images, (N, bands, frames, channels), with TensorFlow's fused operation.

    Returns
    -------
    normal, mean, variance
        Of the batch; the variance is divided by n, as in Keras.
    """
    normal, mean, variance = tf.compat.v1.nn.fused_batch_norm(images, gamma, beta, epsilon=epsilon)
    # The operation divides by n - 1.
    n_channels, n_values = tf.cast(images.shape[-1], "float32"), tf.cast(tf.size(images), "float32")
    return normal, mean, variance * (1.0 - n_channels / n_values)


def first_event(time_s: float) -> bytes:
    """Return the first record of an event file of TensorBoard."""
    event: bytes = tf.compat.v1.Event(wall_time=time_s, file_version="brain.Event:2").SerializeToString()
    return event


def scalars_event(time_s: float, step: int, values: Mapping[str, float]) -> bytes:
    """Return a record of numbers for TensorBoard. `tf.summary.scalar` would need TensorBoard to be installed."""
    scalars = [tf.compat.v1.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    summary = tf.compat.v1.Summary(value=scalars)
    event: bytes = tf.compat.v1.Event(wall_time=time_s, step=step, summary=summary).SerializeToString()
    return event
