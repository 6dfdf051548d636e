"""`Linear`: logistic regression on standardised summaries, as a matrix and a vector."""

from __future__ import annotations

import dataclasses

import numpy as np

from songbag_training.songs.task import Task
from songbag_training.summaries.silence import silence
from songbag_training.types import FloatArray, Floats, Ints, Targets

_PENALTY = 0.1
_MOST_DIRECTIONS = 2000
_SMALLEST_SHARE = 1e-10
_MOST_STEPS = 300
_TOLERANCE = 1e-3
_UNKNOWN = -30.0
"""Logit of a class without a training song."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """Logits from summaries.

    Attributes
    ----------
    mean, scale : float32, shape (F,)
        Of the training songs.
    weights : float32, shape (F, L)
    bias : float32, shape (L,)
    """

    mean: FloatArray
    scale: FloatArray
    weights: FloatArray
    bias: FloatArray

    def logits(self, summaries: FloatArray) -> Floats:
        """Return the logits of songs, shape (S, L)."""
        standard = (summaries.astype(np.float64) - self.mean) / self.scale
        return np.asarray(standard @ self.weights.astype(np.float64) + self.bias)


def fit_linear(summaries: FloatArray, targets: Targets, task: Task, weights: Floats | None, seed: int) -> Linear:
    """Fit a linear model.

    The summaries are standardised, turned to their principal directions, and directions of more than the mean variance
    are shrunk to it: half way to whitening. So what many summaries say alike counts little more than what one says.

    Parameters
    ----------
    summaries : float32, shape (n, F)
    targets : Targets
    task : Task
    weights : float64, shape (n, L), optional
        How much each song counts for each logit.
    seed : int
        Of the search for directions, if there are more than 2,000.
    """
    values = summaries.astype(np.float64)
    mean, scale = values.mean(axis=0), values.std(axis=0)
    scale[scale <= 1e-6 * np.maximum(np.abs(mean), 1e-6)] = 1.0
    mean, scale = mean.astype(np.float32), scale.astype(np.float32)
    values = (values - mean) / scale
    turn = _directions(values, seed)
    turned = values @ turn
    coefficients, bias = _logistic(turned, targets, task, weights)
    return Linear(mean, scale, (turn @ coefficients).astype(np.float32), bias.astype(np.float32))


def _directions(values: Floats, seed: int) -> Floats:
    """Return the matrix to shrunk principal directions, shape (F, k)."""
    n, n_summaries = values.shape
    if min(n, n_summaries) > _MOST_DIRECTIONS:
        from sklearn.utils.extmath import randomized_svd

        _, sizes, axes = randomized_svd(values, _MOST_DIRECTIONS, random_state=seed)
        variances, turn = sizes**2 / n, axes.T
    elif n < n_summaries:
        variances, of_songs = np.linalg.eigh(values @ values.T / n)
        known = variances > _SMALLEST_SHARE * max(variances[-1], 1e-300)
        variances = variances[known]
        turn = values.T @ of_songs[:, known] / np.sqrt(variances * n)
        if not known.any():  # songs that are all alike: only how common the classes are can be learned
            variances, turn = np.zeros(1), np.zeros((n_summaries, 1))
    else:
        variances, turn = np.linalg.eigh(values.T @ values / n)
    return np.asarray(turn / np.sqrt(np.maximum(variances, 0.0) + 1.0))


def _logistic(values: Floats, targets: Targets, task: Task, weights: Floats | None) -> tuple[Floats, Floats]:
    """Return weights, shape (k, L), and bias, shape (L,), of logistic regression."""
    n_logits = task.n_logits
    coefficients, bias = np.zeros((values.shape[1], n_logits)), np.zeros(n_logits)
    if task.several:
        for number in range(n_logits):
            own = None if weights is None else weights[:, number]
            coefficients[:, number], bias[number] = _yes_or_no(values, targets[:, number] > 0, own)
    elif n_logits == 1:
        own = None if weights is None else weights[:, 0]
        coefficients[:, 0], bias[0] = _yes_or_no(values, targets > 0, own)
    else:
        known = np.unique(targets)
        bias[np.setdiff1d(np.arange(n_logits), known)] = _UNKNOWN
        if len(known) > 1:
            own = None if weights is None else weights[:, 0]
            coefficients[:, known], bias[known] = _one_of(values, targets, own)
    return coefficients, bias


def _yes_or_no(values: Floats, yes: np.ndarray, weights: Floats | None) -> tuple[Floats, float]:
    """Return weights and bias of one logit; without songs of both kinds it is the same for all songs."""
    n, n_yes = len(yes), int(yes.sum())
    if not 0 < n_yes < n:
        return np.zeros(values.shape[1]), float(np.log((n_yes + 0.5) / (n - n_yes + 0.5)))
    coefficients, bias = _fitted(values, yes.astype(np.int64), weights)
    return coefficients[0], float(bias[0])


def _one_of(values: Floats, targets: Ints, weights: Floats | None) -> tuple[Floats, Floats]:
    """Return weights and bias of the logits of the classes that occur."""
    coefficients, bias = _fitted(values, targets, weights)
    if len(bias) == 1:  # of two classes
        coefficients, bias = np.concatenate([coefficients * 0, coefficients]), np.concatenate([bias * 0, bias])
    return coefficients.T, bias


def _fitted(values: Floats, targets: Ints, weights: Floats | None) -> tuple[Floats, Floats]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=_PENALTY, max_iter=_MOST_STEPS, tol=_TOLERANCE)
    with silence():
        model.fit(values, targets, weights)
    return np.asarray(model.coef_, np.float64), np.asarray(model.intercept_, np.float64)
