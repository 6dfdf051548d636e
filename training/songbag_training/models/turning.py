"""Which windows of a song, left out one at a time, would change the answer, in a time that grows with their number.

It follows from what the network makes of each window, where a pooling is a mean of logits (mean and attention) or their
maximum. `songbag explain` asks the network instead, of every pooling.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.special import log_expit, log_softmax, logsumexp

from songbag_training.songs.task import Task
from songbag_training.types import Floats, Ints

Turning = dict[int, tuple[str, ...]]
"""Numbers of windows, each with the classes of the song's answer without it."""

Without = Callable[[Ints], Floats]
"""Returns the probabilities of a song, (m, n_classes), without each of m windows: what the network says."""

LeavingOut = Callable[[slice | None], Floats]
"""Returns what trees say of a song, (m, n_classes), without each window of a block, or (m = 1) with all."""

Answer = Callable[[Floats, slice | None], Floats]
"""Returns the probabilities of a song, (m, n_classes), from logits of the networks, (m, L): without each window of a
block, or (m = 1) with all windows."""

MEANS = ("mean", "attention", "gated-attention")
TOLD = (*MEANS, "max")
"""Poolings of which it can be told."""

_HEAVY = 0.99
"""A window with more of the weight is asked of the network: what is left is the difference of nearly equal numbers."""

_BLOCK_VALUES = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Outputs:
    """What one network makes of the N windows of a song.

    Attributes
    ----------
    weights : float array, shape (N,)
        In a mean, how much each window counts.
    logits : float array, shape (N, L)
    """

    weights: Floats
    logits: Floats


def turning(task: Task, pooling: str, members: Sequence[Outputs], answer: Answer, without: Without) -> Turning:
    """Return the windows of a song without which the answer is another.

    A long song is taken a million logits at a time, so memory does not grow with its windows.

    Parameters
    ----------
    task : Task
    pooling : str
        One of `TOLD`.
    members : sequence of Outputs
        Of each member of the network.
    answer : callable
        What the logits of the networks come to.
    without : callable
        Asked for windows that hold nearly all the weight of a mean.
    """
    n_windows = len(members[0].weights)
    if n_windows < 2:
        return {}
    softmax = not task.several and task.n_logits > 1
    blocks = list(_blocks(n_windows, task.n_logits))
    wholes = [_whole(pooling, own, softmax, blocks) for own in members]

    def shares_of(joined: list[Floats], block: slice | None) -> Floats:
        return answer(_mean(np.stack(joined), softmax) if len(joined) > 1 else joined[0], block)

    said = task.predicted(shares_of([whole.logits[:1] for whole in wholes], None))[0]
    found: Turning = {}
    for block in blocks:
        shares = shares_of([whole.without(block) for whole in wholes], block)
        heavy = np.flatnonzero(np.any([own.weights[block] > _HEAVY for own in members], axis=0))
        if pooling in MEANS and len(heavy):
            shares[heavy] = without(heavy + block.start)
        answers = task.predicted(shares)
        for row in np.flatnonzero(np.any(np.not_equal(answers, said), axis=1)):
            names = tuple(task.classes[number] for number in np.flatnonzero(answers[row]))
            found[int(row) + block.start] = names
    return found


def _blocks(n_windows: int, n_logits: int) -> Iterator[slice]:
    at_once = max(1, _BLOCK_VALUES // n_logits)
    for start in range(0, n_windows, at_once):
        yield slice(start, min(start + at_once, n_windows))


@dataclasses.dataclass(frozen=True, slots=True)
class _WholeMean:
    """The weighted mean of logits, (1, L), from which a window can be taken away."""

    logits: Floats
    own: Outputs

    def without(self, block: slice) -> Floats:
        weights = np.minimum(self.own.weights[block, None], _HEAVY)
        return np.asarray((self.logits - weights * self.own.logits[block]) / (1 - weights))


@dataclasses.dataclass(frozen=True, slots=True)
class _WholeMaximum:
    """The two highest scores of each class, (2, L)."""

    logits: Floats
    own: Outputs
    softmax: bool

    def without(self, block: slice) -> Floats:
        # Where two windows have the highest score, the second is equal to it.
        is_highest = _scores(self.own, block, self.softmax) == self.logits[0]
        return np.asarray(np.where(is_highest, self.logits[1], self.logits[0]), np.float64)


def _whole(pooling: str, own: Outputs, softmax: bool, blocks: Sequence[slice]) -> _WholeMean | _WholeMaximum:
    if pooling in MEANS:
        parts = [own.weights[block] @ np.asarray(own.logits[block], np.float64) for block in blocks]
        return _WholeMean(np.sum(parts, axis=0)[None], own)
    highest = np.full((2, own.logits.shape[1]), -np.inf)
    for block in blocks:
        highest = np.sort(np.concatenate([highest, _scores(own, block, softmax)]), axis=0)[:-3:-1]
    return _WholeMaximum(highest, own, softmax)


def _scores(own: Outputs, block: slice, softmax: bool) -> Floats:
    logits = np.asarray(own.logits[block], np.float64)
    return np.asarray(log_softmax(logits, axis=1)) if softmax else logits


def _mean(logits: Floats, softmax: bool) -> Floats:
    """Return the logits of the mean of the probabilities of members, given as logits (M, ..., L)."""
    if softmax:
        return np.asarray(logsumexp(log_softmax(logits, axis=-1), axis=0))
    yes, no = (logsumexp(log_expit(sign * logits), axis=0) for sign in (1.0, -1.0))
    return np.asarray(yes - no)
