from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from scipy.fft import dct, idct
from scipy.interpolate import CubicSpline

from songbag_training.models.layers import (
    FeatureScaling,
    FoldWindows,
    FusedBatchNormalization,
    SpectralScaling,
    UnfoldWindows,
    channels_last,
    inverse_cosines,
)
from songbag_training.models.reference import PooledConvolution


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


def test_scaling_takes_the_step_of_a_store_and_keeps_it_in_its_options() -> None:
    layer = FeatureScaling.from_config(FeatureScaling(0.01).get_config())
    layer.build((1, 1, 3))
    stored = np.array([[[1, -2, 32767]]], np.int16)
    np.testing.assert_allclose(layer(stored), stored * np.float32(0.01), rtol=1e-6)
    assert FeatureScaling().step == 1 / 16


@pytest.mark.parametrize("n_channels", [1, 3])
def test_spectral_scaling_finds_the_spectrum_that_coefficients_were_made_of(
    rng: np.random.Generator, n_channels: int
) -> None:
    spectra = rng.normal(-40, 9, (6, n_channels, 32, 9))
    stored = dct(spectra, axis=2, norm="ortho").astype(np.float32).reshape(6, -1, 9)
    layer = SpectralScaling(n_channels=n_channels)
    layer.build(stored.shape)
    mean, std = stored.mean((0, 2)), stored.std((0, 2))
    layer.set_statistics(mean, std)
    waves = idct(np.eye(32), axis=0, norm="ortho")
    deviation = np.sqrt(waves**2 @ std.reshape(n_channels, 32, 1) ** 2)
    expected = (spectra - spectra.mean((0, 3), keepdims=True)) / deviation
    np.testing.assert_allclose(layer(stored), expected.reshape(6, -1, 9), atol=1e-4)


def test_few_coefficients_become_32_smooth_bands(rng: np.random.Generator) -> None:
    spectrum = idct(np.r_[rng.normal(0, 9, 13), np.zeros(115)], norm="ortho")
    layer = SpectralScaling()
    layer.build((1, 13, 1))
    found = layer(dct(spectrum, norm="ortho").astype(np.float32)[None, :13, None])
    assert found.shape == layer.compute_output_spec(keras.KerasTensor((1, 13, 1))).shape == (1, 32, 1)
    # Each of the 32 lies between two pairs of the 128.
    between = CubicSpline(np.arange(128), spectrum)(np.arange(1.5, 128, 4))
    own = np.asarray(found)[0, :, 0] * np.sqrt((inverse_cosines(13) ** 2).sum(axis=1) * 32 / 128)
    np.testing.assert_allclose(own, between, atol=0.05)


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


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
@pytest.mark.parametrize("shape", [(6, 5, 7, 3), (1, 1, 1, 2)])
def test_fused_batch_normalisation_is_that_of_keras(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: str
) -> None:
    images, weights = rng.normal(1, 3, (2, *shape)).astype(np.float32)
    found = []
    for kind in (FusedBatchNormalization, keras.layers.BatchNormalization):
        layer = kind(momentum=0.9, dtype=dtype)
        layer.build(shape)
        layer.gamma.assign(np.linspace(-1, 2, shape[-1]))
        layer.beta.assign(np.linspace(-1, 3, shape[-1]))
        values = tf.constant(images, layer.compute_dtype)
        with tf.GradientTape() as tape:
            tape.watch(values)
            normal = layer(values, training=True)
            total = tf.reduce_sum(tf.cast(normal, "float32") * weights)
        gradients = tape.gradient(total, [values, layer.gamma.value, layer.beta.value])
        frozen = kind(dtype=dtype, trainable=False)(values, training=True)
        found.append([normal, *gradients, layer.moving_mean, layer.moving_variance, layer(values), frozen])
    for own, other in zip(*found, strict=True):
        assert own.dtype == other.dtype
        close = 1e-5 if dtype == "float32" else 1e-2
        np.testing.assert_allclose(own, other, rtol=close, atol=close)


def test_channels_stored_one_after_the_other_come_last(rng: np.random.Generator) -> None:
    features, deltas = rng.normal(size=(2, 7, 13, 9)).astype(np.float32)
    images = channels_last(ops.convert_to_tensor(np.concatenate([features, deltas], axis=1)), 2)
    assert images.shape == (7, 13, 9, 2)
    np.testing.assert_array_equal(images[..., 0], features)
    np.testing.assert_array_equal(images[..., 1], deltas)


@pytest.mark.parametrize(
    "layer",
    [
        FeatureScaling(),
        SpectralScaling(0.01, n_channels=2),
        FoldWindows(),
        UnfoldWindows(),
        PooledConvolution(8, (3, 5), (2, 3)),
        FusedBatchNormalization(),
    ],
)
def test_layers_survive_keras_serialisation(layer: keras.layers.Layer) -> None:
    document = keras.saving.serialize_keras_object(layer)
    read = keras.saving.deserialize_keras_object(json.loads(json.dumps(document)))
    assert type(read) is type(layer)
    assert read.get_config() == layer.get_config()
