"""`Task`: what is learned, one class for each song or several. It encodes labels and reads predictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from songbag_store.terminal import plain_text
from songbag_store.words import counted
from songbag_training.errors import ModelError
from songbag_training.types import Bools, Floats, Ints, Label, Targets, TaskName

THRESHOLD = 0.5
"""If a song may be of several classes, those more probable than this are predicted."""

_CLASSES_SHOWN = 8
_SMALLEST_PROBABILITY = 1e-15
_SMALLEST_COST = 1e-300
_EQUAL_COSTS = 1e-12


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """The classes, and whether a song is of exactly one of them or of any number.

    One of two classes has one logit, that of the second class, and a sigmoid. One of more classes has a logit for each
    class and a softmax. Any number of classes has a logit and a sigmoid for each class.

    Targets are labels as numbers: the class of each song, int64, shape (n,); or, with `several`, 1 for each class of
    the song and 0 for the others, float32, shape (n, n_classes). An answer is the prediction for a song, or, with
    `several`, for a song and a class.

    Attributes
    ----------
    classes : tuple of str
        Every class once, in the order of the model's outputs.
    several : bool
        Whether a song may be of any number of classes.
    thresholds : tuple of float
        What is predicted, if it is not the most probable class, or every class above 1/2: with `several`, each class
        whose probability is above its threshold; of two classes, the second one if its probability is above its
        threshold, otherwise the first. Otherwise empty.
    costs : tuple of tuple of float
        What each mistake costs, a row for each true class and a column for each predicted one: the class of least
        expected cost is predicted. Otherwise empty.
    """

    classes: tuple[str, ...]
    several: bool = False
    thresholds: tuple[float, ...] = ()
    costs: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def named(cls, name: TaskName, classes: Iterable[str]) -> Self:
        """Return the task that has this name in `run.json`."""
        return cls(tuple(classes), name == "multi-label")

    @property
    def plain(self) -> Self:
        """The task without thresholds and costs."""
        return dataclasses.replace(self, thresholds=(), costs=())

    @property
    def name(self) -> TaskName:
        """The name in `run.json`."""
        return "multi-label" if self.several else "single-label"

    @property
    def rule(self) -> str:
        """What is predicted, in words."""
        if self.costs:
            return "the class of least expected cost"
        if not self.thresholds:
            return "every class above 0.5" if self.several else "the most probable class"
        named = [f"{plain_text(name)} {own:.3g}" for name, own in zip(self.classes, self.thresholds, strict=True)]
        if not self.several:
            first, second = map(plain_text, self.classes)
            return f"{second} above {self.thresholds[1]:.3g}, otherwise {first}"
        more = f", ... ({counted(len(named), 'class')})" if len(named) > _CLASSES_SHOWN else ""
        return f"every class above its threshold: {', '.join(named[:_CLASSES_SHOWN])}{more}"

    @property
    def n_logits(self) -> int:
        """Number of units of the head.

        Raises
        ------
        ModelError
            If there are fewer than two classes.
        """
        n = len(self.classes)
        if n < 2:
            raise ModelError(f"{counted(n, 'class')} cannot be told apart; it takes two", place="model")
        return n if self.several or n > 2 else 1

    @property
    def softmax(self) -> bool:
        """Whether probabilities come from a softmax over the logits instead of a sigmoid of each."""
        return not self.several and self.n_logits > 1

    @property
    def ranked(self) -> range:
        """Numbers of the classes that rankings are told of: all; of two that exclude each other the second alone."""
        n = len(self.classes)
        return range(1 if n == 2 and not self.several else 0, n)

    @property
    def label_type(self) -> pa.DataType:
        """Type of a column of labels."""
        return pa.list_(pa.string()) if self.several else pa.string()

    def pairs(self, labels: Sequence[Label]) -> tuple[Ints, Ints]:
        """Return every pair of a song and one of its classes: rows, ascending, and numbers of classes.

        Raises
        ------
        KeyError
            If a label is none of the classes.
        """
        number: dict[Label, int] = {name: position for position, name in enumerate(self.classes)}
        names = chain.from_iterable(labels) if self.several else labels
        numbers = np.fromiter(map(number.__getitem__, names), np.int64)
        if not self.several:
            return np.arange(len(numbers)), numbers
        return np.repeat(np.arange(len(labels)), np.fromiter(map(len, labels), np.int64, len(labels))), numbers

    def encode(self, labels: Sequence[Label]) -> Targets:
        """Return labels as targets.

        Raises
        ------
        KeyError
            If a label is none of the classes.
        """
        rows, numbers = self.pairs(labels)
        if not self.several:
            return numbers
        targets = np.zeros((len(labels), len(self.classes)), np.float32)
        targets[rows, numbers] = 1
        return targets

    def members(self, targets: Targets) -> Bools:
        """Return the classes of each song as booleans, shape (n, n_classes)."""
        whole: Bools = targets > 0 if self.several else targets[:, None] == np.arange(len(self.classes))
        return whole

    def labels(self, members: Bools) -> pa.Array:
        """Return the labels that `members` or `predicted` gave as booleans."""
        names = np.array(self.classes, object)
        own = [names[row].tolist() for row in members] if self.several else names[members.argmax(axis=1)]
        return pa.array(own, self.label_type)

    def probabilities(self, logits: npt.ArrayLike) -> Floats:
        """Turn logits, shape (n, L), into probabilities, shape (n, n_classes); without `several`, rows sum to 1."""
        values = np.asarray(logits, np.float64)
        if self.several:
            return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)))
        if values.shape[1] == 1:
            # Softmax over (0, z) is the sigmoid of z.
            values = np.concatenate([np.zeros_like(values), values], axis=1)
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def predicted(self, probabilities: Floats) -> Bools:
        """Return the predicted classes of each song, (n, n_classes): by thresholds or costs, where the task has them.

        Without them it is the most probable class, or every class above 1/2. Of classes with the same expected cost
        the most probable one is predicted.
        """
        if self.several:
            return np.asarray(probabilities > np.array(self.thresholds or THRESHOLD))
        return self.members(self._chosen(probabilities))

    def _chosen(self, probabilities: Floats) -> Ints:
        """Return the number of the predicted class of each song."""
        if self.thresholds:
            return (probabilities[:, 1] > self.thresholds[1]).astype(np.int64)
        if self.costs:
            costs = np.array(self.costs)
            expected = probabilities @ (costs / max(costs.max(), _SMALLEST_COST))
            lowest = expected <= expected.min(axis=1, keepdims=True) + _EQUAL_COSTS
            probabilities = np.where(lowest, probabilities, -1.0)
        return np.asarray(probabilities.argmax(axis=1), np.int64)

    def right(self, targets: Targets, probabilities: Floats) -> Bools:
        """Return which answers are right, shape (n,), or, with `several`, (n, n_classes)."""
        if self.several:
            return np.asarray(self.predicted(probabilities) == self.members(targets))
        return np.asarray(self._chosen(probabilities) == targets)

    def confidences(self, probabilities: Floats) -> Floats:
        """Return the probability of each answer, with the shape of `right`."""
        if self.several:
            return np.where(self.predicted(probabilities), probabilities, 1.0 - probabilities)
        return np.take_along_axis(probabilities, self._chosen(probabilities)[:, None], axis=1)[:, 0]

    def losses(self, targets: Targets, probabilities: Floats, weights: npt.NDArray[np.float32] | None = None) -> Floats:
        """Return the cross-entropy of each song, shape (n,); with `several`, the mean over the classes.

        Parameters
        ----------
        targets : Targets
        probabilities : float64, shape (n, n_classes)
        weights : array, optional
            As `balanced_weights` returns them.
        """
        if self.several:
            members = self.members(targets)
            of_truth = np.where(members, probabilities, 1.0 - probabilities)
        else:
            of_truth = np.take_along_axis(probabilities, targets[:, None], axis=1)
        losses = -np.log(np.clip(of_truth, _SMALLEST_PROBABILITY, 1.0))
        if weights is not None:
            losses *= np.where(members, weights[:, 1], weights[:, 0]) if self.several else weights[targets][:, None]
        return np.asarray(losses.mean(axis=1))

    def balanced_weights(self, targets: Targets) -> npt.NDArray[np.float32]:
        """Return weights that make all classes count the same, without changing the total weight of all songs.

        Returns
        -------
        weights : float32, shape (n_classes,) or (n_classes, 2)
            ``n / (n_classes * songs of the class)``, as scikit-learn's ``class_weight="balanced"``; with `several`,
            for each class ``n / (2 * songs without it)`` and ``n / (2 * songs with it)``. A class without a song is
            treated like one with a single song.
        """
        n, having = len(targets), self.members(targets).sum(axis=0)
        counts = np.stack([n - having, having], axis=1) if self.several else having
        return np.asarray(n / (counts.shape[-1] * np.maximum(counts, 1)), np.float32)


def classes_of(label: Label) -> tuple[str, ...]:
    """Return the classes that a label names."""
    return (label,) if isinstance(label, str) else label
