"""Messages that name arguments, put into the words of the command line."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

_ARGUMENT = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]+))?`")


def option_names(command: Any) -> dict[str, str]:
    """Return the options and arguments of a click command by their names in Python.

    Parameters
    ----------
    command : click.Command
        The command that runs.
    """
    names = {}
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            names[parameter.name] = parameter.metavar or parameter.name.upper()
            continue
        shown = max(parameter.opts, key=len)
        names[parameter.name] = shown
        names.setdefault(shown.removeprefix("--").replace("-", "_"), shown)
        # An option that may be repeated is a plural in Python.
        names.setdefault(f"{parameter.name}s", shown)
    return names


def as_options(text: str, names: Mapping[str, str]) -> str:
    """Return a message with each `argument` and `argument=value` in backticks as the option of that name.

    A word in backticks that is no argument of the command stays as it is.

    Examples
    --------
    >>> as_options("Give `update_changed=True`, or another `split`.", {"update_changed": "--update-changed"})
    'Give --update-changed, or another `split`.'
    """

    def option(match: re.Match[str]) -> str:
        shown = names.get(match[1])
        if shown is None:
            return match[0]
        value = match[2]
        if value is None or value == "True":
            return shown
        with suppress(ValueError, SyntaxError):
            value = str(ast.literal_eval(value))
        return f"{shown} {shlex.quote(value)}"

    return _ARGUMENT.sub(option, text)
