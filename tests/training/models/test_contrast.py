from __future__ import annotations

import numpy as np

from songbag_training.models.contrast import ContrastAccuracy, ContrastLoss, contrast_model, told_apart
from tests.support.labelled import SPEC

LOGITS = np.array([[2.0, 1.0, 0.0], [3.0, 2.5, 0.0], [0.0, 0.0, -1.0]], np.float32)


def test_the_loss_is_the_cross_entropy_of_each_songs_own_second_window() -> None:
    loss = ContrastLoss(reduction=None)(np.array([4, 5, 6]), LOGITS)
    shares = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    np.testing.assert_allclose(loss, -np.log(np.diag(shares)), rtol=1e-5)
    assert told_apart(np.array([4, 5, 6]), LOGITS).numpy().tolist() == [1, 0, 0]


def test_copies_of_a_song_are_not_told_apart_from_it() -> None:
    loss = ContrastLoss(reduction=None)(np.array([7, 7, 6]), LOGITS)
    np.testing.assert_allclose(loss[1], np.log(np.exp(2.5) + 1) - 2.5, rtol=1e-5)
    accuracy = ContrastAccuracy()
    accuracy.update_state(np.array([7, 7, 6]), LOGITS)
    assert float(accuracy.result()) == np.float32(2 / 3)


def test_similarity_is_bilinear_and_of_the_first_window_to_every_second_one() -> None:
    model = contrast_model(SPEC, encoder="tests.support.nets:flat", size=4)
    rng = np.random.default_rng(0)
    windows = rng.integers(-300, 300, (5, 2, *SPEC.window_shape)).astype(np.int16)
    logits = model.predict_on_batch({"windows": windows, "mask": np.ones((5, 2), np.float32)})
    assert logits.shape == (5, 5)
    swapped = windows.copy()
    swapped[[0, 1], 1] = windows[[1, 0], 1]
    other = model.predict_on_batch({"windows": swapped, "mask": np.zeros((5, 2), np.float32)})
    np.testing.assert_allclose(other[:, [1, 0, 2, 3, 4]], logits, rtol=1e-5, atol=1e-5)
    similarity = model.get_layer("similarity")
    similarity.kernel.assign(2 * similarity.kernel)
    double = model.predict_on_batch({"windows": windows, "mask": np.ones((5, 2), np.float32)})
    np.testing.assert_allclose(double, 2 * logits, rtol=1e-4, atol=1e-5)
