"""What each mistake costs: the text ``TRUE>PREDICTED=COST,...`` read, and the predictions of least expected cost.

C. Elkan, "The foundations of cost-sensitive learning", IJCAI 2001: from calibrated probabilities p, the class j with
the lowest ``sum(p_i * cost(true i, predicted j))`` is predicted (eq. 1). With two answers that is a threshold (eq. 2).
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np

from songbag_store.errors import UsageError
from songbag_store.words import did_you_mean
from songbag_training.config import COSTS
from songbag_training.songs.task import THRESHOLD, Task
from songbag_training.types import Floats

_NOT = "not "
_NAMES_SHOWN = 8
_OTHERS = 1.0
_LONGEST = 40
_FAR = 1000
_SPACES = re.compile(r"\s*")


class _Entry(NamedTuple):
    """One part between commas: the names, and the cost as text."""

    true: str
    predicted: str
    cost: str


_Way: TypeAlias = "tuple[_Entry, _Way] | None"
"""The entries of the text so far, the last one first."""


class _Failure(NamedTuple):
    """Where the text could not be read further, and why."""

    place: int
    what: str


def with_costs(task: Task, text: str) -> Task:
    """Return a task that predicts what costs least.

    Parameters
    ----------
    task : Task
        Its classes are those that may be named.
    text : str
        ``cost:TRUE>PREDICTED=COST,...``. A mistake that is not named costs 1, a right answer nothing. Where a song may
        be of several classes, the two sides are a class and the same class after ``not``: ``rock>not rock=5`` for a
        class that is missed, ``not rock>rock=2`` for one that is predicted falsely. Names are compared with the classes
        as they are, so they may hold any sign; a name may also be written as a JSON string.

    Raises
    ------
    UsageError
        If the text names anything but classes, or a cost is no finite number from 0.
    """
    costs = _costs(task, text.removeprefix(COSTS))
    if task.several:
        thresholds = [_threshold(false, missed) for missed, false in costs.tolist()]
        return dataclasses.replace(task, thresholds=tuple(thresholds))
    if len(task.classes) == 2:
        second = _threshold(costs[0, 1], costs[1, 0])
        return dataclasses.replace(task, thresholds=(1.0 - second, second))
    return dataclasses.replace(task, costs=tuple(map(tuple, costs.tolist())))


def _threshold(false: float, missed: float) -> float:
    """Return the probability above which saying yes costs less than saying no."""
    largest = max(false, missed)
    return float(false / largest / (false / largest + missed / largest)) if largest else THRESHOLD


def _costs(task: Task, text: str) -> Floats:
    """Return the costs: (n, n) by true and predicted class; with several classes (n, 2), of missing and of adding."""
    n = len(task.classes)
    costs = np.full((n, 2), _OTHERS) if task.several else _OTHERS - np.eye(n)
    places = _places(task)
    seen = set()
    for entry in _read(task, text):
        pair, named = (entry.true, entry.predicted), f"{entry.true}>{entry.predicted}"
        if pair not in places:
            what = "is no mistake: a right answer costs nothing"
            if task.several and entry.true != entry.predicted:
                what = "is no mistake of one class: with lists of classes, each class is missed or added by itself"
            raise _error(task, f"{_shown(named)} {what}")
        if pair in seen:
            raise _error(task, f"{_shown(named)} stands there twice")
        seen.add(pair)
        value = _number(entry.cost)
        if value is None or not 0 <= value < math.inf:
            what = f"is {_shown(entry.cost)}" if entry.cost else "is missing"
            raise _error(task, f"the cost of {_shown(named)} {what}; it must be a finite number from 0")
        costs[places[pair]] = value
    return costs


def _places(task: Task) -> dict[tuple[str, str], tuple[int, int]]:
    """Return the place of each mistake's cost, by its true and its predicted side."""
    if task.several:
        missed = {(name, _NOT + name): (number, 0) for number, name in enumerate(task.classes)}
        return missed | {(_NOT + name, name): (number, 1) for number, name in enumerate(task.classes)}
    own = list(enumerate(task.classes))
    return {(true, said): (row, column) for row, true in own for column, said in own if row != column}


def _read(task: Task, text: str) -> list[_Entry]:
    """Return the entries of a text. Names may hold the separators, so every way to read it is tried."""
    sides = [*task.classes, *(_NOT + name for name in task.classes if task.several)]
    failures: list[_Failure] = []
    # Two ways to each place are enough to know that the text is unclear. The end of the text is a place after it.
    ways: dict[int, list[_Way]] = {0: [None]}
    last = len(text) + 1
    while (place := min(ways)) < last:
        before = ways.pop(place)
        for entry, end in dict.fromkeys(_entries(text, place, sides, failures)):
            known = ways.setdefault(end + 1, [])
            known += [(entry, way) for way in before][: 2 - len(known)]
        if not ways:
            raise _error(task, max(failures).what)
    found = [_entries_of(way) for way in ways[last]]
    if len(found) > 1:
        differing = next(pair for pair in zip(*found, strict=False) if pair[0] != pair[1])
        first, second = (f"{_quoted(one.true)}>{_quoted(one.predicted)}" for one in differing)
        raise _error(task, f"can be read in two ways, as {first} and as {second}")
    return found[0]


def _entries_of(way: _Way) -> list[_Entry]:
    entries = []
    while way:
        entry, way = way
        entries.append(entry)
    return entries[::-1]


def _entries(text: str, start: int, sides: list[str], failures: list[_Failure]) -> Iterator[tuple[_Entry, int]]:
    """Yield every entry that may stand at a place, and where it ends; note what is missing."""
    for true, after in _sides(text, start, sides):
        if text[after : after + 1] != ">":
            continue
        for predicted, end in _sides(text, after + 1, sides):
            if text[end : end + 1] == "=":
                stop = text.find(",", end)
                stop = len(text) if stop < 0 else stop
                cost = text[end + 1 : stop].strip()
                yield _Entry(true, predicted, cost), stop
            elif text[end : end + 1] in ("", ","):
                failures.append(_Failure(end, f"the cost of {_shown(text[start:end])} is missing"))
        failures.append(_Failure(after + 1, _unknown(text, after + 1, "=", sides)))
    failures.append(_Failure(start, _unknown(text, start, ">", sides)))


def _sides(text: str, start: int, sides: list[str]) -> Iterator[tuple[str, int]]:
    """Yield every name that stands at a place, and the place after it; spaces around it do not count."""
    begin = start
    while True:
        quoted = begin + len(_NOT) if text.startswith(_NOT + '"', begin) else begin
        if text[quoted : quoted + 1] == '"':
            try:
                name, end = json.JSONDecoder().raw_decode(text, quoted)
            except ValueError:
                name, end = "", quoted
            if (name := text[begin:quoted] + name) in sides:
                yield name, _skipped(text, end)
        for name in sides:
            if text.startswith(name, begin):
                yield name, begin + len(name)
                if (after := _skipped(text, begin + len(name))) != begin + len(name):
                    yield name, after
        if begin != start or (begin := _skipped(text, start)) == start:
            return


def _skipped(text: str, place: int) -> int:
    """Return the place of the next sign that is no space."""
    found = _SPACES.match(text, place)
    assert found  # it matches nothing as well
    return found.end()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _unknown(text: str, place: int, until: str, sides: list[str]) -> str:
    """Return what is wrong with a side at which no class stands."""
    rest = text[place : place + _FAR]
    if not rest.strip():
        return "at its end something is missing"
    if until not in rest:
        return f"there is no {until!r} after {_shown(rest)}"
    name = rest.split(until)[0].strip()
    meant = did_you_mean(name, sides)
    return f"{_shown(name)} is none of the classes" + (f" ({meant[0].lower()}{meant[1:]})" if meant else "")


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST else text[:_LONGEST] + "...")


def _error(task: Task, what: str) -> UsageError:
    classes = ", ".join(map(repr, task.classes[:_NAMES_SHOWN]))
    classes += f" and {len(task.classes) - _NAMES_SHOWN} more" * (len(task.classes) > _NAMES_SHOWN)
    form = "CLASS>not CLASS=COST (missed) and not CLASS>CLASS=COST (added)" if task.several else "TRUE>PREDICTED=COST"
    remedy = (
        f"Write {COSTS} and, with commas between them, {form}; the classes are: {classes}. A name may also stand in "
        "double quotes. On the command line, put single quotes around the whole value: > has a meaning there."
    )
    return UsageError(what, place="thresholds", remedy=remedy)
