"""`Task`: what is learned of a song. Everything that differs between one class a song and several is here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from songbag_training.errors import ModelError
from songbag_training.types import Bools, Floats, Ints, Label, Targets, TaskName

THRESHOLD = 0.5
"""Where a song may be of several classes, it is predicted to be of those that are more probable than this."""

_SMALLEST_PROBABILITY = 1e-15


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """Which classes there are, and whether a song is of exactly one of them or of several at once.

    Two classes of which a song is one have one logit, that of the second class, and a sigmoid; more classes have one
    logit each and a softmax. Classes of which a song may have several have one logit and one sigmoid each.

    Targets are labels as numbers: the class of each song, int64, shape (n,); or, of several, 1 for each class that the
    song is of and else 0, float32, shape (n, n_classes). An answer is what is said of a song, or, of several, of a song
    and a class.

    Attributes
    ----------
    classes : tuple of str
        Every class once, in the order of the model's outputs.
    several : bool
        Whether a song may be of any number of classes.
    """

    classes: tuple[str, ...]
    several: bool = False

    @classmethod
    def named(cls, name: TaskName, classes: Iterable[str]) -> Self:
        """Return the task of a name in `run.json`."""
        return cls(tuple(classes), name == "multi-label")

    @property
    def name(self) -> TaskName:
        """The name in `run.json`."""
        return "multi-label" if self.several else "single-label"

    @property
    def n_logits(self) -> int:
        """Units of the head.

        Raises
        ------
        ModelError
            If there are fewer than two classes.
        """
        n = len(self.classes)
        if n < 2:
            raise ModelError(f"{n} classes cannot be told apart; it takes two", place="model")
        return n if self.several or n > 2 else 1

    @property
    def softmax(self) -> bool:
        """Whether probabilities come from a softmax over the logits, not from a sigmoid of each."""
        return not self.several and self.n_logits > 1

    @property
    def label_type(self) -> pa.DataType:
        """Type of a column of labels."""
        return pa.list_(pa.string()) if self.several else pa.string()

    def pairs(self, labels: Sequence[Label]) -> tuple[Ints, Ints]:
        """Return every pair of a song and a class that it is of: rows, ascending, and numbers of classes.

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
        """Return of which classes each song is, shape (n, n_classes)."""
        whole: Bools = targets > 0 if self.several else targets[:, None] == np.arange(len(self.classes))
        return whole

    def labels(self, members: Bools) -> pa.Array:
        """Return labels from what `members` or `predicted` gave."""
        if self.several:
            return pa.array([[self.classes[n] for n in np.flatnonzero(row)] for row in members], self.label_type)
        return pa.array([self.classes[n] for n in members.argmax(axis=1)], self.label_type)

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
        """Return of which classes each song is said to be, (n, n_classes): the most probable, or all above 1/2."""
        if self.several:
            return probabilities > THRESHOLD
        return self.members(probabilities.argmax(axis=1))

    def right(self, targets: Targets, probabilities: Floats) -> Bools:
        """Return which answers are right, shape (n,), or, of several, (n, n_classes)."""
        if self.several:
            return np.asarray(self.predicted(probabilities) == self.members(targets))
        return np.asarray(probabilities.argmax(axis=1) == targets)

    def confidences(self, probabilities: Floats) -> Floats:
        """Return how probable each answer is said to be, of the shape of `right`."""
        return np.maximum(probabilities, 1.0 - probabilities) if self.several else probabilities.max(axis=1)

    def losses(self, targets: Targets, probabilities: Floats) -> Floats:
        """Return the cross-entropy of each song, shape (n,); of several classes the mean over them."""
        if self.several:
            of_truth = np.where(self.members(targets), probabilities, 1.0 - probabilities)
        else:
            of_truth = np.take_along_axis(probabilities, targets[:, None], axis=1)
        return np.asarray(-np.log(np.clip(of_truth, _SMALLEST_PROBABILITY, 1.0)).mean(axis=1))

    def balanced_weights(self, targets: Targets) -> npt.NDArray[np.float32]:
        """Return weights under which each class counts as much as any other, and all songs together as without them.

        Returns
        -------
        weights : float32, shape (n_classes,) or (n_classes, 2)
            ``n / (n_classes * songs of the class)``, as scikit-learn's ``class_weight="balanced"``; of several, for
            each class ``n / (2 * songs without it)`` and ``n / (2 * songs with it)``. A class without a song counts as
            one with a single song.
        """
        n, having = len(targets), self.members(targets).sum(axis=0)
        counts = np.stack([n - having, having], axis=1) if self.several else having
        return np.asarray(n / (counts.shape[-1] * np.maximum(counts, 1)), np.float32)


def classes_of(label: Label) -> tuple[str, ...]:
    """Return the classes that a label names."""
    return (label,) if isinstance(label, str) else label
