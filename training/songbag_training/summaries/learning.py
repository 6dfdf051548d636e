"""The fitting of a predictor, and the choice of its learner on parts of the training songs."""

from __future__ import annotations

import numpy as np

from songbag_training.config import BaselineConfig
from songbag_training.songs.task import Task
from songbag_training.summaries.linear import fit_linear
from songbag_training.summaries.predictor import LEARNERS, Chosen, Predictor
from songbag_training.summaries.trees import Trees, fit_trees
from songbag_training.types import FloatArray, Floats, Ints, Targets

N_PARTS = 3
"""Parts of the training songs, each of which is predicted by what the others teach."""

MOST_SONGS = 10_000
"""Training songs that a baseline learns from; of more it draws so many."""

N_TREES = 200
_TREES_OF_PARTS = 50

Scores = dict[Chosen, float]
"""Share of right answers of each learner."""


def fit(
    summaries: FloatArray,
    targets: Targets,
    task: Task,
    config: BaselineConfig,
    learner: Chosen,
    n_trees: int = N_TREES,
    trees: Trees | None = None,
) -> Predictor:
    """Fit a linear model and trees.

    Parameters
    ----------
    summaries : float32, shape (n, F)
        Of the training songs.
    targets : Targets
    task : Task
    config : BaselineConfig
        Its seed and its class weights.
    learner : str
        Whose probabilities are to count.
    n_trees : int
    trees : Trees, optional
        Those that `trees_on` fitted to the same.
    """
    linear = fit_linear(summaries, targets, task, _weights(task, targets, config), config.seed)
    own = trees or trees_on(summaries, targets, task, config, n_trees)
    return Predictor(task, learner, config.summaries, linear, own)


def trees_on(
    summaries: FloatArray, targets: Targets, task: Task, config: BaselineConfig, n_trees: int = N_TREES
) -> Trees:
    """Fit trees alone; see `fit`."""
    return fit_trees(summaries, targets, task, _weights(task, targets, config), n_trees, config.seed)


def choose(
    summaries: FloatArray, targets: Targets, task: Task, config: BaselineConfig, parts: Ints
) -> tuple[Chosen, Scores]:
    """Return the learner with most right answers on the parts, and the shares of right answers.

    Of equal ones it is the one with the lowest log loss.

    Parameters
    ----------
    parts : int64, shape (n,)
        The part of each song, from 0.
    """
    found: dict[Chosen, Floats] = {name: np.full((len(targets), len(task.classes)), np.nan) for name in LEARNERS}
    for part in np.unique(parts):
        own, others = parts == part, parts != part
        if others.any():
            fitted = fit(summaries[others], targets[others], task, config, "mean", _TREES_OF_PARTS)
            for name, values in fitted.of_learners(summaries[own]).items():
                found[name][own] = values
    known = ~np.isnan(found["mean"]).any(axis=1)
    if not known.any():
        return "mean", {}
    scores = {name: float(task.right(targets[known], values[known]).mean()) for name, values in found.items()}
    losses = {name: float(task.losses(targets[known], values[known]).mean()) for name, values in found.items()}
    return max(LEARNERS, key=lambda name: (scores[name], -losses[name])), scores


def drawn(members: tuple[Ints, Ints], n: int, seed: int) -> Ints:
    """Return the rows of the songs that are learned from: at most 10,000, and a song of each class.

    Parameters
    ----------
    members : tuple of two int64 arrays
        Every pair of a song and one of its classes.
    n : int
        All training songs.
    """
    if n <= MOST_SONGS:
        return np.arange(n)
    rows, numbers = members
    order = np.random.default_rng(seed).permutation(n)
    position = np.empty(n, np.int64)
    position[order] = np.arange(n)
    # The first song of each class in the order, then the others.
    first = np.lexsort((position[rows], numbers))
    first = rows[first[np.unique(numbers[first], return_index=True)[1]]]
    chosen = np.concatenate([first, order])
    _, at = np.unique(chosen, return_index=True)
    return np.sort(chosen[np.sort(at)][: max(MOST_SONGS, len(np.unique(first)))])


def _weights(task: Task, targets: Targets, config: BaselineConfig) -> Floats | None:
    """Return how much each song counts for each logit, shape (n, L), if all classes are to count alike."""
    if config.class_weight != "balanced":
        return None
    own = task.balanced_weights(targets).astype(np.float64)
    if task.several:
        return np.where(task.members(targets), own[:, 1], own[:, 0])
    return own[targets][:, None]
