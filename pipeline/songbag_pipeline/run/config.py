"""`ExtractConfig`: how an extraction is run; no byte of a feature depends on it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from songbag_pipeline.sources.selection import Selection
from songbag_store.errors import UsageError
from songbag_store.format.declaration import Declared, Rule, at_least, between, declared
from songbag_store.machine import n_cores

_PANEL = "How to run"
_ADDRESS = re.compile(r"([a-z]+://)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*)(:[0-9]{1,5})?(/[A-Za-z0-9./_-]*)?")
_SOURCE = "What to take of a folder or a bucket"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a run waits for its cluster, in seconds."""

    connect_s: float = 20.0
    """For the scheduler, or its file."""
    first_worker_s: float = 60.0
    """For the first worker."""
    look_s: float = 5.0
    """Between two looks at the workers."""
    without_workers_s: float = 60.0
    """For a fit worker, when the last one has left."""


LIMITS = Limits()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExtractConfig(Declared):
    """How `extract` works, besides the source, the store and the spec: docs/reference/options.md.

    Raises
    ------
    UsageError
        If a value is out of its range, or two clusters are named.
    """

    label_from_folder: bool = declared(False, "Put the first folder of each song into a column 'label'.")
    tags: bool = declared(
        False, "Put artist, album, title, genre, year and track of the files' own tags into columns of these names."
    )
    hidden: bool = declared(
        False, "Take hidden entries too, and those of trash, version and system folders.", panel=_SOURCE
    )
    exclude: tuple[str, ...] = declared(
        (),
        "Leave out what this pattern matches, by its name or by its path below the source; may be repeated.",
        metavar="PATTERN",
        panel=_SOURCE,
    )
    follow_links: bool = declared(
        False, "Follow links to folders, and links that lead out of the source.", panel=_SOURCE
    )
    workers: int | None = declared(
        None, "Worker processes on this machine.", rule=between(1, 4096), absent="one per core", panel=_PANEL
    )
    limit: int | None = declared(None, "Compute at most this many songs.", rule=at_least(1), absent="all", panel=_PANEL)
    retry_failed: bool = declared(
        False, "Try songs again that failed before, though their files did not change.", panel=_PANEL
    )
    update_changed: bool = declared(
        False, "Compute songs again whose content changed; without it they are an error before any work.", panel=_PANEL
    )
    max_failed: int | None = declared(
        None, "Stop when more songs than this have failed.", rule=at_least(0), absent="never", panel=_PANEL
    )
    upload: tuple[str, ...] = declared(
        (),
        "Send this module to the workers, for features of your own; may be repeated.",
        rule=Rule(lambda values: all(value.endswith(".py") for value in values), "files whose names end in .py"),
        metavar="FILE.py",
        panel=_PANEL,
    )
    scheduler: str | None = declared(
        None,
        "Dask cluster to use, by its address: tcp://host:8786.",
        rule=Rule(lambda value: _ADDRESS.fullmatch(value) is not None, "an address like tcp://host:8786"),
        metavar="ADDRESS",
        panel=_PANEL,
    )
    scheduler_file: str | Path | None = declared(
        None, "Dask cluster to use, by the file that its scheduler has written.", metavar="FILE", panel=_PANEL
    )

    def _check(self) -> None:
        if self.scheduler is not None and self.scheduler_file is not None:
            what = "`scheduler` and `scheduler_file` both name a cluster"
            raise UsageError(what, place="extract", remedy="Give one of them.")
        self.selection()

    def selection(self) -> Selection:
        """Return what to take of a folder or a bucket."""
        return Selection(hidden=self.hidden, exclude=self.exclude, follow_links=self.follow_links)

    @property
    def on_this_machine(self) -> bool:
        """Whether the cluster is one made for this run."""
        return self.scheduler is None and self.scheduler_file is None

    @property
    def n_workers(self) -> int:
        """Worker processes on this machine."""
        return self.workers or n_cores()
