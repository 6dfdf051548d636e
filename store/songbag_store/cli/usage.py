"""What is wrong with a command line, in plain words: `UsageError` in the place of the messages of Typer's parser."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import typer

from songbag_store.errors import UsageError
from songbag_store.terminal import spelled
from songbag_store.words import did_you_mean

_NOUNS = {"int": "a whole number", "float": "a number", "bool": "true or false", "date": "a date", "path": "a path"}
_TOO_MANY = re.compile(r"Got unexpected extra argument[^(]*(?:\(s\))? ?\((.*)\)", re.DOTALL)
_BOUNDS = {
    "greater_than_equal": ("ge", "from {}"),
    "less_than_equal": ("le", "at most {}"),
    "greater_than": ("gt", "above {}"),
    "less_than": ("lt", "below {}"),
}


def in_plain_words(error: typer.TyperException) -> UsageError:
    """Return what a command line lacks or has too much, and the help that tells more."""
    context: Any = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "songbag"
    what, place, remedy = _fault(error)
    told = f"`{path} --help` shows what it takes, with an example."
    return UsageError(what, place=place, remedy=f"{remedy} {told}".strip())


def unknown_command(name: str, known: Sequence[str]) -> UsageError:
    """Return the error for a command that does not exist."""
    remedy = f"{did_you_mean(name, known)} `songbag --help` lists the commands.".strip()
    return UsageError(f"there is no command {spelled(name)}", remedy=remedy)


def _fault(error: Any) -> tuple[str, str, str]:
    """Return what is wrong, where, and what was probably meant."""
    kind, parameter = type(error).__name__, getattr(error, "param", None)
    if kind == "NoSuchOption":
        known = [name for one in error.ctx.command.params for name in (*one.opts, *one.secondary_opts)]
        known = [name for name in known if name.startswith("--")] + ["--help", "--debug"]
        return f"there is no option {spelled(error.option_name)}", "", did_you_mean(error.option_name, known)
    if parameter is not None:
        place = _name_of(parameter)
        if kind == "MissingParameter":
            return "is missing", place, _sentence(parameter.help or "")
        what, remedy = _value_fault(error, parameter)
        return what, place, remedy
    if kind == "BadOptionUsage":
        if "does not take" in error.message:
            return "takes no value", error.option_name, "Give it alone."
        return "needs a value", error.option_name, ""
    if found := _TOO_MANY.fullmatch(error.message):
        return f"too much: {spelled(found[1], 60)}", "", "Quote a text with spaces in it."
    return error.message.rstrip(".").replace("\n", " "), "", ""


def _value_fault(error: Any, parameter: Any) -> tuple[str, str]:
    """Return what is wrong with a value, and what was probably meant."""
    reasons = error.__cause__.errors() if hasattr(error.__cause__, "errors") else []
    if not reasons:
        return error.message.rstrip("."), ""
    value = reasons[0]["input"]
    shown = spelled(value, 60) if isinstance(value, str) else str(value)
    choices = [str(choice) for choice in parameter.type_descriptor.choices or ()]
    if choices:
        return f"is {shown} but must be one of {', '.join(choices)}", did_you_mean(str(value), choices)
    return f"is {shown} but must be {_wanted(reasons[0], parameter)}", ""


def _wanted(reason: Any, parameter: Any) -> str:
    """Return the type and the range that a value must have."""
    kind = reason["type"]
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return words.format(reason["ctx"][key])
    noun = _NOUNS.get(kind.partition("_")[0], "something else")
    low, high = getattr(parameter, "min", None), getattr(parameter, "max", None)
    if low is not None and high is not None:
        return f"{noun} from {low} to {high}"
    return f"{noun} from {low}" if low is not None else f"{noun} to {high}" if high is not None else noun


def _name_of(parameter: Any) -> str:
    """Return the option, or the word that stands for an argument."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper()).strip("[]")
    return str(max(parameter.opts, key=len))


def _sentence(help: str) -> str:
    """Return the help of a parameter as a sentence that says what to give."""
    text = help.replace("\\[", "[").strip()
    return f"It is: {text}" if text else ""
