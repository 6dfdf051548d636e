"""`Trees`: extra trees as arrays. scikit-learn fits them; NumPy evaluates them.

P. Geurts, D. Ernst, L. Wehenkel, "Extremely randomized trees", Machine Learning 63, 2006.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from songbag_store.machine import n_cores
from songbag_training.songs.task import Task
from songbag_training.summaries.silence import silence
from songbag_training.types import FloatArray, Floats, Ints, Targets

Numbers = npt.NDArray[np.int32]
Tensors = dict[str, npt.NDArray[Any]]

TREES = "trees/"
"""What the names of the arrays in a file begin with."""

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

    def tensors(self) -> Tensors:
        """Return all arrays by their names in a file."""
        return {f"{TREES}{name}": getattr(self, name) for name in _fields()}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, npt.NDArray[Any]], n_summaries: int, n_classes: int) -> Self:
        """Return the trees whose arrays these are.

        Raises
        ------
        ValueError
            If they are not those of trees on so many summaries, for so many classes.
        """
        if tensors.keys() != {f"{TREES}{name}" for name in _fields()}:
            raise ValueError("the arrays are not those of trees")
        trees = cls(**{name: tensors[f"{TREES}{name}"] for name in _fields()})
        _check(trees, n_summaries, n_classes)
        return trees

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


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Trees as rows of two tables, to be followed by looking up rows alone.

    Attributes
    ----------
    nodes : float32, shape (n_nodes, 5)
        Which summary a node asks for, the threshold, the next node on either side, and the row of a leaf in `leaves`.
        A leaf leads to itself. Numbers below 2 ** 24 are whole in float32.
    leaves : float32, shape (n_kinds, n_classes)
        The shares of the classes in leaves; equal ones are one row.
    roots : int32, shape (1, n_trees)
    depth : int
        Steps from a root to the deepest leaf.
    """

    nodes: FloatArray
    leaves: FloatArray
    roots: Numbers
    depth: int

    @classmethod
    def of(cls, trees: Trees, n_classes: int) -> Table:
        """Return the tables of trees."""
        from scipy.sparse import csr_array

        is_leaf, itself = trees.feature == _LEAF, np.arange(len(trees.feature))
        shares = csr_array((trees.shares, trees.classes, trees.starts), shape=(len(itself), n_classes))
        leaves, kinds = np.unique(shares[np.flatnonzero(is_leaf)].toarray(), axis=0, return_inverse=True)
        row = np.zeros(len(itself))
        row[is_leaf] = kinds.ravel()
        sides = [np.where(is_leaf, itself, side) for side in (trees.left, trees.right)]
        columns = [np.maximum(trees.feature, 0), trees.threshold, *sides, row]
        nodes, depth = trees.roots, 0
        while len(nodes := nodes[~is_leaf[nodes]]):
            nodes, depth = np.concatenate([side[nodes] for side in sides]), depth + 1
        return cls(np.stack(columns, axis=1).astype(np.float32), leaves.astype(np.float32), trees.roots[None], depth)


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
    with silence():
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


def require_fit(fits: object, name: str) -> None:
    """Refuse an array that does not belong to the others."""
    if not fits:
        raise ValueError(f"the array {name!r} does not fit the others or run.json")


def _fields() -> list[str]:
    return [field.name for field in dataclasses.fields(Trees)]


def _check(trees: Trees, n_summaries: int, n_classes: int) -> None:
    """Refuse nodes that lead outside the arrays, or back: prediction would fail, or never end."""
    n, kinds = len(trees.feature), {"threshold": np.float32, "shares": np.float32, "starts": np.int64}
    lengths = {"roots": len(trees.roots), "starts": n + 1, "classes": len(trees.classes), "shares": len(trees.classes)}
    for name in _fields():
        own = getattr(trees, name)
        fits = own.shape == (lengths.get(name, n),) and own.dtype == kinds.get(name, np.int32)
        require_fit(fits, f"trees/{name}")
    inner = np.flatnonzero(trees.feature != -1)
    for name in ("left", "right"):
        own = getattr(trees, name)[inner]
        require_fit(((own > inner) & (own < n)).all(), f"trees/{name}")
    require_fit(((trees.feature >= -1) & (trees.feature < n_summaries)).all(), "trees/feature")
    require_fit(len(trees.roots) and ((trees.roots >= 0) & (trees.roots < n)).all(), "trees/roots")
    require_fit(((trees.classes >= 0) & (trees.classes < n_classes)).all(), "trees/classes")
    ascends = (np.diff(trees.starts) >= 0).all()
    require_fit(ascends and trees.starts[0] == 0 and trees.starts[-1] == len(trees.classes), "trees/starts")
