"""`Trees`: extra trees as arrays. scikit-learn fits them; NumPy evaluates them.

P. Geurts, D. Ernst, L. Wehenkel, "Extremely randomized trees", Machine Learning 63, 2006.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from songbag_store.machine import n_cores
from songbag_training.songs.task import Task
from songbag_training.types import FloatArray, Floats, Ints, Targets

Numbers = npt.NDArray[np.int32]

_LEAF = -1
_AT_ONCE = 500_000
_SMALL = 10_000_000
_MOST_NUMBERS = 50_000_000


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """All nodes of all trees, one after the other.

    Attributes
    ----------
    feature : int32, shape (n_nodes,)
        Which summary a node asks for; -1 for a leaf.
    threshold : float32, shape (n_nodes,)
        A song goes left if its summary is at most this.
    left, right : int32, shape (n_nodes,)
        The next node.
    roots : int32, shape (n_trees,)
        The first node of each tree.
    starts : int64, shape (n_nodes + 1,)
        The entries of node i in `classes` and `shares` are those from ``starts[i]`` to ``starts[i + 1]``.
    classes : int32, shape (n_entries,)
    shares : float32, shape (n_entries,)
        Of the training songs in a leaf, how many are of the class.
    """

    feature: Numbers
    threshold: FloatArray
    left: Numbers
    right: Numbers
    roots: Numbers
    starts: Ints
    classes: Numbers
    shares: FloatArray

    def probabilities(self, summaries: FloatArray, n_classes: int) -> Floats:
        """Return the mean of the leaves that songs come to, shape (S, n_classes).

        Memory holds half a million numbers of nodes at a time.
        """
        from scipy.sparse import csr_array

        n_nodes, n_trees = len(self.feature), len(self.roots)
        shares = csr_array((self.shares.astype(np.float64), self.classes, self.starts), shape=(n_nodes, n_classes))
        found = np.empty((len(summaries), n_classes))
        at_once = max(1, _AT_ONCE // n_trees)
        for first in range(0, len(summaries), at_once):
            leaves = self._leaves(summaries[first : first + at_once])
            starts = np.arange(0, leaves.size + 1, n_trees)
            one = csr_array((np.ones(leaves.size), leaves.ravel(), starts), shape=(len(leaves), n_nodes))
            found[first : first + at_once] = (one @ shares).toarray() / n_trees
        return found

    def _leaves(self, summaries: FloatArray) -> Numbers:
        """Return the leaf that each song comes to in each tree, shape (S, n_trees)."""
        n_trees = len(self.roots)
        nodes = np.tile(self.roots, len(summaries))
        going = np.flatnonzero(self.feature[nodes] != _LEAF)
        while len(going):
            own = nodes[going]
            values = summaries[going // n_trees, self.feature[own]]
            nodes[going] = np.where(values <= self.threshold[own], self.left[own], self.right[own])
            going = going[self.feature[nodes[going]] != _LEAF]
        return nodes.reshape(-1, n_trees)


def fit_trees(
    summaries: FloatArray, targets: Targets, task: Task, weights: Floats | None, n_trees: int, seed: int
) -> Trees:
    """Fit extra trees with scikit-learn, which gives the same trees for the same seed with any number of cores.

    Parameters
    ----------
    summaries : float32, shape (n, F)
    targets : Targets
    task : Task
    weights : float64, shape (n, L), optional
        How much each song counts for each logit; a tree takes the mean over the logits.
    """
    own = None if weights is None else weights.mean(axis=1)
    # scikit-learn keeps a number for each node and class, of all trees of a forest.
    at_once = int(np.clip(_MOST_NUMBERS // (2 * len(summaries) * len(task.classes)), 1, n_trees))
    states = np.random.RandomState(seed)
    parts = []
    for first in range(0, n_trees, at_once):
        n = min(at_once, n_trees - first)
        parts.append(as_arrays(forest_of(summaries, targets, own, n, int(states.randint(2**31 - 1))), task))
    return _together(parts)


def forest_of(summaries: FloatArray, targets: Targets, weights: Floats | None, n_trees: int, seed: int) -> Any:
    """Return the forest that scikit-learn fits."""
    from sklearn.ensemble import ExtraTreesClassifier

    threads = 1 if summaries.size * n_trees < _SMALL else n_cores()
    forest = ExtraTreesClassifier(n_trees, max_features="sqrt", random_state=seed, n_jobs=threads)
    forest.fit(summaries, targets.astype(np.int64), sample_weight=weights)
    return forest


def as_arrays(forest: Any, task: Task) -> Trees:
    """Return a forest of scikit-learn as arrays."""
    return _together([_of_tree(one.tree_, forest.classes_, task) for one in forest.estimators_])


def _of_tree(tree: Any, classes: Any, task: Task) -> Trees:
    is_leaf = tree.children_left == _LEAF
    shares = _shares(tree.value, classes, task)
    shares[~is_leaf] = 0.0
    nodes, own = np.nonzero(shares)
    return Trees(
        np.where(is_leaf, _LEAF, tree.feature).astype(np.int32),
        _rounded_down(tree.threshold),
        tree.children_left.astype(np.int32),
        tree.children_right.astype(np.int32),
        np.zeros(1, np.int32),
        np.searchsorted(nodes, np.arange(tree.node_count + 1)).astype(np.int64),
        own.astype(np.int32),
        shares[nodes, own].astype(np.float32),
    )


def _together(parts: list[Trees]) -> Trees:
    """Return the trees of all parts as one value."""
    nodes = np.cumsum([0, *(len(part.feature) for part in parts)])[:-1].tolist()
    entries = np.cumsum([0, *(len(part.classes) for part in parts)]).tolist()

    def moved(name: str) -> Numbers:
        own = (
            np.where(values == _LEAF, _LEAF, values + first) for values, first in zip(all_of(name), nodes, strict=True)
        )
        return np.concatenate([*own]).astype(np.int32)

    def all_of(name: str) -> list[Any]:
        return [getattr(part, name) for part in parts]

    starts = [part.starts[:-1] + first for part, first in zip(parts, entries[:-1], strict=True)]
    return Trees(
        np.concatenate(all_of("feature")),
        np.concatenate(all_of("threshold")),
        moved("left"),
        moved("right"),
        moved("roots"),
        np.concatenate([*starts, entries[-1:]]),
        np.concatenate(all_of("classes")),
        np.concatenate(all_of("shares")),
    )


def _shares(value: Floats, classes: Any, task: Task) -> Floats:
    """Return the share of each class in the nodes of a tree, shape (n_nodes, n_classes)."""
    value = value / np.maximum(value.sum(axis=-1, keepdims=True), 1e-300)
    found = np.zeros((len(value), len(task.classes)))
    if not task.several:
        found[:, classes] = value[:, 0]
        return found
    for number, own in enumerate(classes):
        yes = np.flatnonzero(np.asarray(own) == 1)
        if len(yes):
            found[:, number] = value[:, number, yes[0]]
    return found


def _rounded_down(thresholds: Floats) -> FloatArray:
    """Return thresholds as float32, so that the same float32 numbers are at most the threshold."""
    near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)
