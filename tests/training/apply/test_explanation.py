"""What decided a prediction: evidence, and the answer without each window."""

from __future__ import annotations

import numpy as np
import pytest

from songbag_store import SongStore
from songbag_store.windows.spans import Span, Spans
from songbag_training.apply import explanation
from songbag_training.apply.explanation import SongExplanation, explain_score
from songbag_training.evaluation.score import SongScorer
from songbag_training.runs.run import Run
from songbag_training.songs.pieces import array_pieces, stored_pieces


@pytest.fixture(scope="module")
def scorer(run: Run) -> SongScorer:
    return SongScorer(run.load_model(), run.facts.song_task)


def of(scorer: SongScorer, store: SongStore, windows: np.ndarray) -> SongExplanation:
    return explain_score(scorer, *next(scorer.scored(array_pieces("made", windows, 4))), store.spec)


def test_a_window_turns_the_answer_if_the_song_without_it_has_another(scorer: SongScorer, store: SongStore) -> None:
    several = stored_pieces(store, store.songs("n_windows > 1", arrow=True).slice(0, 8), 512)
    for score, outputs in scorer.scored(several):
        one = explain_score(scorer, score, outputs, store.spec)
        assert one.n_tried == len(one.weights) == len(one.starts_s)
        answers = one.task.predicted(one.probabilities_without)
        assert (one.turning == (answers != one.predicted).any(axis=1)).all()
        assert one.evidence(int(one.answered[0])).sum() > 0
    # Two windows that say different things: the answer turns without the one that won.
    first, second = (store.inside.reader.read_all([span])[0][:1] for span in _spans(store, "folk/00", "rock/00"))
    both = of(scorer, store, np.concatenate([first, second]))
    alone = [of(scorer, store, window) for window in (first, second)]
    np.testing.assert_allclose(both.probabilities_without, [alone[1].probabilities, alone[0].probabilities], atol=1e-5)
    if (alone[0].predicted != alone[1].predicted).any():
        assert both.turning.sum() == 1


def _spans(store: SongStore, *names: str) -> list[Span]:
    return list(Spans.of(store.songs(ids=names, arrow=True)))


def test_the_only_window_of_a_song_is_not_left_out(scorer: SongScorer, store: SongStore) -> None:
    one = of(scorer, store, store.inside.reader.read_all(_spans(store, "folk/00"))[0][:1])
    assert (one.n_tried, one.turning.tolist()) == (0, [False])
    assert np.isnan(one.probabilities_without).all()


def test_of_a_long_song_the_heaviest_windows_are_tried(
    scorer: SongScorer, store: SongStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = np.concatenate(store.inside.reader.read_all(_spans(store, "folk/00", "folk/01", "jazz/00", "jazz/01")))
    whole = of(scorer, store, windows)
    monkeypatch.setattr(explanation, "MOST_TRIED", 2)
    some = of(scorer, store, windows)
    tried = np.isfinite(some.probabilities_without).all(axis=1)
    assert some.n_tried == tried.sum() == 2
    assert some.weights[tried].min() >= some.weights[~tried].max()
    np.testing.assert_allclose(some.probabilities_without[tried], whole.probabilities_without[tried], atol=1e-6)
