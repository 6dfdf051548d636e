"""`songbag --help` and the help of each command: their order, their examples, and how they look at 80 columns."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer

from songbag_store.cli import root
from songbag_store.cli.guide import GUIDE, LINE
from tests.support.command import songbag_here

EXAMPLES = {name: example for group in GUIDE.values() for name, example in group.items()}


def command_group() -> Any:
    root._add_commands()
    return typer.main.get_command(root.app)


def test_every_command_has_its_group_and_its_example_in_the_order_of_work() -> None:
    """A new command gets a line in `GUIDE`, in `songbag_store/cli/guide.py`."""
    assert list(command_group().commands) == list(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_one_line_and_is_parsed_by_its_command(name: str) -> None:
    example = EXAMPLES[name]
    assert len(example) <= LINE
    program, *words = shlex.split(example)
    group = command_group()
    with group.make_context(program, list(words)) as context:
        found, command, arguments = group.resolve_command(context, words)
        assert (program, found) == ("songbag", name)
        with command.make_context(name, arguments, parent=context) as parsed:
            assert not parsed.args


@pytest.mark.parametrize("name", ["", *EXAMPLES])
def test_help_is_legible_in_80_columns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = songbag_here(*name.split(), "--help")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "…" not in done.stdout
    assert EXAMPLES.get(name, "songbag COMMAND --help") in done.stdout


def test_the_groups_are_shown_in_the_order_of_work() -> None:
    shown = songbag_here("--help").stdout
    places = [shown.index(f" {group} ") for group in GUIDE]
    assert places == sorted(places)


def test_the_version_is_told() -> None:
    from importlib import metadata

    done = songbag_here("--version")
    assert (done.returncode, done.stdout) == (0, f"songbag {metadata.version('songbag')}\n")
