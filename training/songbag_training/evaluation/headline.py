"""The metrics that are shown first, with their intervals, and what is to be said about them, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from songbag_store.words import counted

SMALL = 100
"""A test part with fewer songs is called small: the interval of an accuracy of 0.9 is then wider than 0.12."""

_ONE_CLASS = ("accuracy", "balanced_accuracy")
_SEVERAL = ("accuracy", "macro_f1", "average_precision")
_SHOWN = {"macro_f1": "macro F1", "average_precision": "mean average precision"}


def headline_names(song: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the metrics that are shown first."""
    return _ONE_CLASS if "balanced_accuracy" in song else _SEVERAL


def shown_name(name: str) -> str:
    """Return a metric's name as it is written in a sentence."""
    return _SHOWN.get(name, name.replace("_", " "))


def headline(song: Mapping[str, Any], intervals: Mapping[str, Any]) -> str:
    """Return the first metrics with their 95 % intervals: ``accuracy 0.90 (0.87 to 0.93), balanced accuracy ...``."""
    told = []
    for name in headline_names(song):
        if song[name] is not None:
            ends = intervals.get(name)
            between = f"{ends[0]:.2f} to {ends[1]:.2f}" if ends else "no interval"
            told.append(f"{shown_name(name)} {song[name]:.2f} ({between})")
    return ", ".join(told)


def interval_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Return a line for each metric of a subset that has an interval, or has none for a reason."""
    reasons, lines = metrics.get("without_interval", {}), []
    for name, ends in metrics["intervals"].items():
        if ends is not None:
            between = f"95 % between {ends[0]:.3f} and {ends[1]:.3f}"
            lines.append(f"{name} {metrics['song'][name]:.3f}, {between}")
        elif name in reasons:
            lines.append(f"{name} {metrics['song'][name]:.3f}, no interval: {reasons[name]}")
    return lines


def small_notes(metrics: Mapping[str, Any]) -> list[str]:
    """Return notes on what the judged songs are too few for, if they are.

    Parameters
    ----------
    metrics : mapping
        Of one subset, as in `metrics.json`: `song`, `classes` and, perhaps, `without_interval`.
    """
    from songbag_training.evaluation.intervals import few_songs  # it loads scikit-learn, which `info` does not need

    counts = np.array([own["n"] for own in metrics["classes"].values()])
    few = few_songs(list(metrics["classes"]), counts, counts)
    if few:
        return [
            f"note: {few} are tested: how well the model recognises them is hardly known, nor is a mean over classes"
        ]
    return [f"note: no interval: {reason}" for reason in dict.fromkeys(metrics.get("without_interval", {}).values())]


def cross_validation_hint(n_tested: int, n_all: int, few: bool) -> list[str]:
    """Return a hint at cross-validation if the test songs are few."""
    if n_tested >= SMALL and not few:
        return []
    tested = counted(n_tested, "song is", "songs are")
    return [f"note: {tested} tested: `songbag cross-validate` tests all {n_all:,}, which says more"]


FLOORS = {"linear": "a linear model", "trees": "trees", "mean": "a linear model and trees"}
"""The learners of a baseline in words."""


def floor_lines(accuracy: float, floor: Mapping[str, Any], what: str = "the network") -> list[str]:
    """Return how a network compares with its floor, and what to try if it is below.

    Parameters
    ----------
    accuracy : float
        Of the network.
    floor : mapping
        ``learner``, and the accuracy of each learner.
    what : str
        Whose accuracy it is.
    """
    reached, named = floor[floor["learner"]], FLOORS[floor["learner"]]
    lines = [f"{what}: {accuracy:.2f}; {named} on song summaries: {reached:.2f}"]
    if accuracy < reached:
        lines.append(
            "note: that is below its floor: train for more `epochs`, give it more labelled songs, or take "
            "`songbag baseline` for them"
        )
    return lines


def members_line(accuracy: float, learners: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what each learner of a model reaches, and what all do together."""
    reached = {name: f"{own['accuracy']:.2f}" for name, own in learners.items()}
    trees = f"; trees on song summaries: {reached.pop('trees')}" if "trees" in reached else ""
    each = f"{counted(len(reached), 'member')}: {', '.join(reached.values())}"
    return f"{each}{trees}; together: {accuracy:.2f}"


def mean_floor(floors: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of the floors of several folds; its learner is the one that most folds chose."""
    chosen = [floor["learner"] for floor in floors]
    found: dict[str, Any] = {"learner": max(FLOORS, key=chosen.count)}
    return found | {name: float(np.mean([floor[name] for floor in floors])) for name in FLOORS}
