"""`songbag info` of runs and cross-validations: what they are, how far they came, and how to make them again."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
import typer

from songbag_store.cli import root
from songbag_training.errors import DamagedRun
from songbag_training.runs.summary import describe, info
from tests.support.command import songbag_here
from tests.support.pages import ROOT

FIXTURE = ROOT / "tests" / "fixtures" / "training-format-1"


def parsed(command: str) -> dict[str, Any]:
    """Return the options of a command line as the command takes them."""
    root._add_commands()
    group: Any = typer.main.get_command(root.app)
    _, name, *words = shlex.split(command)
    return dict(group.commands[name].make_context(name, words).params)


def test_a_finished_run_tells_its_songs_metrics_and_the_command_that_makes_it_again() -> None:
    folder = FIXTURE / "cross-validation" / "fold-1"
    facts = info(folder)
    assert (facts["kind"], facts["state"], facts["label"]) == ("run", "finished", "label")
    assert facts["classes"] == {"folk": 8, "jazz": 8}
    assert facts["songs"] == {"train": 8, "validation": 0, "test": 8}
    assert facts["headline"].startswith("accuracy 0.50 (")
    assert facts["metrics"]["accuracy"]["value"] == 0.5
    again = parsed(facts["command"])
    assert (again["epochs"], again["bag_size"], again["encoder"], again["snapshot"]) == ("1", "2", "reference", 1)
    assert dict(describe(facts))["songs"] == "train 8, validation 0, test 8"


def test_a_run_that_was_interrupted_says_how_far_it_came() -> None:
    facts = info(FIXTURE / "interrupted")
    assert facts["state"] == "not finished: 2 of 3 epochs"
    assert (facts["headline"], facts["metrics"], facts["finished_at"]) == ("", {}, None)


def test_a_cross_validation_tells_its_folds() -> None:
    done = songbag_here("info", FIXTURE / "cross-validation", "--json")
    facts = json.loads(done.stdout)
    assert (facts["kind"], facts["state"], facts["songs"]) == ("cross-validation", "finished", {"1": 8, "2": 8})
    assert parsed(facts["command"])["label"] == "label"
    assert "fold 1: 8, fold 2: 8" in songbag_here("info", FIXTURE / "cross-validation").stdout


def test_a_store_is_told_as_before() -> None:
    assert info(FIXTURE / "store")["songs"] == 16


def test_a_damaged_run_is_an_error_and_no_run_is_named_so(tmp_path: Any) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(DamagedRun, match=r"run\.json"):
        info(tmp_path)
    assert songbag_here("info", tmp_path / "nothing").returncode == 1
