"""Turns messages that name Python arguments into messages that name command-line options."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from songbag_store.progress import Progress

_ARGUMENT = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]+))?`")


def option_names(command: Any) -> dict[str, str]:
    """Return the options and arguments of a click command by their Python names.

    Parameters
    ----------
    command : click.Command
        The command that runs.
    """
    names = {}
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            names[parameter.name] = (parameter.metavar or parameter.name.upper()).strip("[]")
            continue
        shown = names[parameter.name] = max(parameter.opts, key=len)
        # The plural too: an option that may be repeated takes several values, and its Python argument is a plural.
        for name in (shown.removeprefix("--").replace("-", "_"), f"{parameter.name}s"):
            names.setdefault(name, shown)
    return names


def as_options(text: str, names: Mapping[str, str]) -> str:
    """Return a message with each `argument` and `argument=value` in backticks as the option of that name.

    A word in backticks that is not an argument of the command stays as it is.

    Examples
    --------
    >>> as_options("Give `update_changed=True`, or another `split`.", {"update_changed": "--update-changed"})
    'Give --update-changed, or another `split`.'
    """

    def option(match: re.Match[str]) -> str:
        argument, value = match.groups()
        if argument not in names:
            return match[0]
        if value in (None, "True"):
            return names[argument]
        with suppress(ValueError, SyntaxError):
            value = str(ast.literal_eval(value))
        return f"{names[argument]} {shlex.quote(value)}"

    return _ARGUMENT.sub(option, text)


class AsOptions:
    """Shows progress with notes that name options in the place of arguments.

    Parameters
    ----------
    shown : Progress
        Where to show it.
    command : click.Command
        The command that runs.
    """

    def __init__(self, shown: Progress, command: Any) -> None:
        self._shown, self._names = shown, option_names(command)
        self.begin, self.advance, self.end = shown.begin, shown.advance, shown.end

    def note(self, line: str) -> None:
        """Show the line."""
        self._shown.note(as_options(line, self._names))
