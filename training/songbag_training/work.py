"""Where the work of a command is done: worker processes, a cluster, several machines. No result depends on it."""

from __future__ import annotations

import dataclasses
import re

from songbag_store.format.declaration import Declared, Rule, at_least, between, declared
from songbag_store.format.work import WORK_PANEL, AudioConfig, WorkersConfig

_TEAM_PANEL = "One training on several machines"
_ADDRESSES = re.compile(r"[^\s,]+:[0-9]{1,5}(,[^\s,]+:[0-9]{1,5})+")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PredictConfig(AudioConfig):
    """How `predict` reads audio: docs/reference/options.md. No prediction depends on the workers.

    Raises
    ------
    UsageError
        If a value is out of its range, or two clusters are named.
    """


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TeamConfig(Declared):
    """The machines of one training: docs/reference/options.md. It is no part of the run.

    Raises
    ------
    UsageError
        If a value is out of its range.
    """

    machines: str | None = declared(
        None,
        "Addresses of two machines or more, the same on each of them; each takes its share of every batch.",
        rule=Rule(lambda value: _ADDRESSES.fullmatch(value) is not None, "addresses like a:2222,b:2222"),
        metavar="HOST:PORT,...",
        panel=_TEAM_PANEL,
    )
    machine: int = declared(
        0, "Which of them this is, counted from 0.", rule=between(0, 4095), metavar="N", panel=_TEAM_PANEL
    )

    def _check(self) -> None:
        self._require(self.machine < max(1, len(self.addresses)), "machine", "below the number of `machines`")

    @property
    def addresses(self) -> list[str]:
        """The address of each machine; empty if there is only this one."""
        return self.machines.split(",") if self.machines else []


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cluster(WorkersConfig):
    """Where the trainings of a sweep or a cross-validation run; no result depends on it.

    Without any of these they run in this process, one after the other.
    """

    workers: int | None = declared(
        None,
        "Worker processes on this machine, which share its cores.",
        rule=between(1, 4096),
        absent="none: in this process",
        panel=WORK_PANEL,
    )
    memory_bytes: int = declared(
        10**9,
        "Most of the store that a process keeps in memory, as stored: 1 GB holds some 3,000 songs of three minutes.",
        rule=at_least(0),
        unit="bytes",
        option=None,
    )

    @property
    def in_this_process(self) -> bool:
        """Whether nothing else works."""
        return self.workers is None and self.on_this_machine
