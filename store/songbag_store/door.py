"""`attach`: a package's public names, each imported when it is first used.

So a package can be imported, and the command line answer, before its heavy libraries are loaded.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext


def attach(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package.

    Parameters
    ----------
    package : str
        Its name.
    homes : mapping of str to sequence of str
        The public names by the module that has them. No module of the package has the name of a function: importing it
        would put the module in the function's place.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def load(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = home_of[name]
        try:
            # A package whose libraries write to the terminal names a context in which they do not.
            quietly = getattr(importlib.import_module(home.partition(".")[0]), "quietly", nullcontext)
            with quietly():
                value = getattr(importlib.import_module(home), name)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("songbag"):
                raise
            from songbag_store.errors import MissingExtra

            extra = home.partition(".")[0].removeprefix("songbag_")
            raise MissingExtra(extra, error.name or "", place=f"{package}.{name}") from error
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: sorted(home_of), sorted(home_of)
