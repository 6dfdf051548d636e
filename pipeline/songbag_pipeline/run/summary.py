"""What a run did, and how far it is."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from songbag_pipeline.run.tally import Tally
from songbag_store.progress import Progress
from songbag_store.sql.shown import Shown
from songbag_store.words import counted


@dataclasses.dataclass(slots=True, kw_only=True, repr=False)
class Summary(Shown):
    """What a run found and did; counted while it lasts.

    Attributes
    ----------
    n_known, n_failed_before : int
        Songs of the source that were in the store, with features and as failures.
    n_adopted : int
        Songs that an earlier run had finished and not committed.
    snapshot : int
        The store's newest snapshot.
    n_duplicates : int
        Songs of the store that are another one byte for byte; the first of each group is not counted.
    n_again : int
        Songs to be tried again that failed before, and whose files have not changed.
    warnings : tuple of str
        What was left out of the source, and why.
    n_stored, n_failed : int
        Songs of this run.
    n_windows, audio_s, elapsed_s
        Windows, seconds of audio and of time of this run.
    """

    n_known: int
    n_failed_before: int
    n_adopted: int
    snapshot: int
    n_duplicates: int
    n_again: int = 0
    warnings: tuple[str, ...] = ()
    n_stored: int = 0
    n_failed: int = 0
    n_windows: int = 0
    audio_s: float = 0.0
    elapsed_s: float = 0.0

    @property
    def n_done(self) -> int:
        """Songs of this run."""
        return self.n_stored + self.n_failed

    @property
    def nothing_stored(self) -> bool:
        """Whether there were new songs and none could be stored, or the store has no song of the source at all."""
        return self.n_stored == 0 and (self.n_failed > self.n_again or self.n_known == 0)

    def _facts(self) -> Iterator[tuple[str, object]]:
        yield from {"stored": self.n_stored, "failed": self.n_failed, "known": self.n_known}.items()
        yield from {"failed before": self.n_failed_before, "windows": self.n_windows}.items()
        yield from {"seconds": self.elapsed_s, "snapshot": self.snapshot}.items()
        yield from (("note", warning) for warning in self.warnings)


class RunProgress:
    """Counts what a run did, and shows how far it is.

    Parameters
    ----------
    n_songs : int
        Songs of the run.
    summary : Summary
        Where to count.
    progress : Progress
        Where to show it.
    line_every_s : float
        Seconds between two lines.
    """

    def __init__(self, n_songs: int, summary: Summary, progress: Progress, line_every_s: float = 10.0) -> None:
        self._n_songs, self._summary, self._progress = n_songs, summary, progress
        self._line_every_s = line_every_s
        self._under_way: dict[str, Tally] = {}
        self._started = self._last_line = time.monotonic()

    def __str__(self) -> str:
        return f"{self._summary.n_done:,} of {counted(self._n_songs, 'song')} done and committed"

    def stop_clock(self) -> None:
        """Note the time that the run has taken so far."""
        self._summary.elapsed_s = max(time.monotonic() - self._started, 1e-3)

    def tell(self, tally: Tally) -> None:
        """Show how far a batch is that is not done."""
        self._under_way[tally.batch] = tally
        self._show()

    def forget(self, batch: str) -> None:
        """Leave out what was told of a batch: it is done, or begins again."""
        self._under_way.pop(batch, None)

    def advance(self, rows: pa.Table) -> None:
        """Count the rows of a finished batch and show the new state."""
        n_failed = int(pc.sum(pc.equal(rows["status"], "failed")).as_py() or 0)
        run = self._summary
        run.n_failed += n_failed
        run.n_stored += rows.num_rows - n_failed
        run.n_windows += int(pc.sum(rows["n_windows"]).as_py() or 0)
        run.audio_s += float(pc.sum(rows["duration_s"]).as_py() or 0)
        self._show()

    def _show(self) -> None:
        """Show songs that are done and songs of batches that are not."""
        self.stop_clock()
        run, told = self._summary, self._under_way.values()
        n_songs = run.n_done + sum(tally.n_songs for tally in told)
        n_failed = run.n_failed + sum(tally.n_failed for tally in told)
        audio_s = run.audio_s + sum(tally.audio_s for tally in told)
        state = f"{n_songs:,} of {counted(self._n_songs, 'song')}, {n_songs / run.elapsed_s:.1f} songs/s"
        state += f", {audio_s / run.elapsed_s:,.0f} x real time, {n_failed:,} failed"
        line = None
        if time.monotonic() - self._last_line > self._line_every_s:
            self._last_line = time.monotonic()
            line = f"{state}, {run.elapsed_s / max(n_songs, 1) * (self._n_songs - n_songs):.0f} s left"
        self._progress.advance(n_songs, state, line)
