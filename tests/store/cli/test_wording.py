"""Errors name arguments in Python and options on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer

from songbag_store import cli
from songbag_store.cli.root import app
from songbag_store.cli.wording import as_options, option_names
from songbag_store.errors import UsageError
from songbag_store.format.spec import FeatureSpec
from songbag_store.upkeep.change import remove
from tests.support.command import songbag_here as songbag
from tests.support.stores import MakeStore, sixteenths

NAMES = {"update_changed": "--update-changed", "where": "--where", "output": "--output", "store": "STORE"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Run again with `update_changed=True`.", "Run again with --update-changed."),
        ("say `where='true'`", "say --where true"),
        ("say `where='it is a test'`", "say --where 'it is a test'"),
        ("leave `where` and `output` out", "leave --where and --output out"),
        ("Give another `store`", "Give another STORE"),
        ("`songbag failures STORE` and `unknown` stay", "`songbag failures STORE` and `unknown` stay"),
        ("`unknown=3` stays", "`unknown=3` stays"),
        ("`where=$(rm -rf x)`", "--where '$(rm -rf x)'"),
    ],
)
def test_an_argument_in_backticks_becomes_the_option_of_the_command(text: str, shown: str) -> None:
    assert as_options(text, NAMES) == shown


def test_the_names_are_those_of_the_command() -> None:
    assert callable(cli.main)
    command = typer.main.get_command(app).commands["query"]  # type: ignore[attr-defined]
    names = option_names(command)
    assert (names["store"], names["output"], names["format"]) == ("STORE", "--output", "--format")


def test_the_same_error_speaks_of_an_argument_in_python_and_of_an_option_in_a_shell(
    make_store: MakeStore, rng: np.random.Generator, tmp_path: Path
) -> None:
    store = make_store({"a": sixteenths(rng, 1, FeatureSpec().window_shape)})
    with pytest.raises(UsageError) as refusal:
        remove(store, " ")
    assert str(refusal.value) == "where: the condition is empty.\n  To remove every song, say `where='true'`."
    done = songbag("remove", store.address, "--where", " ")
    assert done.returncode == 2
    assert done.stderr == "songbag: --where: the condition is empty.\n  To remove every song, say --where true.\n"
