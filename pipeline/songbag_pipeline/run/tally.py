"""What workers tell of batches that are not done: after the first song of a batch, and then now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from songbag_pipeline.songs.facts import SongFacts


class Tally(NamedTuple):
    """How far a batch is: songs read, those of them that failed, and seconds of audio."""

    batch: str
    n_songs: int
    n_failed: int
    audio_s: float


def topic(run_id: str) -> str:
    """Return the name under which workers tell of a run."""
    return f"songbag-{run_id}"


class Teller:
    """Counts the songs of a batch on a worker, and tells of them; outside of a worker it does nothing.

    Parameters
    ----------
    run_id : str
        The run.
    every_s : float
        Least time between two messages.
    """

    def __init__(self, run_id: str, every_s: float) -> None:
        self._every_s, self._told_at = every_s, float("-inf")
        self._n_songs, self._n_failed, self._audio_s = 0, 0, 0.0
        self._tell: Callable[[Tally], object] | None = None
        self._batch = ""
        with suppress(ImportError, ValueError):
            from distributed import get_worker

            worker = get_worker()
            self._batch = str(worker.get_current_task())
            self._tell = lambda tally: worker.log_event(topic(run_id), list(tally))

    def count(self, song: SongFacts) -> None:
        """Count a song."""
        self._n_songs += 1
        self._n_failed += song.status != "ok"
        self._audio_s += song.duration_s or 0.0
        if self._tell is not None and time.monotonic() - self._told_at >= self._every_s:
            self._told_at = time.monotonic()
            self._tell(Tally(self._batch, self._n_songs, self._n_failed, self._audio_s))
