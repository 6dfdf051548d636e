"""What `songbag_training.compat` assumes of Keras and TensorFlow. A failure says what to do after an upgrade."""

from __future__ import annotations

import threading

import keras
import numpy as np
import tensorflow as tf

from songbag_training.compat import first_event, fused_batch_norm, map_traced, rename_variable, scalars_event


def test_a_variable_takes_another_path() -> None:
    layer = keras.layers.Dense(2, name="own")
    layer.build((None, 3))
    rename_variable(layer.kernel, "encoder/000/kernel")
    assert layer.kernel.path == "encoder/000/kernel", (
        "Keras keeps the path of a variable elsewhere than in `_path`: set it there in `rename_variable`, or keep a "
        "name for each weight of an encoder from outside songbag in `runs/weights.py`."
    )


def test_a_traced_function_maps_in_the_thread_that_asks_and_keeps_the_number_of_elements() -> None:
    threads, traces = set[int](), 0

    def note(number: np.int64, most: np.int64) -> np.float32:
        threads.add(threading.get_ident())
        return np.float32(number + most)

    def read(number: object, most: object) -> object:
        nonlocal traces
        traces += 1
        return tf.ensure_shape(tf.numpy_function(note, (number, most), tf.float32), ())

    kind, element = tf.TensorSpec((), tf.int64), tf.TensorSpec((), tf.float32)
    traced = tf.function(read, autograph=False).get_concrete_function(kind, kind)
    advice = (
        "`tf.raw_ops.MapDataset` works in another way: let `map_traced` return `data.map(...)` instead, and run "
        "`python -m benchmarks.training` to see what that costs."
    )
    for most in (10, 20):
        mapped = map_traced(tf.data.Dataset.range(5), traced, [tf.constant(most, tf.int64)], element)
        options = tf.data.Options()
        options.autotune.enabled = False
        options.experimental_optimization.apply_default_optimizations = False
        mapped = mapped.with_options(options)
        assert int(mapped.cardinality()) == 5, advice
        assert [float(value) for value in mapped] == [most + number for number in range(5)], advice
    assert traces == 1, advice
    assert threads == {threading.get_ident()}, advice


def test_batch_normalisation_is_one_operation_with_the_variance_of_keras() -> None:
    images = np.random.default_rng(0).normal(1, 3, (6, 5, 7, 3)).astype(np.float32)
    gamma, beta = tf.constant([0.5, 1.0, 2.0]), tf.constant([0.0, 1.0, -1.0])
    normal, mean, variance = fused_batch_norm(tf.constant(images), gamma, beta, 1e-3)
    advice = (
        "TensorFlow's fused batch normalisation gives other numbers: correct `fused_batch_norm`, or let "
        "`FusedBatchNormalization` be `keras.layers.BatchNormalization` (docs/decisions/0042)."
    )
    np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2)), rtol=1e-5, err_msg=advice)
    np.testing.assert_allclose(variance, images.var(axis=(0, 1, 2)), rtol=1e-5, err_msg=advice)
    expected = (images - images.mean(axis=(0, 1, 2))) / np.sqrt(images.var(axis=(0, 1, 2)) + 1e-3)
    np.testing.assert_allclose(normal, expected * gamma + beta, rtol=1e-4, atol=1e-4, err_msg=advice)


def test_events_are_the_messages_that_tensorboard_reads() -> None:
    advice = (
        "TensorFlow's event messages have moved: take them from where they are now, or use `tf.summary` and make "
        "TensorBoard a dependency of the extra `training`."
    )
    first = tf.compat.v1.Event.FromString(first_event(1.5))
    assert (first.wall_time, first.file_version) == (1.5, "brain.Event:2"), advice
    event = tf.compat.v1.Event.FromString(scalars_event(2.5, 7, {"epoch_loss": 0.25}))
    assert (event.wall_time, event.step) == (2.5, 7), advice
    assert [(value.tag, value.simple_value) for value in event.summary.value] == [("epoch_loss", 0.25)], advice
