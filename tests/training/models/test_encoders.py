from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from songbag_training import window_model
from songbag_training.errors import ModelError
from songbag_training.models.encoders import compact
from songbag_training.models.reference import PooledConvolution, plain_reference, reference


def test_the_reference_network_has_21075_parameters() -> None:
    model = window_model(n_bands=13, n_frames=216, n_classes=3)
    assert model.count_params() == 21_075
    assert model.output.shape == (None, 3)


def test_two_classes_have_one_unit() -> None:
    assert window_model(n_classes=2).output.shape == (None, 1)


def test_class_counts_of_numpy_are_taken() -> None:
    assert window_model(n_classes=np.int64(4)).output.shape == (None, 4)  # type: ignore[arg-type]


def test_one_class_is_refused() -> None:
    with pytest.raises(ModelError, match="1 class cannot"):
        window_model(n_classes=1)


def test_the_smallest_window_of_the_reference_works() -> None:
    assert reference(10, 14).output.shape == (None, 32)


# Of (10, 14) the poolings leave out nothing, of (13, 19) as much as they can.
@pytest.mark.parametrize("shape", [(13, 216, 1), (40, 101, 3), (10, 14, 1), (13, 19, 2)])
def test_the_reference_computes_what_the_plain_layers_do(shape: tuple[int, int, int]) -> None:
    quick, plain = reference(*shape), plain_reference(*shape)
    rng = np.random.default_rng(5)
    # Biases of some size: where they are added is what differs.
    for own, other in zip(quick.weights, plain.weights, strict=True):
        assert (own.path, own.shape) == (other.path, other.shape)
        own.assign(rng.normal(0, 0.3, own.shape))
        other.assign(own)
    windows = tf.constant(rng.normal(size=(6, *shape)), tf.float32)
    found = []
    for network in (quick, plain):
        with tf.GradientTape() as tape:
            tape.watch(windows)
            vectors = network(windows)
            total = tf.reduce_sum(vectors**2)
        variables = [weight.value for weight in network.trainable_weights]
        found.append([vectors, *tape.gradient(total, [windows, *variables])])
    for own, other in zip(*found, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-5 * np.abs(other).max())
    assert {path: weight.shape for weight in quick.weights if "bias" in (path := weight.path)} == {
        "conv_1/bias": (16,),
        "conv_2/bias": (16,),
        "dense_1/bias": (32,),
        "dense_2/bias": (32,),
    }


def test_a_pooled_convolution_is_that_of_the_plain_layers_to_the_last_bit() -> None:
    rng = np.random.default_rng(6)
    windows = rng.normal(size=(64, 12, 31, 2)).astype(np.float32)
    quick, plain = PooledConvolution(8, (3, 3), (2, 3)), layers.Conv2D(8, 3)
    convolved = plain(windows)
    quick(windows)
    bias = rng.normal(size=8).astype(np.float32)
    quick.set_weights([np.asarray(plain.kernel), bias])
    expected = layers.MaxPooling2D((2, 3))(tf.nn.relu(convolved + bias))
    np.testing.assert_array_equal(quick(windows), expected)
    assert 0.1 < np.mean(expected == 0) < 0.9


@pytest.mark.parametrize(("n_bands", "n_frames"), [(9, 216), (13, 13)])
def test_windows_too_small_for_the_reference_are_refused_with_the_way_out(n_bands: int, n_frames: int) -> None:
    with pytest.raises(ModelError, match=r"encoder 'reference': windows of .*\n.*'compact'"):
        reference(n_bands, n_frames)


@pytest.mark.parametrize("shape", [(8, 9, 1), (1, 1, 1), (13, 216, 3), (64, 44, 1), (128, 216, 1)])
def test_the_compact_encoder_takes_windows_of_any_size(shape: tuple[int, int, int]) -> None:
    embeddings = compact(*shape)(np.ones((2, *shape), np.float32))
    assert embeddings.shape[0] == 2
    assert np.isfinite(np.asarray(embeddings)).all()


def test_the_level_of_a_window_is_nothing_to_the_compact_encoder() -> None:
    network = compact(16, 24)
    windows = np.random.default_rng(0).normal(size=(2, 16, 24, 1)).astype(np.float32)
    np.testing.assert_allclose(network(windows + 3), network(windows), atol=1e-4)


def test_the_compact_encoder_tells_a_low_sound_from_a_high_one() -> None:
    network = compact(16, 24)
    windows = np.zeros((2, 16, 24, 1), np.float32)
    windows[0, 3], windows[1, 12] = 1.0, 1.0
    low, high = np.asarray(network(windows))
    assert np.abs(low - high).max() > 0.1 * np.abs(low).max()
