"""Options of a command that are made from declared fields."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin

import typer

from songbag_store.format.declaration import Declaration, Declared, declarations

D = TypeVar("D", bound=Declared)


@dataclasses.dataclass(frozen=True)
class Given(Generic[D]):
    """The fields of a declared class that stand on the command line."""

    cls: type[D]
    fields: dict[str, Any]

    def make(self, **others: Any) -> D:
        """Return the value that they make; `others` are fields that were not given on the command line."""
        return self.cls(**(others | self.fields))


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, in the place of each parameter of type ``Given[cls]``, the options of that class's fields."""
    parameters = inspect.signature(command, eval_str=True).parameters
    classes = {
        name: get_args(one.annotation)[0] for name, one in parameters.items() if get_origin(one.annotation) is Given
    }
    options = {name: [_option(one) for one in declarations(cls).values() if one.flag] for name, cls in classes.items()}

    @wraps(command)
    def run(**values: Any) -> None:
        for name, cls in classes.items():
            theirs = {option.name: values.pop(option.name) for option in options[name]}
            values[name] = Given(cls, {field: value for field, value in theirs.items() if value is not None})
        command(**values)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    flat = [option for name, one in parameters.items() for option in options.get(name, [one.replace(kind=kind)])]
    run.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in flat}
    return run


def _option(one: Declaration) -> inspect.Parameter:
    """Return the parameter of a field; its default is None, so that what was given can be told from the default."""
    kind = next(kind for kind in (bool, int, float, str) if kind in one.types or one.choices)
    kind = str if one.choices else kind
    default = f" \\[default: {one.default_text}]" if one.default_text else ""  # unescaped it would be markup and vanish
    words = one.help.removesuffix(".") + f", in {one.unit}." if one.unit else one.help
    if not all(choice in words for choice in one.choices):
        words = f"{words.removesuffix('.')}: {' | '.join(one.choices)}."
    shown = typer.Option(one.flag, help=words + default, metavar=one.metavar, rich_help_panel=one.panel)
    return inspect.Parameter(
        one.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=Annotated[kind | None, shown]
    )
