from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from songbag_training.layers import FeatureScaling, FoldWindows, MeanPooling, UnfoldWindows, channels_last


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_mean_pooling_is_the_mean_over_real_windows(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(2, 5, 3)).astype(np.float32)
    mask = np.array([[1, 1, 0, 1, 0], [1, 1, 1, 1, 1]], np.float32)
    pooled, weights = MeanPooling()(logits, logits, mask)
    np.testing.assert_allclose(pooled[0], logits[0, [0, 1, 3]].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(pooled[1], logits[1].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(ops.sum(weights, axis=1), 1, atol=1e-6)
    assert ops.convert_to_numpy(weights)[0, [2, 4]].tolist() == [0, 0]


def test_a_bag_of_one_window_is_its_window(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(4, 1, 3)).astype(np.float32)
    pooled, _ = MeanPooling()(logits, logits, np.ones((4, 1), np.float32))
    np.testing.assert_array_equal(pooled, logits[:, 0])


@pytest.mark.parametrize("value", [1e30, np.nan, np.inf])
def test_what_stands_in_a_masked_slot_does_not_matter(rng: np.random.Generator, value: float) -> None:
    logits = rng.normal(size=(1, 4, 3)).astype(np.float32)
    mask = np.array([[1, 0, 1, 1]], np.float32)
    before, _ = MeanPooling()(logits, logits, mask)
    logits[0, 1] = value
    after, _ = MeanPooling()(logits, logits, mask)
    np.testing.assert_array_equal(before, after)


def test_a_bag_without_a_real_window_has_finite_values_and_gradients() -> None:
    logits = tf.Variable(np.ones((2, 3, 1), np.float32))
    mask = np.array([[0, 0, 0], [1, 1, 0]], np.float32)
    with tf.GradientTape() as tape:
        pooled, _ = MeanPooling()(logits, logits, mask)
        loss = tf.reduce_sum(pooled**2)
    assert pooled.numpy()[0, 0] == 0
    assert np.isfinite(tape.gradient(loss, logits).numpy()).all()


def test_scaling_undoes_the_encoding_and_normalises(rng: np.random.Generator) -> None:
    stored = rng.integers(-3000, 3000, (6, 4, 9)).astype(np.int16)
    mean, std = np.array([1, 2, 3, 4.0]), np.array([0.5, 1, 2, 4.0])
    layer = FeatureScaling()
    layer.build(stored.shape)
    layer.set_statistics(mean, std)
    expected = (stored / 16 - mean[:, None]) / std[:, None]
    np.testing.assert_allclose(layer(stored), expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(layer((stored / 16).astype(np.float32)), expected, rtol=1e-5, atol=1e-4)


def test_unfolding_undoes_folding(rng: np.random.Generator) -> None:
    windows = rng.normal(size=(3, 5, 4, 6)).astype(np.float32)
    folded = FoldWindows()(windows)
    assert folded.shape == (15, 4, 6)
    back = UnfoldWindows()(ops.reshape(folded, (15, 24)), np.ones((3, 5)))
    np.testing.assert_array_equal(back, windows.reshape(3, 5, 24))


def test_channels_stored_one_after_the_other_come_last(rng: np.random.Generator) -> None:
    features, deltas = rng.normal(size=(2, 7, 13, 9)).astype(np.float32)
    images = channels_last(ops.convert_to_tensor(np.concatenate([features, deltas], axis=1)), 2)
    assert images.shape == (7, 13, 9, 2)
    np.testing.assert_array_equal(images[..., 0], features)
    np.testing.assert_array_equal(images[..., 1], deltas)


@pytest.mark.parametrize("layer", [FeatureScaling(), FoldWindows(), UnfoldWindows(), MeanPooling()])
def test_layers_survive_keras_serialisation(layer: keras.layers.Layer) -> None:
    document = keras.saving.serialize_keras_object(layer)
    assert type(keras.saving.deserialize_keras_object(document)) is type(layer)
