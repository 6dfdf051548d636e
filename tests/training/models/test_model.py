from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.writer import commit_change
from songbag_training import song_model
from songbag_training.errors import ModelError
from songbag_training.songs.scaling import scaling_statistics
from songbag_training.songs.task import Task

TASK = Task(("a", "b", "c"))


@pytest.fixture(scope="module", params=["compact", "dense", "reference", "spectral"])
def model(request: pytest.FixtureRequest, spec: FeatureSpec) -> keras.Model:
    keras.utils.set_random_seed(3)
    return song_model(spec, TASK, encoder=request.param)


@pytest.fixture
def windows(spec: FeatureSpec) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(-900, 900, (2, 6, *spec.window_shape)).astype(np.int16)


def _logits(model: keras.Model, windows: Any, mask: Any = None) -> Any:
    mask = np.ones(windows.shape[:2], np.float32) if mask is None else mask
    return np.asarray(model({"windows": windows, "mask": mask}, training=False))


def test_the_order_of_windows_does_not_matter(model: keras.Model, windows: Any) -> None:
    shuffled = windows[:, [3, 1, 5, 0, 2, 4]]
    np.testing.assert_allclose(_logits(model, windows), _logits(model, shuffled), atol=1e-5)


def test_a_masked_window_cannot_change_a_score(model: keras.Model, windows: Any) -> None:
    mask = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], np.float32)
    before = _logits(model, windows, mask)
    windows[0, 4:] = 32767
    np.testing.assert_allclose(_logits(model, windows, mask), before, atol=1e-5)


@pytest.mark.parametrize("n_padding", [1, 7])
def test_the_amount_of_padding_does_not_matter(model: keras.Model, windows: Any, n_padding: int) -> None:
    padded = np.pad(windows, ((0, 0), (0, n_padding), (0, 0), (0, 0)))
    mask = np.pad(np.ones((2, 6), np.float32), ((0, 0), (0, n_padding)))
    np.testing.assert_allclose(_logits(model, padded, mask), _logits(model, windows), atol=1e-5)


def test_a_song_of_one_window_scores_as_its_window(model: keras.Model, windows: Any) -> None:
    _, of_window = model.get_layer("window_network")(windows[:, 0], training=False)
    np.testing.assert_allclose(_logits(model, windows[:, :1]), np.asarray(of_window), atol=1e-5)


@pytest.mark.parametrize("encoding", ["int16", "float32"])
@pytest.mark.parametrize(("kind", "deltas"), [("mfcc", 2), ("logmel", 0)])
def test_models_fit_every_kind_of_features(spec: FeatureSpec, kind: Any, deltas: int, encoding: Any) -> None:
    own = dataclasses.replace(spec, kind=kind, deltas=deltas, encoding=encoding)
    logits = _logits(song_model(own, Task(("a", "b"))), np.ones((2, 3, *own.window_shape), encoding))
    assert logits.shape == (2, 1)


def test_normalisation_from_the_index_equals_that_of_the_windows(store: SongStore) -> None:
    songs = store.songs("label <> 'rock'", arrow=True)
    mean, std = scaling_statistics(store, songs["song_id"])
    values = np.concatenate([store.windows(song_id) for song_id in songs["song_id"].to_pylist()]).astype(np.float64)
    np.testing.assert_allclose(mean, values.mean(axis=(0, 2)), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(std, values.std(axis=(0, 2)), rtol=1e-5)


def test_a_coefficient_that_never_varies_is_not_divided_by_zero(tmp_path: Any, make_store: Any, spec: Any) -> None:
    windows = np.full((3, *spec.window_shape), -700.0, np.float32)
    store = make_store(tmp_path / "store", [{"song_id": "a", "label": "x", "windows": windows}])
    mean, std = scaling_statistics(store, store.songs(arrow=True)["song_id"])
    assert set(mean.tolist()) == {-700.0}
    assert set(std.tolist()) == {1.0}


def test_sums_missing_from_the_index_are_an_error(tmp_path: Any, make_store: Any, spec: Any) -> None:
    windows = np.zeros((3, *spec.window_shape), np.float32)
    store = make_store(tmp_path / "store", [{"song_id": "a", "label": "x", "windows": windows}])
    position = store.inside.state.content.schema.names.index("feature_sum")
    broken = store.index(arrow=True).set_column(
        position, "feature_sum", pa.nulls(1, store.inside.state.content.schema.field("feature_sum").type)
    )
    store = commit_change(store, lambda base: (broken, base.parts), note="test")
    with pytest.raises(ModelError, match="'feature_sum' has not 10 numbers a song"):
        scaling_statistics(store, pa.chunked_array([["a"]]))


def test_an_unknown_encoder_or_pooling_is_refused_with_those_there_are(spec: FeatureSpec) -> None:
    with pytest.raises(ModelError, match=r"no encoder 'huge'\.\n.*compact, dense, reference"):
        song_model(spec, TASK, encoder="huge")
    with pytest.raises(ModelError, match="no pooling 'sum'"):
        song_model(spec, TASK, pooling="sum")
