"""Fields that are declared once, for checks, JSON, options and the tables of docs/reference/options.md."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

from songbag_store.errors import UsageError
from songbag_store.words import did_you_mean

_LARGEST_WHOLE = 2**32 - 1


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """What a field's values must be besides their type; see `at_least` and the like."""

    holds: Callable[[Any], bool]
    words: str
    """Follows "must be a number" or "must be a whole number"; for other types it follows "must be"."""


def at_least(low: float) -> Rule:
    """Return the rule that a number is `low` or more."""
    return Rule(lambda value: value >= low, f"from {low:g}")


def above(low: float, most: float = math.inf) -> Rule:
    """Return the rule that a number is above `low`, and at most another one."""
    words = f"above {low:g}" if math.isinf(most) else f"above {low:g} and at most {most:.10g}"
    return Rule(lambda value: low < value <= most, words)


def between(low: float, high: float) -> Rule:
    """Return the rule that a number is in an interval, its ends included."""
    return Rule(lambda value: low <= value <= high, f"from {low:.10g} to {high:.10g}")


def share_below_one() -> Rule:
    """Return the rule that a number is a share below the whole."""
    return Rule(lambda value: 0 <= value < 1, "from 0 to below 1")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What is declared of a field."""

    help: str
    """One or more whole sentences."""
    rule: Rule | None = None
    """What its values must be; None if the type is enough."""
    unit: str = ""
    """Unit of its values, in words."""
    option: str | None = ""
    """Its option, if that is not made from the field's name; None if it has no option."""
    panel: str | None = None
    """Heading in ``--help``; None for the common one."""
    metavar: str | None = None
    """Placeholder for the value in ``--help``."""
    absent: str = ""
    """What None stands for."""
    names: tuple[str, ...] = ()
    """Words among the values of a field that also takes others."""
    later: bool = False
    """Whether the first stores and runs had no such field. `Declared` says what follows from it."""
    name: str = ""
    """Name of the field; filled in."""
    hint: Any = None
    """Type of the field; filled in."""
    default: Any = None
    """Default of the field; filled in."""

    @property
    def flag(self) -> str | None:
        """The option of a command, such as ``--n-mfcc``; None if there is none."""
        return self.option if self.option != "" else "--" + self.name.replace("_", "-")

    @property
    def repeated(self) -> bool:
        """Whether the value is any number of texts, and the option may be given as often."""
        return self.types == (tuple,)

    @property
    def types(self) -> tuple[Any, ...]:
        """The types, or the words, that a value may have."""
        return _types(self.hint)

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that the value may be; empty for other types."""
        return _choices(self.hint)

    @property
    def words(self) -> tuple[str, ...]:
        """The words that a value may be, or some of them."""
        return self.choices or self.names

    @property
    def wanted(self) -> str:
        """The type and the range in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        nouns = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
        nouns[tuple] = "any number of texts"
        words = self.rule.words if self.rule else ""
        number = next((one for one in (float, int) if one in self.types), None)
        return f"{nouns[number]} {words}".strip() if number else words or nouns[self.types[0]]

    @property
    def default_text(self) -> str:
        """The default as a user reads it; empty for a switch that is off, and for None unless `absent` explains it."""
        if self.default is None or self.default is False or self.default == ():
            return self.absent
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)

    def read(self, text: str) -> Any:
        """Return the number that a text of the command line stands for; the text itself if it is none.

        `parse` then refuses it, in the same words as in Python.
        """
        for kind in (int, float):
            if kind in self.types:
                with suppress(ValueError):
                    return kind(text)
        return text

    def parse(self, value: object) -> Any:
        """Return a value as the field keeps it.

        Raises
        ------
        ValueError
            If it is of another type or breaks the rule; True is not a number.
        """
        value = plain_number(value)
        if value is None and type(None) in self.types:
            return None
        if self.repeated:
            # One text alone would otherwise be taken for its letters.
            value = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple)) else value
            if not isinstance(value, tuple) or not all(isinstance(one, str) for one in value):
                raise ValueError(self.wanted)
        if float in self.types and type(value) is int:
            value = float(value)
        fits = value in self.choices if self.choices else isinstance(value, self.types)
        if isinstance(value, int):
            fits = bool in self.types if isinstance(value, bool) else fits and abs(value) <= _LARGEST_WHOLE
        elif isinstance(value, float):
            fits = fits and math.isfinite(value)
        if not fits or (self.rule and not self.rule.holds(value)):
            raise ValueError(self.wanted)
        return value


def plain_number(value: Any) -> Any:
    """Return a number of NumPy's, which no type check of Python's takes for a whole one, as one of Python's."""
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def whole_number(value: object, place: str, low: int) -> int:
    """Return the whole number that a user gave for an argument, also if it is one of NumPy's.

    Raises
    ------
    UsageError
        If it is none, or below `low`.
    """
    number = plain_number(value)
    if type(number) is not int or number < low:
        raise UsageError(f"is {value!r:.80} but must be a whole number from {low}", place=place)
    return number


@cache
def _types(hint: Any) -> tuple[Any, ...]:
    """Return the types of a hint; a table of a thousand runs asks for them a hundred thousand times."""
    return (tuple,) if get_origin(hint) is tuple else get_args(hint) or (hint,)


@cache
def _choices(hint: Any) -> tuple[str, ...]:
    return get_args(hint) if get_origin(hint) is Literal else ()


def declared(default: Any, help: str, **more: Any) -> Any:
    """Declare a field of a `Declared` class; `more` are fields of `Declaration`."""
    return dataclasses.field(default=default, metadata={"declaration": Declaration(help=help, **more)})


def declarations(cls: type[Declared]) -> dict[str, Declaration]:
    """Return the declarations of a class by the names of its fields, in their order."""
    key: Any = cls  # mypy thinks that a class whose objects have their own hash is unhashable
    return _declarations(key)


@cache
def _declarations(cls: Any) -> dict[str, Declaration]:
    hints = get_type_hints(cls)
    return {
        f.name: dataclasses.replace(f.metadata["declaration"], name=f.name, hint=hints[f.name], default=f.default)
        for f in dataclasses.fields(cls)
    }


def require_options(given: object, place: str, *kinds: type[Declared]) -> None:
    """Refuse what are no options of one of these classes, such as a dict of them."""
    if not isinstance(given, kinds):
        names = [f"songbag.{kind.__name__}" for kind in kinds]
        what = f"is given as {type(given).__name__} but must be a {' or a '.join(names)}"
        raise UsageError(what, place=place, remedy=f"Write {names[0]}(...) with the options in the brackets.")


class Declared:
    """The base of frozen dataclasses whose fields are made by `declared`.

    A `later` field at its default is left out of `to_dict`, and so of fingerprints and comparisons. Stores and runs
    from before the field stay valid that way; so its default must never change.
    """

    __slots__ = ()

    ERROR: ClassVar[type[UsageError]] = UsageError

    def __post_init__(self) -> None:
        for name, declaration in declarations(type(self)).items():
            value = getattr(self, name)
            if value is declaration.default:
                continue
            try:
                object.__setattr__(self, name, declaration.parse(value))
            except ValueError as error:
                meant = did_you_mean(value, declaration.words) if isinstance(value, str) else ""
                self._require(False, name, str(error), meant)
        self._check()

    def _check(self) -> None:
        """Refuse values that do not fit together."""

    def _require(self, fits: bool, name: str, wanted: str, remedy: str = "") -> None:
        if not fits:
            raise self.ERROR(f"is {getattr(self, name)!r} but must be {wanted}", place=name, remedy=remedy)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types, without the `later` ones that have their default."""
        fields = declarations(type(self)).items()
        return {name: own for name, one in fields if (own := getattr(self, name)) != one.default or not one.later}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Return the value that `to_dict` gave these fields; an absent field takes its default.

        Raises
        ------
        UsageError
            If a field is unknown, of another type or out of its range.
        """
        if unknown := sorted(fields.keys() - declarations(cls).keys()):
            raise cls.ERROR(f"has unknown fields: {', '.join(map(repr, unknown[:6]))}", place=cls.__name__)
        return cls(**fields)

    def differences(self, other: Self) -> dict[str, tuple[object, object]]:
        """Return the two values of every field in which this and another one differ."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in declarations(type(self))}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
