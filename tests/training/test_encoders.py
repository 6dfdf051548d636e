from __future__ import annotations

import numpy as np
import pytest

from songbag_training import window_model
from songbag_training.encoders import compact, reference
from songbag_training.errors import ModelError


def test_the_reference_network_has_21075_parameters() -> None:
    model = window_model(n_bands=13, n_frames=216, n_classes=3)
    assert model.count_params() == 21_075
    assert model.output.shape == (None, 3)


def test_two_classes_have_one_unit() -> None:
    assert window_model(n_classes=2).output.shape == (None, 1)


def test_class_counts_of_numpy_are_taken() -> None:
    assert window_model(n_classes=np.int64(4)).output.shape == (None, 4)  # type: ignore[arg-type]


def test_one_class_is_refused() -> None:
    with pytest.raises(ModelError, match="1 classes"):
        window_model(n_classes=1)


def test_the_smallest_window_of_the_reference_works() -> None:
    assert reference(10, 14).output.shape == (None, 32)


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
