"""Functions and classes from outside songbag, named ``module:name``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from songbag_store.errors import SongbagError
from songbag_store.loading import LEVEL, quiet
from songbag_store.terminal import message_text


def load_named(name: str, error: type[SongbagError], *, place: str, folders: Sequence[str] = ()) -> tuple[Any, Any]:
    """Import a module and return it with what a name like ``module:name`` means in it.

    Only pass names that the user gave: importing runs code. Some folders, and then the current one, are searched last.

    Raises
    ------
    SongbagError
        Of the type given: if there is no such module or nothing to call in it, or the module cannot be imported.
    """
    module_name, separator, own_name = name.partition(":")
    if not separator or not own_name:
        raise error(f"{name!r} is not of the form module:name", place=place, remedy="Name it as module:name.")
    module = _module(module_name, error, place, [*folders, os.getcwd()])
    found = getattr(module, own_name, None)
    if not callable(found):
        what = f"the module {module_name!r} has no function {own_name!r}{in_file(module)}"
        raise error(what, place=place, remedy="Name it as module:function. If that is another module, rename yours.")
    return module, found


def in_file(module: Any) -> str:
    """Return where a module lies, for a message: another one of its name may have been found first."""
    file = getattr(module, "__file__", None)
    return f" (it is {message_text(file)})" if isinstance(file, str) else ""


def first_line(error: BaseException) -> str:
    """Return the first line of what an exception says, as `message_text` gives it; its type if it says nothing."""
    return message_text(next(iter(said_by(error).strip().splitlines()), type(error).__name__))


def said_by(error: BaseException) -> str:
    """Return what an exception says, an empty text if it cannot say it."""
    try:
        return str(error)
    except Exception:  # the exception may be of a class from outside
        return ""


def _module(module_name: str, error: type[SongbagError], place: str, folders: Sequence[str]) -> Any:
    sys.path.extend(folders)
    # It may import TensorFlow. A level that the user has set holds.
    os.environ.setdefault(LEVEL, "2")
    try:
        with quiet():
            return importlib.import_module(module_name)
    except Exception as reason:
        missing = isinstance(reason, ModuleNotFoundError) and f"{module_name}.".startswith(f"{reason.name}.")
        why = "is not there" if missing else f"cannot be imported ({type(reason).__name__}: {first_line(reason)})"
        remedy = "Install the package it comes in, or start songbag in the folder that holds the module."
        raise error(f"the module {module_name!r} {why}", place=place, remedy=remedy) from reason
    finally:
        for folder in folders:
            sys.path.remove(folder)
