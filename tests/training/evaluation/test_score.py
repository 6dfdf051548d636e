from __future__ import annotations

import logging
from collections.abc import Iterator

import keras
import numpy as np
import pytest

from songbag_store import SongStore
from songbag_store.windows.spans import Spans
from songbag_training import song_model
from songbag_training.evaluation.predictions import window_times
from songbag_training.evaluation.score import SongScorer
from songbag_training.models.poolings import POOLINGS
from songbag_training.songs.pieces import Piece, array_pieces, stored_pieces
from songbag_training.songs.task import Task

TASK = Task(("folk", "jazz", "rock"))


@pytest.fixture(scope="module")
def model(store: SongStore) -> keras.Model:
    keras.utils.set_random_seed(0)
    return song_model(store.spec, TASK)


def test_a_song_is_scored_as_by_the_model_on_all_its_windows_at_once(store: SongStore, model: keras.Model) -> None:
    songs = store.songs(arrow=True)
    scores = list(SongScorer(model, TASK).score(stored_pieces(store, songs, 512)))
    assert [score.song_id for score in scores] == songs["song_id"].to_pylist()
    for score, windows in zip(scores, store.inside.reader.read_all(Spans.of(songs)), strict=True):
        logits = model({"windows": windows[None], "mask": np.ones((1, len(windows)))}, training=False)
        np.testing.assert_allclose(score.probabilities, TASK.probabilities(logits)[0], atol=1e-6)
        np.testing.assert_allclose(score.weights, 1 / len(windows), atol=1e-6)
        np.testing.assert_allclose(score.window_probabilities.sum(axis=1), 1)


def test_many_scorers_in_one_process_are_no_reason_for_a_warning(
    store: SongStore, model: keras.Model, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as those of `songbag.explain` for one song after the other."""
    songs = store.songs(where="label = 'jazz'", arrow=True).slice(0, 1)
    logger = logging.getLogger("tensorflow")
    logger.addHandler(caplog.handler)
    try:
        for _ in range(8):
            scorer = SongScorer(model, Task(("folk", "jazz", "rock")))
            (found,) = list(scorer.scored(stored_pieces(store, songs, 4)))
            scorer.without(found[1], np.eye(len(found[0].weights), dtype=np.bool_))
    finally:
        logger.removeHandler(caplog.handler)
    assert "retracing" not in caplog.text


@pytest.mark.parametrize("chunk_windows", [1, 3, 7, 50])
def test_the_size_of_the_chunks_does_not_matter(store: SongStore, model: keras.Model, chunk_windows: int) -> None:
    songs = store.songs(arrow=True)
    whole, cut = SongScorer(model, TASK), SongScorer(model, TASK)
    cut.chunk_windows = chunk_windows
    expected = [score.probabilities for score in whole.score(stored_pieces(store, songs, 512))]
    scored = [score.probabilities for score in cut.score(stored_pieces(store, songs, chunk_windows))]
    np.testing.assert_allclose(scored, expected, atol=1e-6)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_sees_all_windows_of_a_song_at_once(store: SongStore, pooling: str, several: bool) -> None:
    task = Task(TASK.classes, several)
    keras.utils.set_random_seed(1)
    model = song_model(store.spec, task, encoder="tests.support.nets:flat", pooling=pooling)
    songs = store.songs("n_windows > 3 and song_id like 'jazz/0%'", arrow=True).slice(0, 3)
    scorer = SongScorer(model, task)
    scores = list(scorer.scored(stored_pieces(store, songs, 3)))
    assert len(scores) == 3
    for (score, outputs), windows in zip(scores, store.inside.reader.read_all(Spans.of(songs)), strict=True):
        logits = model({"windows": windows[None], "mask": np.ones((1, len(windows)))}, training=False)
        np.testing.assert_allclose(score.probabilities, task.probabilities(logits)[0], atol=1e-5)
        assert score.weights.shape == (len(windows),)
        np.testing.assert_allclose(score.weights.sum(), 1, atol=1e-5)
        assert score.window_probabilities.shape == (len(windows), 3)
        if not several:
            np.testing.assert_allclose(score.window_probabilities.sum(axis=1), 1)
        # Without its second window it is the song of the others, and without any it is none.
        left_out = np.zeros((3, len(windows)), np.bool_)
        left_out[1, 1], left_out[2] = True, True
        others = model({"windows": np.delete(windows, 1, 0)[None], "mask": np.ones((1, len(windows) - 1))})
        expected = np.stack([score.probabilities, task.probabilities(others)[0], np.full(3, np.nan)])
        np.testing.assert_allclose(scorer.without(outputs, left_out), expected, atol=1e-5)


def test_a_song_is_never_held_as_a_whole(store: SongStore, model: keras.Model) -> None:
    scorer = SongScorer(model, TASK)
    under_way = 0

    def endless() -> Iterator[Piece]:
        nonlocal under_way
        windows = np.zeros((scorer.chunk_windows, *store.spec.window_shape), np.int16)
        for _ in range(4):
            under_way += 1
            yield Piece("long", windows, False)

    sizes = [sum(len(piece.windows) for piece in chunk) for chunk in scorer._chunks(endless())]
    assert sizes == [scorer.chunk_windows] * 4


def test_pieces_of_an_array_outlive_it() -> None:
    windows = np.arange(10, dtype=np.int16).reshape(10, 1, 1)
    pieces = list(array_pieces("a", windows, 4))
    windows[:] = 0
    assert [piece.windows.ravel().tolist() for piece in pieces] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [piece.last for piece in pieces] == [False, False, True]


def test_windows_start_a_hop_apart(store: SongStore) -> None:
    starts, ends = window_times(3, store.spec)
    assert starts.tolist() == [0.0, 0.25, 0.5]
    assert ends.tolist() == [0.5, 0.75, 1.0]


def test_every_window_goes_through_the_network_once_and_none_is_padding(store: SongStore, model: keras.Model) -> None:
    songs = store.songs(arrow=True)
    scorer = SongScorer(model, TASK)
    scorer.chunk_windows = 16
    network, chunks = scorer._network, []

    def counting(windows: np.ndarray) -> object:
        chunks.append(len(windows))
        return network(windows)

    scorer._network = counting
    assert len(list(scorer.score(stored_pieces(store, songs, 16)))) == songs.num_rows
    assert sum(chunks) == sum(songs["n_windows"].to_pylist())
    assert max(chunks) <= 16
    assert len(chunks) < songs.num_rows
