"""How a run shows itself: a bar on a terminal, plain lines elsewhere, both on standard error."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

_LINE_EVERY_S = 10.0


class RunProgress:
    """Counts songs, seconds of audio and failures, and shows them while the run lasts.

    Parameters
    ----------
    n_songs : int
        Songs of the run.
    console : rich.console.Console
        Where to show it.
    """

    def __init__(self, n_songs: int, console: Console) -> None:
        self.n_songs = n_songs
        self.n_done = 0
        self.n_failed = 0
        self.n_windows = 0
        self.audio_s = 0.0
        self._console = console
        self._started = self._last_line = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = (
                SpinnerColumn(),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("songs  {task.fields[rates]}"),
                TimeRemainingColumn(elapsed_when_finished=True),
            )
            self._bar = Progress(*columns, console=self._console)
            self._task = self._bar.add_task("songs", total=self.n_songs, rates="starting")
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

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

    def rates(self) -> str:
        """Return the speed so far and the failures, in words."""
        elapsed_s = max(self.elapsed_s, 1e-3)
        speed = f"{self.n_done / elapsed_s:.1f} songs/s, {self.audio_s / elapsed_s:,.0f} x real time"
        return f"{speed}, {self.n_failed} failed"

    def _show(self) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=self.n_done, rates=self.rates())
        elif time.monotonic() - self._last_line > _LINE_EVERY_S:
            self._last_line = time.monotonic()
            left_s = self.elapsed_s / max(self.n_done, 1) * (self.n_songs - self.n_done)
            text = f"{self.n_done} of {self.n_songs} songs, {self.rates()}, {left_s:.0f} s left"
            self._console.print(text, highlight=False, markup=False)
