"""What becomes of finished batches: `extract` commits their rows."""

from __future__ import annotations

import time
from typing import Protocol

import pyarrow as pa

from songbag_pipeline.run.plan import count_duplicates
from songbag_pipeline.run.work import Work
from songbag_store import SongStore
from songbag_store.commits.parts import PackedParts
from songbag_store.stop import doing
from songbag_store.words import counted
from songbag_store.writer import commit_parts

_COMMIT_EVERY_S = 120.0
_COMMIT_EVERY_SONGS = 20_000


class Keeper(Protocol):
    """Takes in the batches of a run."""

    def add(self, fragment: str, rows: pa.Table) -> None:
        """Take in the rows of a fragment, whose part is durable."""

    def look(self) -> None:
        """Do what is due now and then; called while batches are under way."""

    def close(self) -> None:
        """Make durable what was taken in, however the run ends."""

    def finish(self) -> None:
        """Do what is left when all songs are done."""


class Commits:
    """Commits the rows of batches every few minutes, and at the end.

    Memory: the rows that are not yet committed (about 20,000, compressed), and during a commit the files of the last
    snapshot and of the new one.

    Parameters
    ----------
    work : Work
        The run; its summary is filled in.
    run_id : str
        What the commits name as their run.
    """

    def __init__(self, work: Work, run_id: str) -> None:
        self._work, self._run_id = work, run_id
        self._pending, self._n_pending = PackedParts(), 0
        self._committed_at = time.monotonic()
        self._newest: SongStore | None = None

    def add(self, fragment: str, rows: pa.Table) -> None:
        """Keep rows until the next commit."""
        self._pending.pack(fragment, rows)
        self._n_pending += rows.num_rows

    def look(self) -> None:
        """Commit, if it is time."""
        if self._n_pending >= _COMMIT_EVERY_SONGS or time.monotonic() - self._committed_at > _COMMIT_EVERY_S:
            self._commit(ended=False)

    def close(self) -> None:
        """Commit what is finished."""
        self._commit(ended=True)

    def finish(self) -> None:
        """Count the songs of the store that are there twice."""
        self._work.summary.n_duplicates = count_duplicates(self._newest or self._work.store.at())

    def _commit(self, *, ended: bool) -> None:
        if self._pending:
            with doing(f"{counted(self._n_pending, 'song is', 'songs are')} committed"):
                self._newest = commit_parts(self._work.store, self._pending, run=self._run_id, ended=ended)
            self._work.summary.snapshot = self._newest.snapshot
            self._pending, self._n_pending = PackedParts(), 0
            # Otherwise Arrow keeps the memory that the commit took.
            pa.default_memory_pool().release_unused()
        self._committed_at = time.monotonic()
