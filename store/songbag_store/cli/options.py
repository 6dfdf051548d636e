"""Options of commands that are declared once: the fields of a class, and how a location is reached."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeAlias, TypeVar, get_args, get_origin

import typer

from songbag_store.format.declaration import Declaration, Declared, declarations
from songbag_store.storage.location import DEFAULT_CACHE_SIZE, Location

if TYPE_CHECKING:
    import pyarrow as pa

D = TypeVar("D", bound=Declared)

Store = Annotated[str, typer.Argument(metavar="STORE", help="The store: a folder, or s3://, gs://, az://.")]

_FORM_HELP = "How to write the result, if the suffix of -o does not say it (.csv, .json, .parquet, .txt for a table)."
Form = Annotated[Literal["table", "csv", "json", "parquet"] | None, typer.Option("--format", help=_FORM_HELP)]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")]

_OPTIONS_HELP = "For object stores, may be repeated: endpoint=..., region=..., profile=..."
_CACHE_HELP = "Keep here what is read of an object store; several may share it."
_REACHED = "How the store is reached"
Number = Annotated[
    int | None, typer.Option(min=0, help="Read this snapshot of the store, not the newest.", rich_help_panel=_REACHED)
]
Pairs = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help=_OPTIONS_HELP, rich_help_panel=_REACHED)]
Dir = Annotated[Path | None, typer.Option(metavar="DIR", help=_CACHE_HELP, rich_help_panel=_REACHED)]
Size = Annotated[
    str, typer.Option(metavar="SIZE", help="The most that --cache-dir may hold.", rich_help_panel=_REACHED)
]

At: TypeAlias = Callable[[str], Location]
"""Takes an address and returns the location there, reached by the command's options."""

Command: TypeAlias = Callable[..., None]

Made: TypeAlias = Mapping[str, tuple[Sequence[inspect.Parameter], Callable[..., object]]]
"""For a parameter of a command: the options that it is made of, and what makes it of their values."""


def chosen_writer(
    form: Literal["table", "csv", "json", "parquet"] | None, output: Path | None
) -> Callable[[pa.Table], None] | None:
    """Return what writes a result as it was asked for; None if it is to be shown as text for people.

    Raises
    ------
    UsageError
        See `songbag_store.sql.output.chosen_format`.
    """
    if form in (None, "table") and output is None:
        return None
    from songbag_store.sql.output import chosen_format, write_table  # loads DuckDB, which text does not need

    return partial(write_table, form=chosen_format(form, output), output=output)


@dataclasses.dataclass(frozen=True)
class Given(Generic[D]):
    """The fields of a declared class that were given on the command line."""

    cls: type[D]
    fields: dict[str, Any]

    def make(self, **others: Any) -> D:
        """Return the value that they make; `others` are fields that were not given on the command line."""
        return self.cls(**(others | self.fields))


def with_options(command: Command) -> Command:
    """Give a command, in the place of each parameter of type ``Given[cls]``, the options of that class's fields."""
    own = inspect.signature(command, eval_str=True).parameters.values()
    classes = {one.name: get_args(one.annotation)[0] for one in own if get_origin(one.annotation) is Given}
    options = {name: [_option(one) for one in declarations(cls).values() if one.flag] for name, cls in classes.items()}
    return expanded(command, {name: (options[name], partial(_given, cls)) for name, cls in classes.items()})


def with_location(*, snapshot: bool = True, cache: bool = False) -> Callable[[Command], Command]:
    """Give a command, in the place of its parameter `at`, the options that say how a location is reached.

    Parameters
    ----------
    snapshot : bool
        Whether the command reads a snapshot that the user may choose.
    cache : bool
        Whether it reads so much that a cache on this machine is worth it.
    """
    options = inspect.signature(_reach, eval_str=True).parameters
    names = ["snapshot"] * snapshot + ["storage_option"] + ["cache_dir", "cache_size"] * cache
    return lambda command: expanded(command, {"at": ([options[name] for name in names], _reach)})


def _given(cls: type[D], **fields: Any) -> Given[D]:
    known, given = declarations(cls), {name: value for name, value in fields.items() if value is not None}
    return Given(cls, {name: known[name].read(one) if isinstance(one, str) else one for name, one in given.items()})


def _reach(
    snapshot: Number = None, storage_option: Pairs = None, cache_dir: Dir = None, cache_size: Size = DEFAULT_CACHE_SIZE
) -> At:
    # Parsed before the command does anything: a wrong option is reported at once.
    reached = Location.parse("", storage_option, snapshot, cache_dir, cache_size)
    return lambda address: dataclasses.replace(reached, address=address)


def expanded(command: Command, made: Made) -> Command:
    """Give a command, in the place of some parameters, the options that these parameters are made of."""

    @wraps(command)
    def run(**values: Any) -> None:
        for name, (options, make) in made.items():
            values[name] = make(**{one.name: values.pop(one.name) for one in options})
        command(**values)

    flat: list[inspect.Parameter] = []
    # How a location is reached comes last in the help.
    own = inspect.signature(command, eval_str=True).parameters.values()
    for one in sorted(own, key=lambda one: one.name == "at"):
        flat += made[one.name][0] if one.name in made else [one]
    # Only by name: the options of a class may stand before an argument without a default.
    flat = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in flat]
    run.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in flat}
    return run


def _option(one: Declaration) -> inspect.Parameter:
    """Return the parameter of a field; its default is None, so that what was given can be told from the default."""
    # A number comes as text: `Declaration` says what is wrong with it in the same words as in Python.
    kind: Any = bool if bool in one.types else str
    kind = list[kind] if one.repeated else kind
    metavar = one.metavar or ("X" if float in one.types else "N" if int in one.types else None)
    default = f" \\[default: {one.default_text}]" if one.default_text else ""  # unescaped it would be markup and vanish
    words = one.help.removesuffix(".") + f", in {one.unit}." if one.unit else one.help
    if not all(choice in words for choice in one.choices):
        words = f"{words.removesuffix('.')}: {' | '.join(one.choices)}."
    shown = typer.Option(
        one.flag, help=words + default, metavar=metavar, rich_help_panel=one.panel, autocompletion=_completion(one)
    )
    return inspect.Parameter(
        one.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, shown]
    )


def _completion(one: Declaration) -> Callable[[str], list[str]]:
    """Return what completes a word for an option in the shell."""
    return lambda incomplete: [word for word in one.words if word.startswith(incomplete)]
