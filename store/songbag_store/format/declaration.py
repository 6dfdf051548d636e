"""Fields that are declared once: the checks, the JSON, the options of a command and the tables of docs/options.md."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

from songbag_store.errors import UsageError

_LARGEST_WHOLE = 2**32 - 1


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """What the values of a field must be, besides their type: see `at_least` and the like."""

    holds: Callable[[Any], bool]
    words: str
    """Goes on after "must be a number" or "must be a whole number"; of other types it stands alone."""


def at_least(low: float) -> Rule:
    """Return the rule that a number is not below another."""
    return Rule(lambda value: value >= low, f"from {low:g}")


def above(low: float) -> Rule:
    """Return the rule that a number is above another."""
    return Rule(lambda value: value > low, f"above {low:g}")


def between(low: float, high: float) -> Rule:
    """Return the rule that a number is not outside of an interval."""
    return Rule(lambda value: low <= value <= high, f"from {low:.10g} to {high:.10g}")


def share_below_one() -> Rule:
    """Return the rule that a number is a share, and not all."""
    return Rule(lambda value: 0 <= value < 1, "from 0 to below 1")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What is said of a field."""

    help: str
    """One or more whole sentences."""
    rule: Rule | None = None
    """What its values must be; None where the type says it all."""
    unit: str = ""
    """Unit of its values, in words."""
    option: str | None = ""
    """Its name on the command line where that is not made from the field's; None where it has no option of its own."""
    panel: str | None = None
    """Heading in ``--help``; None for that of all options."""
    metavar: str | None = None
    """What stands for the value in ``--help``."""
    absent: str = ""
    """What None stands for."""
    name: str = ""
    """Of the field; filled in."""
    hint: Any = None
    """Its type; filled in."""
    default: Any = None
    """Filled in."""

    @property
    def flag(self) -> str | None:
        """The option of a command, such as ``--n-mfcc``; None where there is none."""
        return self.option if self.option != "" else "--" + self.name.replace("_", "-")

    @property
    def types(self) -> tuple[Any, ...]:
        """The types, or the words, that a value may have."""
        return get_args(self.hint) or (self.hint,)

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that the value is one of; empty where it is of another kind."""
        return self.types if get_origin(self.hint) is Literal else ()

    @property
    def wanted(self) -> str:
        """The type and the range in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        nouns = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
        words = self.rule.words if self.rule else ""
        number = next((one for one in (float, int) if one in self.types), None)
        if number is None:
            return words or nouns[self.types[0]]
        return f"{nouns[number]} {words}".strip()

    @property
    def default_text(self) -> str:
        """The default as a user reads it; empty where None says it all, and for a switch that is off."""
        if self.default is None or self.default is False:
            return self.absent
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)

    def parse(self, value: object) -> Any:
        """Return a value as the field keeps it.

        Raises
        ------
        ValueError
            If it is of another type or breaks the rule; True is no number.
        """
        if value is None and type(None) in self.types:
            return None
        if float in self.types and type(value) is int:
            value = float(value)
        fits = value in self.choices if self.choices else isinstance(value, self.types)
        if type(value) is bool:
            fits = bool in self.types
        if isinstance(value, (int, float)):
            fits = fits and (math.isfinite(value) if isinstance(value, float) else abs(value) <= _LARGEST_WHOLE)
        if not fits or (self.rule and not self.rule.holds(value)):
            raise ValueError(self.wanted)
        return value


def declared(default: Any, help: str, **more: Any) -> Any:
    """Declare a field of a `Declared` class: its default, its help, and further fields of `Declaration`."""
    return dataclasses.field(default=default, metadata={"declaration": Declaration(help=help, **more)})


def declarations(cls: type[Declared]) -> dict[str, Declaration]:
    """Return the declarations of a class's fields by their names, in their order."""
    key: Any = cls  # mypy takes a class whose objects have a hash of their own for unhashable
    return _declarations(key)


@cache
def _declarations(cls: Any) -> dict[str, Declaration]:
    hints = get_type_hints(cls)
    return {
        field.name: dataclasses.replace(
            field.metadata["declaration"], name=field.name, hint=hints[field.name], default=field.default
        )
        for field in dataclasses.fields(cls)
    }


class Declared:
    """The base of frozen dataclasses whose fields are made by `declared`.

    A field that is added later stays out of `to_dict` where it has its default, and so out of fingerprints and of what
    is compared. So what was written before the field was there stays valid, and its default must never change.
    """

    __slots__ = ()

    FIRST: ClassVar[frozenset[str]] = frozenset()
    """Fields that `to_dict` always has: those of the first stores and runs."""
    ERROR: ClassVar[type[UsageError]] = UsageError

    def __post_init__(self) -> None:
        for name, declaration in declarations(type(self)).items():
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, declaration.parse(value))
            except ValueError as error:
                self._require(False, name, str(error))
        self._check()

    def _check(self) -> None:
        """Refuse values that do not fit together."""

    def _require(self, fits: bool, name: str, wanted: str) -> None:
        if not fits:
            raise self.ERROR(f"is {getattr(self, name)!r} but must be {wanted}", place=name)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types, without those that were added later and have their default."""
        fields = {name: (getattr(self, name), one.default) for name, one in declarations(type(self)).items()}
        return {name: value for name, (value, default) in fields.items() if name in self.FIRST or value != default}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Return what `to_dict` gave these fields; one that is absent has its default.

        Raises
        ------
        UsageError
            If a field is unknown, of another type or out of its range.
        """
        unknown = sorted(fields.keys() - declarations(cls).keys())
        if unknown:
            raise cls.ERROR(f"has unknown fields: {', '.join(map(repr, unknown[:6]))}", place=cls.__name__)
        return cls(**fields)

    def differences(self, other: Self) -> dict[str, tuple[object, object]]:
        """Return the fields in which two values differ, with both."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in declarations(type(self))}
        return {name: (mine, theirs) for name, (mine, theirs) in pairs.items() if mine != theirs}
