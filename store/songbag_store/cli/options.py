"""Arguments and options that several commands share, and the location that they make."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from songbag_store.storage.location import DEFAULT_CACHE_SIZE, Location

Store = Annotated[str, typer.Argument(metavar="STORE", help="The store: a folder, or s3://, gs://, az://.")]

At: TypeAlias = Callable[[str], Location]
"""Takes an address and returns the location there, reached by the command's options."""

Command: TypeAlias = Callable[..., None]

_LOCATION = {
    "snapshot": (
        Annotated[int | None, typer.Option(min=0, help="Read this snapshot of the store instead of the newest.")],
        None,
    ),
    "storage_option": (
        Annotated[
            list[str] | None,
            typer.Option(
                metavar="KEY=VALUE", help="For object stores, may be repeated: endpoint=..., region=..., profile=..."
            ),
        ],
        None,
    ),
    "cache_dir": (
        Annotated[
            Path | None,
            typer.Option(metavar="DIR", help="Keep here what is read of an object store; several may share it."),
        ],
        None,
    ),
    "cache_size": (
        Annotated[str, typer.Option(metavar="SIZE", help="The most that --cache-dir may hold.")],
        DEFAULT_CACHE_SIZE,
    ),
}
LOCATION_OPTIONS = frozenset(_LOCATION)


def with_location(*, snapshot: bool = True, cache: bool = False) -> Callable[[Command], Command]:
    """Give a command, in the place of its parameter `at`, the options that say how a location is reached.

    Parameters
    ----------
    snapshot : bool
        Whether the command reads a snapshot that the user may choose.
    cache : bool
        Whether it reads so much that a cache on this machine is worth it.
    """
    names = ["snapshot"] * snapshot + ["storage_option"] + ["cache_dir", "cache_size"] * cache
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    options = [inspect.Parameter(n, kind, annotation=_LOCATION[n][0], default=_LOCATION[n][1]) for n in names]

    def decorate(command: Command) -> Command:
        @wraps(command)
        def run(**given: Any) -> None:
            # Parsed before the command does anything: a wrong option is told at once.
            reached = Location.parse("", **{name: given.pop(name) for name in names})
            command(**given, at=lambda address: dataclasses.replace(reached, address=address))

        signature = inspect.signature(command, eval_str=True)
        own = [one for one in signature.parameters.values() if one.name != "at"]
        signature = signature.replace(parameters=[*own, *options])
        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in signature.parameters.values()}
        return run

    return decorate
