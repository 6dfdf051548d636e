"""Explanation of a prediction: what each window says, how much it counts, and what the song is without it."""

from __future__ import annotations

import dataclasses

import numpy as np

from songbag_store import FeatureSpec
from songbag_training.evaluation.predictions import SongScore, window_times
from songbag_training.evaluation.score import SongScorer, WindowOutputs
from songbag_training.songs.task import Task
from songbag_training.types import Bools, Floats, Ints

MOST_TRIED = 1000
"""Most windows of a song that are left out in turn: the time that this takes grows with all windows of the song."""


@dataclasses.dataclass(frozen=True, slots=True)
class SongExplanation:
    """What decided the prediction of one song.

    A weight says how much a window counted in the pooling; it is no cause. What the answer is without a window is in
    `probabilities_without`.

    Attributes
    ----------
    task : Task
        With the classes.
    probabilities : float64, shape (n_classes,)
    predicted : bool, shape (n_classes,)
        The answer: the classes of the song.
    starts_s, ends_s : float64, shape (N,)
        Of each window, in the song.
    weights : float64, shape (N,)
        They sum to 1.
    window_probabilities : float64, shape (N, n_classes)
        What a song of this window alone would have.
    probabilities_without : float64, shape (N, n_classes)
        What the song would have if the window were left out; NaN if that was not tried, because it is the only window,
        or there are more than `MOST_TRIED`.
    turning : bool, shape (N,)
        Windows without which the answer would be another.
    """

    song_id: str
    task: Task
    probabilities: Floats
    predicted: Bools
    starts_s: Floats
    ends_s: Floats
    weights: Floats
    window_probabilities: Floats
    probabilities_without: Floats
    turning: Bools

    @property
    def answered(self) -> Ints:
        """Numbers of the classes that are explained: the predicted ones, or the most probable if none is predicted."""
        named = np.flatnonzero(self.predicted)
        chosen = named if len(named) else np.array([self.probabilities.argmax()])
        return np.asarray(chosen[np.argsort(-self.probabilities[chosen], kind="stable")])

    @property
    def n_tried(self) -> int:
        """Number of windows that were left out in turn."""
        return int(np.isfinite(self.probabilities_without).all(axis=1).sum())

    def evidence(self, class_number: int) -> Floats:
        """Return the evidence of each window for a class, float64 of shape (N,): its weight times its probability."""
        return np.asarray(self.weights * self.window_probabilities[:, class_number])

    def names(self, predicted: Bools) -> str:
        """Return the names of predicted classes, as an answer is shown."""
        return ", ".join(self.task.classes[number] for number in np.flatnonzero(predicted)) or "no class"


def explain_score(scorer: SongScorer, score: SongScore, outputs: WindowOutputs, spec: FeatureSpec) -> SongExplanation:
    """Explain the score of one song, as `SongScorer.scored` yields it."""
    task, n_windows = scorer.task, len(score.weights)
    predicted = task.predicted(score.probabilities[None])[0]
    without = np.full((n_windows, len(task.classes)), np.nan)
    turning = np.zeros(n_windows, np.bool_)
    if n_windows > 1:
        tried = _likeliest(score)
        left_out = np.zeros((len(tried), n_windows), np.bool_)
        left_out[np.arange(len(tried)), tried] = True
        without[tried] = scorer.without(outputs, left_out)
        turning[tried] = (task.predicted(without[tried]) != predicted).any(axis=1)
    starts, ends = window_times(n_windows, spec)
    shares = score.window_probabilities
    return SongExplanation(
        score.song_id, task, score.probabilities, predicted, starts, ends, score.weights, shares, without, turning
    )


def _likeliest(score: SongScore) -> Ints:
    """Return the windows to leave out in turn: of the largest weight; of equal weight, those most unlike the song."""
    unlike = np.abs(score.window_probabilities - score.probabilities).max(axis=1)
    return np.asarray(np.lexsort((-unlike, -score.weights))[:MOST_TRIED])
