"""Pages of the reference that the program makes: python -m tests.support.reference writes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import songbag
from songbag_store.cli import root
from songbag_store.cli.guide import GUIDE
from songbag_store.cli.wording import as_options, option_names
from songbag_store.format.columns import COLUMNS
from songbag_store.format.declaration import Declared
from songbag_store.format.failure_codes import REMEDIES
from songbag_store.format.index import OWN_FIELDS
from tests.support.site import DOCS

FOLDER = DOCS / "reference"

_MADE = "This page is made from the program: `python -m tests.support.reference` writes it.\n"


def commands_page() -> str:
    """Return the page of all commands, from their declarations and the guide."""
    commands = _commands()
    parts = ["# Commands\n", f"In the order of work, as `songbag --help` lists them. {_MADE}"]
    for group, examples in GUIDE.items():
        parts.append(f"## {group}\n")
        parts += [_command(name, example, commands[name]) for name, example in examples.items()]
    return "\n".join(parts)


def _commands() -> dict[str, Any]:
    from typer.main import get_command

    root._add_commands()
    return dict(get_command(root.app).commands)


def _command(name: str, example: str, command: Any) -> str:
    help_text = inspect.cleandoc(command.help or "").replace("\b", "").replace("\n", " ").replace("  ", "\n\n")
    lines = [f"### songbag {name}\n", f"{_plain(help_text)}\n", f"```sh\n{example}\n```\n"]
    rows = [_parameter(one) for one in command.params if not getattr(one, "hidden", False) and one.name != "help"]
    return "\n".join([*lines, "| | value | default | what it does |\n|---|---|---|---|", *rows, ""])


def _parameter(one: Any) -> str:
    if one.param_type_name == "argument":
        name, value = f"`{one.metavar or one.name.upper()}`", "one or more" if one.nargs == -1 else ""
    else:
        name, value = ", ".join(f"`{word}`" for word in [*one.opts, *one.secondary_opts]), one.metavar or _kind(one)
        value += ", may be repeated" if one.multiple else ""
    help_text, _, told = _plain(one.help or "").partition(" [default: ")
    default = "required" if one.required else told.removesuffix("]") or _default(one)
    return "| " + " | ".join(_cell(text) for text in (name, value, default, help_text)) + " |"


def _kind(one: Any) -> str:
    return "" if one.is_flag else str(one.name.upper())


def _default(one: Any) -> str:
    shown = one.show_default if isinstance(one.show_default, str) else one.default
    if callable(shown) or shown is None or shown is False or shown == () or "Sentinel" in repr(shown):
        return ""
    return "on" if shown is True else str(getattr(shown, "value", shown))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _plain(text: str) -> str:
    """Return help text without the marks of rich."""
    return text.replace("\\[", "[")


def columns_page() -> str:
    """Return the page of the index's columns."""
    head = [
        "# Columns of the index\n",
        "One row a song. Your own columns are between `path` and `status`. A failed song has no windows, and null for "
        "everything unknown. The columns from `sample_peak` to `end_s` came later than the others: a file that was "
        "written before lacks them, and songbag reads it as if they were null. [What songbag measures of the sound]"
        "(../how-to/songs/sound.md) says more of the six from `sample_peak` on.\n",
        _MADE,
        "| column | type | unit | meaning |\n|---|---|---|---|",
    ]
    rows = []
    for field in OWN_FIELDS:
        unit, meaning = COLUMNS[field.name]
        kind = str(field.type).replace("item: ", "")
        rows.append(f"| `{field.name}` | {kind} | {unit} | {meaning} |")
    return "\n".join([*head, *rows, ""])


def codes_page() -> str:
    """Return the page of the error codes of songs."""
    names = option_names(_commands()["extract"])
    head = [
        "# Error codes\n",
        'A song that fails is a row of the index with `status` "failed", one of these words in `error_code`, and a '
        "sentence in `error`. `songbag failures STORE` lists the songs with what to do.\n",
        _MADE,
        "| code | what to do |\n|---|---|",
    ]
    return "\n".join([*head, *(f"| `{code}` | {as_options(text, names)} |" for code, text in REMEDIES.items()), ""])


ROOMS = {"songbag_pipeline": "Extraction", "songbag_store": "Stores", "songbag_training": "Trainings and runs"}


def python_page() -> str:
    """Return the page of the front door; MkDocs puts the docstrings in when it builds the site."""
    parts = [
        "# Python\n",
        "Every public name of `import songbag`. The site (`make docs`) has its docstring here; `help(songbag.open)` "
        "shows it. Almost every command is a function with the same words for its options: `songbag.train` is `songbag "
        "train`, `songbag.cross_validate` is `songbag cross-validate`. SQL is `store.sql(...)`, `train --from` is "
        "`from_run`, `train --resume` is `songbag.resume`, `cross-validate --resume` is "
        "`songbag.resume_cross_validation`, and `relabel --from-tags` is `songbag.relabel_from_tags`.\n",
        _MADE,
    ]
    found = {name: getattr(songbag, name) for name in songbag.__all__ if name != "__version__"}
    for package, title in ROOMS.items():
        parts.append(f"## {title}\n")
        for name, value in sorted(found.items(), key=lambda item: item[0].casefold()):
            if value.__module__.startswith(f"{package}."):
                parts.append(_documented(name, value))
    return "\n".join(parts)


def _documented(name: str, value: Any) -> str:
    is_declared = isinstance(value, type) and issubclass(value, Declared)
    lines = [
        f"::: {value.__module__}.{value.__name__}",
        "    options:",
        f"      heading: songbag.{name}",
        f"      toc_label: {name}",
    ]
    if is_declared:
        lines.append("      members: false")
    more = "\nIts fields are listed under [Options](options.md).\n" if is_declared else ""
    return "\n".join(lines) + "\n" + more


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "columns.md": columns_page,
    "error-codes.md": codes_page,
    "python.md": python_page,
}
"""The pages by their names in docs/reference."""


if __name__ == "__main__":
    for page, made in PAGES.items():
        (FOLDER / page).write_text(made())
