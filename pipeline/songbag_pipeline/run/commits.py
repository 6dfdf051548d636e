"""What becomes of finished batches: `extract` commits their rows."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from songbag_pipeline.run.plan import count_duplicates
from songbag_pipeline.run.work import Work
from songbag_store import SongStore
from songbag_store.stop import doing
from songbag_store.words import counted
from songbag_store.writer import Committer


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
    """Commits the rows of batches, see `songbag_store.writer.Committer`.

    Parameters
    ----------
    work : Work
        The run; its summary is filled in.
    run_id : str
        What the commits name as their run.
    """

    def __init__(self, work: Work, run_id: str) -> None:
        self._work, self._committer = work, Committer(work.store, note="extract", run=run_id)
        self._newest: SongStore | None = None

    def add(self, fragment: str, rows: pa.Table) -> None:
        """Keep rows until the next commit."""
        self._committer.add(fragment, rows)

    def look(self) -> None:
        """Commit, if it is time."""
        if self._committer.is_due:
            self._commit(ended=False)

    def close(self) -> None:
        """Commit what is finished."""
        self._commit(ended=True)

    def finish(self) -> None:
        """Count the songs of the store that are there twice."""
        self._work.summary.n_duplicates = count_duplicates(self._newest or self._work.store.at())

    def _commit(self, *, ended: bool) -> None:
        if n_songs := self._committer.n_songs:
            with doing(f"{counted(n_songs, 'song is', 'songs are')} committed"):
                self._newest = self._committer.commit(ended=ended)
            self._work.summary.snapshot = self._newest.snapshot
