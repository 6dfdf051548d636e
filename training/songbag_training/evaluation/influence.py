"""How much each song moves a metric: its derivatives with respect to the songs' weights.

The variance of a metric follows by linearisation, with whole groups as the units that are drawn (D. Binder, "On the
variances of asymptotically normal estimators from complex surveys", International Statistical Review 51, 1983). Where
all answers are right it would be 0. So one right and one wrong answer are added, shared out over the classes, as
A. Agresti and B. Caffo add them to two shares ("Simple and effective confidence intervals for proportions and
differences of proportions", The American Statistician 54, 2000).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from songbag_training.evaluation.metrics import pieces
from songbag_training.songs.task import Task
from songbag_training.types import Bools, Floats, Ints

FEWEST = 5
"""Fewer songs of a class, or songs of fewer groups, say too little about the class."""

_TINY = np.finfo(np.float64).tiny


@dataclasses.dataclass(frozen=True, slots=True)
class Influence:
    """How a metric follows the songs' weights.

    Attributes
    ----------
    value : float
        The metric, with the added answers.
    songs : float64, shape (n,)
        How much each song moves it.
    added : float64, shape (2, m)
        How much the right answer that is added for each class moves it, and the wrong one.
    times : float64, shape (m,)
        How often each of these counts.
    """

    value: float
    songs: Floats
    added: Floats
    times: Floats

    def variance(self, units: Ints) -> float:
        """Return the variance of the metric if the units of songs are drawn."""
        return float((np.bincount(units, self.songs) ** 2).sum() + (self.added**2 @ self.times).sum())

    def minus(self, other: Influence) -> Influence:
        """Return the influences on a difference; where an answer is added, one of both is right and the other wrong."""
        songs, added = self.songs - other.songs, self.added - other.added[::-1]
        return Influence(self.value - other.value, songs, added, self.times)


@dataclasses.dataclass(frozen=True, slots=True)
class Strata:
    """Songs by class, or by another division, and the units that they come in.

    Attributes
    ----------
    members : bool, shape (n, m)
        Which songs are of which stratum.
    n_units : int64, shape (m,)
        Number of units that have songs of each.
    unit_size : float64, shape (m,)
        Number of songs of the stratum in the unit of a song, in the mean over its songs.
    """

    members: Bools
    n_units: Ints
    unit_size: Floats

    @classmethod
    def of(cls, members: Bools, units: Ints) -> Strata:
        """Count the units of each stratum."""
        rows, numbers = np.nonzero(members)
        n_all, n_strata = int(units.max(initial=-1)) + 1, members.shape[1]
        pairs, counts = np.unique(numbers * n_all + units[rows], return_counts=True)
        of_pairs = pairs // max(n_all, 1)
        squares = np.bincount(of_pairs, counts**2, n_strata)
        size = squares / np.maximum(np.bincount(of_pairs, counts, n_strata), 1)
        return cls(members, np.bincount(of_pairs, minlength=n_strata), size)

    @property
    def correction(self) -> Floats:
        """Factor of influences within each stratum that makes the variance of few units unbiased."""
        return np.sqrt(self.n_units / np.maximum(self.n_units - 1, 1))

    def shares(self, weights: Floats) -> Floats:
        """Return how many units are added to each stratum: 1 in all, in proportion to some weights."""
        own = np.where(self.n_units > 0, weights, 0.0)
        shared: Floats = own / max(own.sum(), _TINY)
        return shared


def influences(task: Task, own: Bools, said: Bools, probabilities: Floats, units: Ints) -> dict[str, Influence]:
    """Return the influences of the metrics that have intervals, by their names.

    Parameters
    ----------
    task : Task
    own, said : bool, shape (n, n_classes)
        Classes of each song, and what was predicted.
    probabilities : float64, shape (n, n_classes)
    units : int64, shape (n,)
        Number of the unit of each song, from 0; if songs are drawn alone, each is a unit.
    """
    classes, wrong = Strata.of(own, units), own != said
    right = np.asarray(~wrong.any(axis=1), np.float64)
    if not task.several:
        found = {"accuracy": share_influence(right, Strata.of(_strata(classes), units))}
        return found | _of_one_class(own.argmax(axis=1), said.argmax(axis=1), classes)
    every_song = Strata.of(np.ones((len(own), 1), np.bool_), units)
    found = {
        "accuracy": share_influence(np.asarray(1 - wrong.mean(axis=1)), every_song, 1 / len(task.classes)),
        "subset_accuracy": share_influence(right, every_song),
    }
    return found | _f1_of_several(said, classes, every_song) | _average_precision(probabilities, classes)


def _strata(classes: Strata) -> Bools:
    """Return the classes as strata, those of few units together."""
    few = classes.n_units < FEWEST
    together: Bools = np.asarray(classes.members[:, few].any(axis=1))
    return np.concatenate([classes.members[:, ~few], together[:, None]], axis=1)


def share_influence(values: Floats, strata: Strata, answer: float = 1.0) -> Influence:
    """Return the influences on the mean of values of songs, between 0 and 1.

    Parameters
    ----------
    values : float64, shape (n,)
    strata : Strata
        With every song in one of them; how many songs they have is no chance.
    answer : float
        The added answers are about this share of a song.
    """
    n = strata.members.sum(axis=0)
    added = strata.shares(n.astype(np.float64)) * strata.unit_size * answer
    whole = np.maximum(n + 2 * added, _TINY)
    cut = list(pieces(len(values), len(n)))
    rates = (sum(values[own] @ strata.members[own] for own in cut) + added) / whole
    slopes = n / max(n.sum(), 1) / np.sqrt(np.maximum(n, 1) * whole)
    songs, factors = np.zeros(len(values)), slopes * strata.correction
    for own in cut:
        songs[own] = (strata.members[own] * (values[own, None] - rates)) @ factors
    times = strata.shares(n.astype(np.float64)) * (strata.unit_size * answer) ** 2
    return Influence(float(rates @ n / max(n.sum(), 1)), songs, np.stack([1 - rates, -rates]) * slopes, times)


def _of_one_class(true: Ints, said: Ints, classes: Strata) -> dict[str, Influence]:
    """Balanced accuracy and macro F1 of songs of one class each."""
    n_classes = len(classes.n_units)
    counts = np.bincount(true * n_classes + said, minlength=n_classes**2).reshape(n_classes, n_classes)
    n, there = counts.sum(axis=1)[:, None], classes.n_units > 0
    shares = classes.shares(1 / np.maximum(classes.n_units, 1))
    added = (shares * classes.unit_size)[:, None]
    right = np.eye(n_classes)
    wrong = (1 - right) / (n_classes - 1)  # the added wrong answers are shared out over the other classes
    whole = np.maximum(n + 2 * added, _TINY)
    rates = (counts + added * (right + wrong)) / whole
    hits, answered = rates.diagonal(), np.maximum(n[:, 0] + (rates * n).sum(axis=0), _TINY)
    f1 = 2 * n[:, 0] * hits / answered
    n_counted = max(int((answered > _TINY).sum()), 1)
    slopes = {
        "balanced_accuracy": (hits.sum() / max(there.sum(), 1), right / max(there.sum(), 1)),
        "macro_f1": (f1.sum() / n_counted, (2 * right - f1) * n / answered / n_counted),
    }
    found = {}
    for name, (value, slope) in slopes.items():
        moves = (slope - (rates * slope).sum(axis=1, keepdims=True)) / np.sqrt(np.maximum(n, 1) * whole)
        pair = np.stack([moves.diagonal(), (moves * wrong).sum(axis=1)]) * there
        songs = moves[true, said] * classes.correction[true]
        found[name] = Influence(float(value), songs, pair, shares * classes.unit_size**2)
    return found


def _f1_of_several(said: Bools, classes: Strata, every_song: Strata) -> dict[str, Influence]:
    """Micro and macro F1, ``2 right / (2 right + wrong)``, of songs of any number of classes."""
    cut = list(pieces(len(said), said.shape[1]))
    n_right = sum(np.asarray((classes.members[own] & said[own]).sum(axis=0), np.float64) for own in cut)
    n_wrong = sum(np.asarray((classes.members[own] != said[own]).sum(axis=0), np.float64) for own in cut)
    shares = classes.shares(1 / np.maximum(classes.n_units, 1))
    added = shares * classes.unit_size
    hits, answered = n_right + added, 2 * n_right + n_wrong + 3 * added
    counted = answered > 3 * added
    n_counted = max(int(counted.sum()), 1)
    f1, whole = 2 * hits / np.maximum(answered, _TINY), np.maximum(answered, _TINY)
    factors = counted * classes.correction / n_counted / whole
    pair = np.stack([2 * (1 - f1), -f1]) * counted / n_counted / whole
    times = shares * classes.unit_size**2
    both, of_all = 2 * hits.sum() / max(answered.sum(), _TINY), max(answered.sum(), _TINY)
    songs, of_songs = np.zeros(len(said)), np.zeros(len(said))
    for own in cut:
        right, wrong = classes.members[own] & said[own], classes.members[own] != said[own]
        songs[own] = (2 * right * (1 - f1) - wrong * f1) @ factors
        of_songs[own] = (2 * right * (1 - both) - wrong * both).sum(axis=1) / of_all * every_song.correction
    of_added = np.repeat([[2 * (1 - both)], [-both]], len(shares), axis=1) / of_all
    return {
        "micro_f1": Influence(float(both), of_songs, of_added, times),
        "macro_f1": Influence(float(f1[counted].sum() / n_counted), songs, pair, times),
    }


def _average_precision(scores: Floats, classes: Strata) -> dict[str, Influence]:
    """Mean average precision of the classes that some songs are of, and some are not."""
    there = np.flatnonzero(classes.members.any(axis=0) & ~classes.members.all(axis=0))
    value, songs, pair = 0.0, np.zeros(len(scores)), np.zeros((2, len(classes.n_units)))
    shares = classes.shares(1 / np.maximum(classes.n_units, 1))
    for number in there.tolist():
        one = _ranking(classes.members[:, number], scores[:, number], shares[number] * classes.unit_size[number])
        value += one[0] / len(there)
        songs += one[1] * (classes.correction[number] / len(there))
        pair[:, number] = one[2] / len(there)
    return {"average_precision": Influence(value, songs, pair, shares * classes.unit_size**2)} if len(there) else {}


def _ranking(own: Bools, scores: Floats, added: float) -> tuple[float, Floats, Floats]:
    """Return the average precision of a class, and what songs move it, and songs added at the top and at the bottom.

    ``AP = sum(w_i T_i / N_i) / sum(w_i)`` over the songs i of the class, where T_i and N_i are the weights of the songs
    of the class, and of all songs, that have at least the score of i. Equal scores have one place, as in scikit-learn.
    """
    scored, places = np.unique(-scores, return_inverse=True)
    of_class = np.bincount(places, own, len(scored))
    weights = np.concatenate([[added], of_class, [added]])
    of_all = np.concatenate([[added], np.bincount(places, minlength=len(scored)), [added]])
    listed = np.maximum(np.cumsum(of_all), _TINY)
    precision, whole = np.cumsum(weights) / listed, max(weights.sum(), _TINY)
    value = float(weights @ precision / whole)
    # A song counts at its own place and at all places below it.
    rising = np.cumsum((weights / listed)[::-1])[::-1]
    falling = np.cumsum((weights * precision / listed)[::-1])[::-1]
    moves = (precision - value + rising - falling) / whole
    return value, np.where(own, moves[places + 1], -falling[places + 1] / whole), moves[[0, -1]]
