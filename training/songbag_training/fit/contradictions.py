"""Whether the options of a command that resumes a run are those that the run was begun with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from songbag_store.errors import UsageError
from songbag_training.runs.run import Run
from songbag_training.splits.split import Split


def refuse_contradictions(run: Run, given: Mapping[str, Any]) -> None:
    """Refuse options that are not those of a run; one that is not given is the run's.

    Parameters
    ----------
    run : Run
        The run to resume.
    given : mapping
        Options of `songbag train` by their names in Python.

    Raises
    ------
    UsageError
        Naming the first that differs.
    """
    own = dataclasses.asdict(run.facts.config) | {
        "label": run.facts.label,
        "where": run.facts.where,
        "snapshot": run.facts.snapshot,
    }
    own |= {"split": run.facts.split_sha256, "group": list(run.split().group)}
    for name, value in given.items():
        told = Split.read(value).digest if name == "split" else value
        if told != own[name]:
            raise UsageError(
                f"is {value!s}, but the run was begun with {own[name]!s}",
                place=name,
                remedy="A run is resumed with its own options: leave this one out, or train anew into another folder.",
            )
