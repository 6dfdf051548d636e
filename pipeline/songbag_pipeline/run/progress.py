"""The counts of a run: songs, failures, windows and seconds of audio, and how fast they grow."""

from __future__ import annotations

import time

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.progress import Progress

_LINE_EVERY_S = 10.0


class RunProgress:
    """Counts what a run did, and tells how far it is.

    Parameters
    ----------
    n_songs : int
        Songs of the run.
    progress : Progress
        Where to show it.
    """

    def __init__(self, n_songs: int, progress: Progress) -> None:
        self.n_songs = n_songs
        self.n_done = 0
        self.n_failed = 0
        self.n_windows = 0
        self.audio_s = 0.0
        self._progress = progress
        self._started = self._last_line = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def advance(self, rows: pa.Table) -> None:
        """Count the rows of a finished batch."""
        self.n_done += rows.num_rows
        self.n_failed += int(pc.sum(pc.equal(rows["status"], "failed")).as_py() or 0)
        self.n_windows += int(pc.sum(rows["n_windows"]).as_py() or 0)
        self.audio_s += float(pc.sum(rows["duration_s"]).as_py() or 0)
        self._show()

    def _show(self) -> None:
        elapsed_s = max(self.elapsed_s, 1e-3)
        state = f"{self.n_done} of {self.n_songs} songs, {self.n_done / elapsed_s:.1f} songs/s"
        state += f", {self.audio_s / elapsed_s:,.0f} x real time, {self.n_failed} failed"
        line = None
        if time.monotonic() - self._last_line > _LINE_EVERY_S:
            self._last_line = time.monotonic()
            line = f"{state}, {elapsed_s / max(self.n_done, 1) * (self.n_songs - self.n_done):.0f} s left"
        self._progress.advance(self.n_done, state, line)
