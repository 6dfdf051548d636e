"""95 % confidence intervals of metrics, and of the difference of two models' metrics on the same songs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.metrics import average_precision_score

from songbag_store.words import counted
from songbag_training.evaluation.influence import FEWEST, Influence, Strata, influences, share_influence
from songbag_training.evaluation.metrics import counted_metrics, summed_outcomes
from songbag_training.songs.task import Task
from songbag_training.types import Bools, Floats, Ints, Targets

_Z = 1.959963984540054
"""The normal distribution lies between -Z and Z in 95 % of all cases."""

_FEWEST_RANKED = 10
"""Of fewer songs of a class, average precision has no interval that holds the truth often enough."""

_MOST_NAMES = 5
_LONGEST_NAME = 60


@dataclasses.dataclass(frozen=True, slots=True)
class Intervals:
    """Metrics of some songs, or differences of metrics, with intervals.

    Attributes
    ----------
    values : dict
        The metrics.
    ends : dict
        Lower and upper end of each; None where the songs say too little.
    reasons : dict
        Why a metric has no interval.
    """

    values: dict[str, float]
    ends: dict[str, list[float] | None]
    reasons: dict[str, str]


def song_intervals(
    task: Task, true: Targets, probabilities: Floats, units: Ints | None = None, said: Bools | None = None
) -> Intervals:
    """Return 95 % confidence intervals of the metrics that count answers, and of mean average precision.

    An interval says how much a metric would vary over other songs of the same kind, with the same model. Songs are
    drawn within their classes, and whole groups where songs hang together. The variance follows from the influence of
    each song on the metric (`evaluation.influence`). It gives the number of independent songs that vary as much, and
    this number gives the interval of E. Wilson ("Probable inference, the law of succession, and statistical
    inference", Journal of the American Statistical Association 22, 1927). E. Korn and B. Graubard do so for shares in
    surveys ("Confidence intervals for proportions with small expected number of positive counts estimated from survey
    data", Survey Methodology 24, 1998). ``python -m benchmarks.intervals`` measures how often they cover the truth.

    A song of several classes is drawn with all of them, so the numbers of songs of the classes vary then.

    A mean over classes has no interval if it counts a class with fewer than 5 songs, or songs of fewer than 5 groups;
    mean average precision none with fewer than 10.

    Parameters
    ----------
    task, true, probabilities
        As `songbag_training.evaluation.metrics.song_metrics` takes them.
    units : int64, shape (n,), optional
        The group of each song, see `songbag_training.splits.groups.find_units`; by default each song is alone.
    said : bool, shape (n, n_classes), optional
        What was predicted; by default what the task predicts.
    """
    if not len(true):
        return Intervals({}, {}, {})
    units, own = _numbered(units, len(true)), task.members(true)
    said = task.predicted(probabilities) if said is None else said
    values = _values(task, own, said, probabilities)
    found = influences(task, own, said, probabilities, units)
    reasons = _reasons(task, own, units, list(found))
    ends = {
        name: None if name in reasons else wilson(values[name], _n_alone(one, units)) for name, one in found.items()
    }
    return Intervals({name: values[name] for name in found}, ends, reasons)


def paired_intervals(
    task: Task,
    true: Targets,
    probabilities: Floats,
    other: Floats,
    units: Ints | None = None,
    said: tuple[Bools, Bools] | None = None,
) -> Intervals:
    """Return 95 % intervals of the differences of two models' metrics on the same songs, the first minus the other.

    Both models meet the same songs, so a song counts by the difference of its influences: if the models err on the
    same songs, the interval is much narrower than those of the two metrics suggest. It is the normal one. One song is
    added that only the first model gets right, and one that only the other does, as D. Bonett and R. Price do
    ("Adjusted Wald confidence interval for a difference of binomial proportions based on paired data", Journal of
    Educational and Behavioral Statistics 37, 2012): two models with equal answers are not known to be equally good.

    Parameters
    ----------
    task, true, units
        As for `song_intervals`.
    probabilities, other : float64, shape (n, n_classes)
        Of the two models.
    said : pair of bool, shape (n, n_classes), optional
        What each of them predicted; by default what the task predicts.
    """
    if not len(true):
        return Intervals({}, {}, {})
    units, own = _numbered(units, len(true)), task.members(true)
    first, second = said or (task.predicted(probabilities), task.predicted(other))
    values, other_values = _values(task, own, first, probabilities), _values(task, own, second, other)
    found = influences(task, own, first, probabilities, units)
    other_found = influences(task, own, second, other, units)
    reasons = _reasons(task, own, units, list(found))
    differences = {name: values[name] - other_values[name] for name in found}
    ends: dict[str, list[float] | None] = dict.fromkeys(found)
    for name in found.keys() - reasons.keys():
        reach = _Z * float(np.sqrt(found[name].minus(other_found[name]).variance(units)))
        ends[name] = np.clip([differences[name] - reach, differences[name] + reach], -1.0, 1.0).tolist()
    return Intervals(differences, ends, reasons)


def class_intervals(
    task: Task, true: Targets, probabilities: Floats, units: Ints | None = None, said: Bools | None = None
) -> dict[str, dict[str, list[float] | None]]:
    """Return the 95 % intervals by Wilson of each class's precision and recall; None if it has no song, or few groups.

    They are those of a share of n songs, or, where songs come in groups, of as many songs as vary as much.

    Parameters
    ----------
    task, true, probabilities, units, said
        As for `song_intervals`.
    """
    units, own = _numbered(units, len(true)), task.members(true)
    said = task.predicted(probabilities) if said is None else said
    return {
        name: {
            "precision_interval": _share_interval(own[of_said, number], units[of_said]),
            "recall_interval": _share_interval(said[of_own, number], units[of_own]),
        }
        for number, (name, of_own, of_said) in enumerate(zip(task.classes, own.T, said.T, strict=True))
    }


def wilson(share: float, n: float) -> list[float]:
    """Return the interval of a share of n songs, by E. Wilson (1927)."""
    whole = n + _Z**2
    middle = (n * share + _Z**2 / 2) / whole
    reach = _Z * np.sqrt(n * share * (1 - share) + _Z**2 / 4) / whole
    # The share is inside, but for rounding.
    return [float(max(min(middle - reach, share), 0.0)), float(min(max(middle + reach, share), 1.0))]


def few_songs(classes: Sequence[str], n_songs: Ints, n_units: Ints, fewest: int = FEWEST) -> str:
    """Name the classes with fewer than 5 songs, or with songs of fewer than 5 groups; of many, the first.

    Empty if there is none.
    """
    small = np.flatnonzero(n_units < fewest).tolist()
    if not small:
        return ""
    named = []
    for number in small[:_MOST_NAMES]:
        name, n, n_own = classes[number], int(n_songs[number]), int(n_units[number])
        name = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
        named.append(f"{name!r} ({n} of {counted(n_own, 'group')})" if n_own < n else f"{name!r} ({n})")
    more = f" and {counted(len(small) - len(named), 'more class')}" if len(small) > len(named) else ""
    grouped = (n_units[small] < n_songs[small]).any()
    return f"fewer than {counted(fewest, 'song')}{' or groups' if grouped else ''} of {', '.join(named)}{more}"


def _numbered(units: Ints | None, n: int) -> Ints:
    """Return the units numbered from 0 without gaps."""
    if units is None:
        return np.arange(n)
    return np.unique(units, return_inverse=True)[1].astype(np.int64)


def _values(task: Task, own: Bools, said: Bools, probabilities: Floats) -> Mapping[str, float]:
    """Return the metrics that have intervals, as `song_metrics` computes them."""
    counts = summed_outcomes(own, said)
    values = {name: float(value) for name, value in counted_metrics(task, counts, len(own)).items()}
    ranked_classes = np.flatnonzero(own.any(axis=0) & ~own.all(axis=0)).tolist() if task.several else []
    ranked = [average_precision_score(own[:, number], probabilities[:, number]) for number in ranked_classes]
    return values | ({"average_precision": float(np.mean(ranked))} if ranked else {})


def _n_alone(influence: Influence, units: Ints) -> float:
    """Return how many songs, drawn alone, would let a share of this value vary as much as the metric does."""
    return influence.value * (1 - influence.value) / influence.variance(units)


def _share_interval(right: Bools, units: Ints) -> list[float] | None:
    """Return the interval of a share of songs that come in units."""
    n, n_units = len(right), len(np.unique(units))
    if n == 0 or FEWEST > n_units < n:
        return None
    n_alone = float(n)
    if n_units < n:
        of_all = Strata.of(np.ones((n, 1), np.bool_), units)
        n_alone = min(n_alone, _n_alone(share_influence(right.astype(np.float64), of_all), units))
    return wilson(float(right.mean()), n_alone)


def _reasons(task: Task, own: Bools, units: Ints, names: Sequence[str]) -> dict[str, str]:
    """Return why some metrics have no interval."""
    n, n_all = len(own), int(units.max()) + 1
    if FEWEST > n_all < n:
        return dict.fromkeys(names, f"the {counted(n, 'song')} are of only {counted(n_all, 'group')}")
    n_songs, n_units = own.sum(axis=0), Strata.of(own, units).n_units
    # A class without songs counts in no mean but that of F1, where songs may be said to be of it.
    there = np.where(n_songs > 0, n_units, _FEWEST_RANKED)
    reasons = {
        "balanced_accuracy": few_songs(task.classes, n_songs, there),
        "average_precision": few_songs(task.classes, n_songs, there, _FEWEST_RANKED),
        "macro_f1": few_songs(task.classes, n_songs, n_units),
    }
    if "micro_f1" in names and n_units.sum() < FEWEST:
        reasons["micro_f1"] = f"only {counted(int(n_songs.sum()), 'song is', 'songs are')} of any class"
    return {name: reasons[name] for name in names if reasons.get(name)}
