"""Summaries of songs, against plain NumPy on whole songs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from songbag_store import SongStore
from songbag_store.types import FloatWindows
from songbag_training.errors import ModelError
from songbag_training.songs.pieces import Piece, array_pieces
from songbag_training.summaries.statistics import SongSummaries, summaries, summarised, summary_names
from tests.support.labelled import SPEC


def named(row: np.ndarray, name: str) -> np.ndarray:
    names = summary_names(SPEC, "windows")
    return np.array([row[names.index(f"{name} of {number}")] for number in range(SPEC.window_shape[0])])


def test_they_are_the_statistics_of_the_windows(store: SongStore) -> None:
    songs = store.songs(arrow=True)
    found = summaries(store, songs)
    assert found.dtype == np.float32
    assert found.shape == (36, len(summary_names(SPEC, "windows")))
    for row, (_, windows) in zip(found, store.iter_windows(), strict=True):
        frames = windows.transpose(1, 0, 2).reshape(windows.shape[1], -1)
        wanted = {
            "mean": frames.mean(axis=1),
            "deviation": frames.std(axis=1),
            "deviation in a window": windows.std(axis=2).mean(axis=0),
            "step in a window": np.abs(np.diff(windows)).mean(axis=(0, 2)),
            "change in a window": np.diff(windows).std(axis=2).mean(axis=0),
            "slow change between windows": (windows[..., 4:] - windows[..., :-4]).std(axis=2).std(axis=0),
            "mean between windows": windows.mean(axis=2).std(axis=0),
            "quantile 0.5 in a window": np.sort(windows)[..., round(0.5 * 15)].mean(axis=0),
        }
        for name, own in wanted.items():
            np.testing.assert_allclose(named(row, name), own, rtol=1e-3, atol=2e-3, err_msg=name)


def test_the_index_gives_mean_and_deviation_without_reading_a_window(
    store: SongStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    songs = store.songs(arrow=True)
    of_windows = summaries(store, songs)
    monkeypatch.setattr(type(store.inside), "reader", None)
    # In any order of the songs.
    order = np.random.default_rng(0).permutation(36)
    np.testing.assert_allclose(
        summaries(store, songs.take(order), "index"), of_windows[order, :20], rtol=1e-4, atol=1e-3
    )


def test_the_size_of_the_pieces_does_not_matter() -> None:
    windows = np.random.default_rng(0).normal(0, 30, (23, *SPEC.window_shape)).astype(np.float32)
    stored = np.rint(windows * 16).astype(np.int16)
    whole, cut = (list(summarised(array_pieces("a", stored, size), SPEC, "windows")) for size in (50, 4))
    assert [song for song, _ in whole] == [song for song, _ in cut] == ["a"]
    np.testing.assert_allclose(whole[0][1], cut[0][1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_frames", [1, 2, 4])
def test_windows_of_few_frames_have_summaries_too(n_frames: int) -> None:
    spec = dataclasses.replace(SPEC, window_s=n_frames * 256 / 8000, window_hop_s=None)
    stored = np.ones((3, 10, spec.n_frames), np.int16)
    ((_, found),) = summarised(array_pieces("a", stored, 2), spec, "windows")
    assert found.shape == (len(summary_names(spec, "windows")),)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_a_song_whose_features_are_not_finite_is_named(value: float) -> None:
    windows: FloatWindows = np.full((1, *SPEC.window_shape), value, np.float32)
    spec = dataclasses.replace(SPEC, encoding="float32")
    with pytest.raises(ModelError, match="song 'a': its features are not finite"):
        list(summarised([Piece("a", windows, last=True)], spec, "windows"))


def test_summaries_that_are_remembered_are_those_that_are_read(
    store: SongStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    songs = store.songs(arrow=True)
    known = SongSummaries.remembered(store, songs, "windows")
    some = songs.take([5, 1, 30])
    read = summaries(store, some)
    monkeypatch.setattr(type(store.inside), "reader", None)
    np.testing.assert_array_equal(known.of(some), read)
