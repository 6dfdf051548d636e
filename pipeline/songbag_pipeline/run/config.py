"""`ExtractConfig`: how an extraction is run; no byte of a feature depends on it."""

from __future__ import annotations

import dataclasses

from songbag_pipeline.sources.selection import Selection
from songbag_store.format.declaration import at_least, declared
from songbag_store.format.work import WORK_PANEL, AudioConfig, WorkersConfig


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExtractConfig(AudioConfig):
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
    limit: int | None = declared(
        None, "Compute at most this many songs.", rule=at_least(1), absent="all", panel=WORK_PANEL
    )
    retry_failed: bool = declared(
        False, "Try songs again that failed before, though their files did not change.", panel=WORK_PANEL
    )
    update_changed: bool = declared(
        False,
        "Compute songs again whose content changed; without it they are an error before any work.",
        panel=WORK_PANEL,
    )
    max_failed: int | None = declared(
        None, "Stop when more songs than this have failed.", rule=at_least(0), absent="never", panel=WORK_PANEL
    )

    def _check(self) -> None:
        WorkersConfig._check(self)
        selection_of(self)


def selection_of(config: AudioConfig) -> Selection:
    """Return what to take of a folder or a bucket."""
    return Selection(hidden=config.hidden, exclude=config.exclude, follow_links=config.follow_links)
