"""How work is shared out on machines, and which audio it takes: fields that the options of several commands have."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from songbag_store.errors import UsageError
from songbag_store.format.declaration import Declared, Rule, between, declared
from songbag_store.machine import n_cores

WORK_PANEL = "How to run"
"""Heading of these options in ``--help``."""
_SOURCE_PANEL = "What to take of a folder or a bucket"
_ADDRESS = re.compile(r"([a-z]+://)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*)(:[0-9]{1,5})?(/[A-Za-z0-9./_-]*)?")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WorkersConfig(Declared):
    """Who works: processes on this machine, or a Dask cluster that is there.

    Raises
    ------
    UsageError
        If a value is out of its range, or two clusters are named.
    """

    workers: int | None = declared(
        None, "Worker processes on this machine.", rule=between(1, 4096), absent="one per core", panel=WORK_PANEL
    )
    scheduler: str | None = declared(
        None,
        "Dask cluster to use, by its address: tcp://host:8786.",
        rule=Rule(lambda value: _ADDRESS.fullmatch(value) is not None, "an address like tcp://host:8786"),
        metavar="ADDRESS",
        panel=WORK_PANEL,
    )
    scheduler_file: str | Path | None = declared(
        None, "Dask cluster to use, by the file that its scheduler has written.", metavar="FILE", panel=WORK_PANEL
    )

    def _check(self) -> None:
        if self.scheduler is not None and self.scheduler_file is not None:
            what = "`scheduler` and `scheduler_file` both name a cluster"
            raise UsageError(what, place="scheduler", remedy="Give one of them.")

    @property
    def on_this_machine(self) -> bool:
        """Whether the cluster is one made for this work."""
        return self.scheduler is None and self.scheduler_file is None

    @property
    def n_workers(self) -> int:
        """Worker processes on this machine."""
        return self.workers or n_cores()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AudioConfig(WorkersConfig):
    """Who computes features of audio, and what is taken of a folder or a bucket."""

    hidden: bool = declared(
        False, "Take hidden entries too, and those of trash, version and system folders.", panel=_SOURCE_PANEL
    )
    exclude: tuple[str, ...] = declared(
        (),
        "Leave out what this pattern matches, by its name or by its path below the source; may be repeated.",
        metavar="PATTERN",
        panel=_SOURCE_PANEL,
    )
    follow_links: bool = declared(
        False, "Follow links to folders, and links that lead out of the source.", panel=_SOURCE_PANEL
    )
    upload: tuple[str, ...] = declared(
        (),
        "Send this module to the workers, for features of your own; may be repeated.",
        rule=Rule(lambda values: all(value.endswith(".py") for value in values), "files whose names end in .py"),
        metavar="FILE.py",
        panel=WORK_PANEL,
    )
