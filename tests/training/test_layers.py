from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from songbag_training.layers import FeatureScaling, FoldWindows, UnfoldWindows, channels_last


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_scaling_undoes_the_encoding_and_normalises(rng: np.random.Generator) -> None:
    stored = rng.integers(-3000, 3000, (6, 4, 9)).astype(np.int16)
    mean, std = np.array([1, 2, 3, 4.0]), np.array([0.5, 1, 2, 4.0])
    layer = FeatureScaling()
    layer.build(stored.shape)
    layer.set_statistics(mean, std)
    expected = (stored / 16 - mean[:, None]) / std[:, None]
    np.testing.assert_allclose(layer(stored), expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(layer((stored / 16).astype(np.float32)), expected, rtol=1e-5, atol=1e-4)


def test_scaling_keeps_every_bit_of_what_is_stored_under_mixed_precision() -> None:
    stored = np.array([[[30001, 30002, 30003]]], np.int16)
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        layer = FeatureScaling()
    finally:
        keras.mixed_precision.set_global_policy("float32")
    layer.build(stored.shape)
    layer.set_statistics([1875.0], [1.0])
    np.testing.assert_array_equal(layer(stored), [[[1 / 16, 2 / 16, 3 / 16]]])


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


@pytest.mark.parametrize("layer", [FeatureScaling(), FoldWindows(), UnfoldWindows()])
def test_layers_survive_keras_serialisation(layer: keras.layers.Layer) -> None:
    document = keras.saving.serialize_keras_object(layer)
    assert type(keras.saving.deserialize_keras_object(document)) is type(layer)
