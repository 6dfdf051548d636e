"""The points of a sweep: every combination of values, or some that are drawn at random."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import math
from collections.abc import Iterable, Mapping, Set
from typing import Any, TypeGuard

import numpy as np

from songbag_store.errors import UsageError
from songbag_store.format.declaration import Declaration, declarations, plain_number
from songbag_store.words import counted, did_you_mean
from songbag_training.config import TrainConfig
from songbag_training.runs.plan import Settings
from songbag_training.search import Search

MOST_POINTS = 10_000

_TRIES = 100
_COMMON = {
    "monitor": "the points are compared by it",
    "label_separator": "every point has the same songs and labels",
    "min_songs": "every point has the same songs and labels",
}
_SWITCH = {"true": True, "false": False}


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """Numbers to draw from: whole ones alike often; others alike often by their logarithm, or from 0 by themselves."""

    low: float
    high: float
    is_whole: bool

    def draw(self, rng: np.random.Generator) -> float:
        """Return a number, with four digits if it is not a whole one."""
        if self.is_whole:
            return int(rng.integers(int(self.low), int(self.high), endpoint=True))
        if self.low > 0:
            drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        else:
            drawn = rng.uniform(self.low, self.high)
        return min(max(float(f"{drawn:.4g}"), self.low), self.high)


Values = list[Any] | Range


def as_search(search: object) -> Search:
    """Return what a user gives as a search, in one spelling; a mapping of options to their values is the grid of these.

    Raises
    ------
    UsageError
        See `points_of`.
    """
    if not isinstance(search, Search | Mapping):
        what = f"is given as {type(search).__name__} but must be a mapping of options to their values"
        raise UsageError(what, place="search", remedy='Write {"pooling": ["mean", "max"]}, or a songbag.Search(...).')
    if not isinstance(search, Search):
        search = Search(set=tuple(f"{name}={_line(given)}" for name, given in search.items()))
    return dataclasses.replace(search, set=tuple(f"{name}={_line(own)}" for name, own in _values_of(search).items()))


def _line(given: object) -> str:
    """Return values as they are written after the name of an option."""
    if isinstance(given, str):
        return given
    if isinstance(given, Range):
        return f"{given.low!r}..{given.high!r}"
    written = io.StringIO()
    values = [plain_number(one) for one in given] if _is_several(given) else [plain_number(given)]
    texts = [repr(value) if isinstance(value, float) else _text(value) for value in values]
    # A set has another order in each process, and the same call must find its points again.
    texts = sorted(texts) if isinstance(given, Set) else texts
    csv.writer(written, lineterminator="").writerow(texts)
    return written.getvalue()


def _is_several(given: object) -> TypeGuard[Iterable[object]]:
    """Return whether an object is several values; an array without dimensions says that it is one, and is none."""
    return isinstance(given, Iterable) and getattr(given, "shape", None) != ()


def points_of(search: Search, config: TrainConfig) -> list[Settings]:
    """Return what is different in each point.

    Parameters
    ----------
    search : Search
        The values of options, and how many points to draw.
    config : TrainConfig
        What the points have in common; its seed decides what is drawn.

    Raises
    ------
    UsageError
        If an option is unknown or a value is none of it, a range has no number to draw, the points are too many, or
        halving has nothing to go by.
    """
    values = _values_of(search)
    _check_halving(search, config, values)
    points = _grid(values) if search.random is None else _drawn(values, search.random, config.seed)
    for point in points:
        dataclasses.replace(config, **point)  # values that do not fit together are refused before any work
    return points


def in_words(point: Settings) -> str:
    """Return the settings of a point as text."""
    return ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in point.items())


def _values_of(search: Search) -> dict[str, Values]:
    if not search.set:
        remedy = "Give the values of an option: `set=encoder=compact,reference`."
        raise UsageError("nothing is to be tried", place="set", remedy=remedy)
    known, found = declarations(TrainConfig), dict[str, Values]()
    for text in search.set:
        name, equals, line = text.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        if name not in known or known[name].flag is None:
            meant = did_you_mean(name, list(known))
            raise UsageError(f"{text!r} names no option of `songbag train`", place="set", remedy=meant)
        if name in _COMMON:
            raise UsageError(f"{name} cannot be varied: {_COMMON[name]}", place="set", remedy="Leave it out.")
        if not equals or name in found:
            what = f"{name} is there twice" if equals else f"{text!r} has no values"
            raise UsageError(what, place="set", remedy=f"Write {name}=A,B with all its values.")
        found[name] = _parsed(known[name], line, search.random is not None)
    return found


def _parsed(one: Declaration, line: str, is_drawn: bool) -> Values:
    """Return the values of an option, or its range."""
    if float in one.types or int in one.types:
        ends = line.split("..")
        if len(ends) == 2 and all(map(str.strip, ends)):
            if not is_drawn:
                what = f"{one.name} is a range, which has no end of points"
                raise UsageError(what, place="set", remedy="List values with commas, or draw: `random=20`.")
            low, high = (_value(one, text) for text in map(str.strip, ends))
            if low is None or high is None or not 0 <= low < high:
                raise UsageError(f"the range {line} of {one.name} is empty", place="set", remedy="Write LOW..HIGH.")
            return Range(low, high, float not in one.types)
    # Quotes keep the commas of a value together.
    texts = next(csv.reader([line], skipinitialspace=True), [])
    values = [_value(one, text.strip()) for text in texts]
    if not values or len(set(map(repr, values))) < len(values):
        what = f"{one.name} has no values" if not values else f"{one.name} has a value twice: {line}"
        raise UsageError(what, place="set", remedy=f"Write {one.name}=A,B.")
    return values


def _value(one: Declaration, text: str) -> Any:
    value = one.read(text)
    if bool in one.types:
        value = _SWITCH.get(text.lower(), text)
    elif text == "none" and type(None) in one.types:
        value = None
    try:
        return one.parse(value)
    except ValueError as error:
        meant = did_you_mean(text, one.words) if one.words else ""
        raise UsageError(f"{one.name} is {text!r} but must be {error}", place="set", remedy=meant) from error


def _check_halving(search: Search, config: TrainConfig, values: dict[str, Values]) -> None:
    """Refuse halving by what is not the same in all points."""
    if not search.halving:
        return
    if "epochs" in values:
        raise UsageError("the epochs decide which points go on", place="halving", remedy="Give one number of epochs.")
    if "class_weight" in values and config.monitor == "loss":
        what = "losses with and without class weights are not comparable"
        raise UsageError(what, place="halving", remedy="Compare by another metric: `monitor='balanced-accuracy'`.")


def _grid(values: dict[str, Values]) -> list[Settings]:
    lists = [one for one in values.values() if isinstance(one, list)]
    n_points = math.prod(map(len, lists))
    if n_points > MOST_POINTS:
        remedy = "Give fewer values, or draw some: `random=50`."
        raise UsageError(f"these are {counted(n_points, 'point')}", place="set", remedy=remedy)
    return [dict(zip(values, point, strict=True)) for point in itertools.product(*lists)]


def _drawn(values: dict[str, Values], n_points: int, seed: int) -> list[Settings]:
    """Draw different points: the same ones for the same seed. They are fewer where there are no more."""
    rng = np.random.default_rng([seed, 0x5EE9])
    found: dict[str, Settings] = {}
    for _ in range(_TRIES * n_points):
        point = {
            name: own.draw(rng) if isinstance(own, Range) else own[int(rng.integers(len(own)))]
            for name, own in values.items()
        }
        found.setdefault(repr(point), point)
        if len(found) == n_points:
            break
    return list(found.values())


def _text(value: object) -> str:
    """Return a value as it is written on the command line."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
