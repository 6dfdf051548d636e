"""Properties of every pooling, and each against its formula in float64."""

from __future__ import annotations

from typing import Any, get_args

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, log_softmax, softmax

from songbag_training.config import PoolingName
from songbag_training.models.poolings import POOLINGS, Pooling
from songbag_training.songs.task import Task

Array = np.ndarray[Any, Any]

TASKS = {"two classes": (1, True), "many classes": (5, True), "multi-label": (4, False)}
"""Number of logits, and whether classes exclude each other."""

E = 7


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2)


@pytest.fixture(scope="module", params=TASKS)
def task(request: pytest.FixtureRequest) -> tuple[int, bool]:
    return TASKS[request.param]


@pytest.fixture(scope="module", params=POOLINGS)
def pooling(request: pytest.FixtureRequest, task: tuple[int, bool]) -> Pooling:
    """Return a pooling whose weights, where it has any, are not the initial ones."""
    keras.utils.set_random_seed(4)
    layer = POOLINGS[request.param](exclusive=task[1])
    layer(np.zeros((1, 1, E)), np.zeros((1, 1, task[0])), np.ones((1, 1)))
    for number, weight in enumerate(layer.trainable_weights):
        weight.assign(np.random.default_rng(number).normal(0, 1.5, weight.shape))
    return layer


@pytest.fixture
def bag(rng: np.random.Generator, task: tuple[int, bool]) -> tuple[Array, Array]:
    """Return embeddings and logits of 3 bags of 6 windows."""
    return rng.normal(size=(3, 6, E)).astype(np.float32), rng.normal(0, 2, size=(3, 6, task[0])).astype(np.float32)


def _shares(logits: Any, task: tuple[int, bool]) -> Array:
    flat = np.asarray(logits).reshape(-1, task[0])
    classes = tuple("abcde"[: max(2, task[0])])
    return Task(classes, several=not task[1]).probabilities(flat)


def test_every_pooling_that_can_be_asked_for_is_there() -> None:
    assert set(POOLINGS) == set(get_args(PoolingName))


def test_the_order_of_windows_does_not_matter(pooling: Pooling, bag: Any) -> None:
    order = [3, 1, 5, 0, 2, 4]
    ones = np.ones((3, 6))
    song, weights = pooling(*bag, ones)
    shuffled, moved = pooling(*(values[:, order] for values in bag), ones)
    np.testing.assert_allclose(shuffled, song, atol=1e-5)
    np.testing.assert_allclose(moved, np.asarray(weights)[:, order], atol=1e-6)


def test_what_stands_in_a_masked_slot_does_not_matter(pooling: Pooling, bag: Any) -> None:
    mask = np.array([[1, 1, 1, 1, 1, 1], [0, 1, 1, 0, 1, 1], [0, 0, 0, 0, 1, 0]])
    before = pooling(*bag, mask)
    for garbage in (1e30, -1e30, np.nan, np.inf):
        for values in bag:
            values[mask == 0] = garbage
        for old, new in zip(before, pooling(*bag, mask), strict=True):
            np.testing.assert_array_equal(old, new)


def test_the_amount_of_padding_does_not_matter(pooling: Pooling, bag: Any) -> None:
    song, weights = pooling(*bag, np.ones((3, 6)))
    for n_padding in (1, 200):
        padding = ((0, 0), (0, n_padding), (0, 0))
        mask = np.pad(np.ones((3, 6)), padding[:2])
        padded, padded_weights = pooling(*(np.pad(values, padding) for values in bag), mask)
        np.testing.assert_allclose(padded, song, atol=1e-5)
        np.testing.assert_allclose(np.asarray(padded_weights)[:, :6], weights, atol=1e-6)


def test_a_bag_of_one_window_is_its_window(pooling: Pooling, bag: Any, task: tuple[int, bool]) -> None:
    song, weights = pooling(*(values[:, :1] for values in bag), np.ones((3, 1)))
    np.testing.assert_allclose(_shares(song, task), _shares(bag[1][:, 0], task), atol=1e-6)
    np.testing.assert_allclose(weights, 1, atol=1e-6)


def test_equal_windows_weigh_the_same(pooling: Pooling, bag: Any) -> None:
    _, weights = pooling(*(np.repeat(values[:, :1], 5, axis=1) for values in bag), np.ones((3, 5)))
    np.testing.assert_allclose(weights, 0.2, atol=1e-6)


def test_weights_are_shares_of_the_real_windows(pooling: Pooling, bag: Any) -> None:
    mask = np.array([[1, 1, 1, 1, 1, 1], [0, 1, 1, 0, 1, 1], [0, 0, 0, 0, 1, 0]])
    weights = np.asarray(pooling(*bag, mask)[1])
    assert weights.shape == (3, 6)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    assert (weights[mask == 0] == 0).all()


def _gradients(pooling: Pooling, bag: Any, mask: Array) -> tuple[Any, list[Array]]:
    embeddings, logits = (tf.Variable(values) for values in bag)
    with tf.GradientTape() as tape:
        song, weights = pooling(embeddings, logits, mask)
        loss = tf.reduce_sum(song**2) + tf.reduce_sum(weights**2)
    sources = [embeddings, logits, *(weight.value for weight in pooling.trainable_weights)]
    return (song, weights), [gradient.numpy() for gradient in tape.gradient(loss, sources) if gradient is not None]


def test_a_bag_without_a_real_window_has_finite_values_and_gradients(pooling: Pooling, bag: Any) -> None:
    mask = np.array([[0] * 6, [1, 1, 0, 0, 1, 1], [1] * 6])
    (song, weights), gradients = _gradients(pooling, bag, mask)
    assert not np.asarray(song)[0].any()
    assert not np.asarray(weights)[0].any()
    assert gradients
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_extreme_logits_have_finite_values_and_gradients(pooling: Pooling, rng: Any, task: tuple[int, bool]) -> None:
    signs = rng.choice([-1.0, 0.0, 1.0], size=(8, 6, task[0]))
    signs[0], signs[1], signs[2] = 1, -1, 0
    outer = rng.choice([-1.0, 1.0], size=(8, 6, E))
    for scale in (1e-3, 30.0, 1e4, 65504.0):
        bag = (outer * scale).astype(np.float32), (signs * scale).astype(np.float32)
        (song, weights), gradients = _gradients(pooling, bag, np.ones((8, 6)))
        assert np.isfinite(song).all()
        np.testing.assert_allclose(np.asarray(weights).sum(axis=1), 1, atol=1e-5)
        assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_half_precision_is_pooled_in_single(pooling: Pooling, bag: Any, task: tuple[int, bool]) -> None:
    half = tuple(values.astype(np.float16) for values in bag)
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        layer = type(pooling)(exclusive=task[1])
        song, weights = layer(*half, np.ones((3, 6)))
        layer.set_weights(pooling.get_weights())
        song, weights = layer(*half, np.ones((3, 6)))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert song.dtype == weights.dtype == "float32"
    expected = pooling(*(values.astype(np.float32) for values in half), np.ones((3, 6)))
    np.testing.assert_array_equal(song, expected[0])
    np.testing.assert_array_equal(weights, expected[1])


def test_a_bag_of_any_size_is_pooled_by_one_graph(pooling: Pooling, rng: np.random.Generator, task: Any) -> None:
    inputs = [keras.Input((None, E)), keras.Input((None, task[0])), keras.Input((None,))]
    model = keras.Model(inputs, list(pooling(*inputs)))
    for n_windows in (1, 4, 1000):
        sizes = ((2, n_windows, E), (2, n_windows, task[0]))
        bag = [rng.normal(size=size).astype(np.float32) for size in sizes]
        song, weights = model([*bag, np.ones((2, n_windows), np.float32)])
        assert song.shape == (2, task[0])
        np.testing.assert_allclose(np.asarray(weights).sum(axis=1), 1, atol=1e-5)


def test_layers_survive_keras_serialisation(pooling: Pooling, bag: Any) -> None:
    document = keras.saving.serialize_keras_object(pooling)
    again = keras.saving.deserialize_keras_object(document)
    again(*bag, np.ones((3, 6)))
    again.set_weights(pooling.get_weights())
    for old, new in zip(pooling(*bag, np.ones((3, 6))), again(*bag, np.ones((3, 6))), strict=True):
        np.testing.assert_array_equal(old, new)


def test_options_of_poolings_survive_keras_serialisation() -> None:
    for layer in (POOLINGS["lse"](sharpness=3.0), POOLINGS["gated-attention"](units=9, exclusive=False)):
        config = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer)).get_config()
        assert config == layer.get_config()


def _window_shares(logits: Array, task: tuple[int, bool]) -> Array:
    return softmax(logits, axis=1) if task[1] and task[0] > 1 else expit(logits)


def _song_shares(scores: Array, task: tuple[int, bool]) -> Array:
    """Return what the probabilities of a song follow from: with a softmax they are normalised."""
    return scores / scores.sum() if task[1] and task[0] > 1 else scores


def _formula(name: str, pooling: Any, embeddings: Array, logits: Array, task: tuple[int, bool]) -> tuple[Array, Array]:
    """Return the song's probabilities and the weight of each window for each class, by the book, in float64."""
    p, n = _window_shares(logits, task), len(logits)
    scores = log_softmax(logits, axis=1) if task[1] and task[0] > 1 else logits
    to_share = np.exp if task[1] and task[0] > 1 else expit
    if name == "max":
        return _song_shares(p.max(axis=0), task), (p == p.max(axis=0)).astype(float)
    if name == "lse":
        return _song_shares(to_share(np.log(np.exp(scores).mean(axis=0))), task), softmax(scores, axis=0)
    if name == "noisy-or":
        absent = np.log(1 - p)
        return _song_shares(1 - np.prod(1 - p, axis=0), task), absent / absent.sum(axis=0)
    if name in ("autopool", "linear-softmax"):
        weights = softmax(pooling.sharpness.numpy() * p, axis=0) if name == "autopool" else p / p.sum(axis=0)
        return _song_shares((weights * p).sum(axis=0), task), weights
    if name == "mean":
        weights = np.full((n, 1), 1 / n)
    else:
        hidden = np.tanh(embeddings @ pooling.content.numpy())
        if name == "gated-attention":
            hidden *= expit(embeddings @ pooling.gate.numpy())
        weights = softmax(hidden @ pooling.score.numpy(), axis=0)
    return _window_shares((weights * logits).sum(axis=0)[None], task)[0], weights


def test_each_pooling_is_its_formula(pooling: Pooling, bag: Any, task: tuple[int, bool]) -> None:
    name = next(name for name, kind in POOLINGS.items() if kind is type(pooling))
    song, weights = (np.asarray(values, np.float64) for values in pooling(*bag, np.ones((3, 6))))
    for row in range(3):
        embeddings, logits = (values[row].astype(np.float64) for values in bag)
        expected, by_class = _formula(name, pooling, embeddings, logits, task)
        shares = _window_shares(song[row][None], task)[0]
        np.testing.assert_allclose(shares, expected, rtol=2e-5)
        np.testing.assert_allclose(weights[row], (by_class * (expected / expected.sum())).sum(axis=1), rtol=1e-4)


@pytest.mark.parametrize("logit", [-80.0, -20.0, -3.0, 0.5, 12.0])
def test_noisy_or_keeps_its_precision_from_the_rarest_to_the_surest(logit: float) -> None:
    song, _ = POOLINGS["noisy-or"]()(np.zeros((1, 3, 1)), np.full((1, 3, 1), logit, np.float32), np.ones((1, 3)))
    total = 3 * np.log1p(np.exp(np.float64(logit)))
    np.testing.assert_allclose(np.asarray(song)[0, 0], total + np.log(-np.expm1(-total)), rtol=1e-5)


def test_one_sure_window_is_enough_for_noisy_or_and_not_for_the_mean() -> None:
    logits = np.full((1, 9, 1), -4.0, np.float32)
    logits[0, 3] = 8
    shares = {name: expit(np.asarray(POOLINGS[name]()(logits, logits, np.ones((1, 9)))[0])) for name in POOLINGS}
    assert shares["noisy-or"] > 0.99
    assert shares["max"] > 0.99
    assert shares["linear-softmax"] > 0.8
    assert shares["mean"] < 0.1


def test_autopool_begins_as_the_mean_of_probabilities(bag: Any, task: tuple[int, bool]) -> None:
    song, weights = POOLINGS["autopool"](exclusive=task[1])(*bag, np.ones((3, 6)))
    of_windows = _shares(bag[1], task).reshape(3, 6, -1)
    np.testing.assert_allclose(_shares(song, task), of_windows.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(weights, 1 / 6, atol=1e-6)
