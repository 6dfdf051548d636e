"""Loading TensorFlow for a command: without its messages, and without the time of the garbage collector."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from songbag_store.loading import quiet
from songbag_store.progress import Progress, Silent, stretch


def load_scoring(run: Path, progress: Progress | None = None) -> None:
    """Load what scores songs with the network of a run; a baseline needs nothing."""
    from songbag_training.runs.run import Run

    if not Run.open(run).facts.is_baseline:
        with quiet_start(progress):
            from songbag_training.evaluation import score  # noqa: F401


@contextmanager
def quiet_start(progress: Progress | None = None) -> Iterator[None]:
    """Import in this block what loads TensorFlow; a bar says that this is waited for."""
    # Garbage collection would take a third of the time.
    gc.disable()
    try:
        with stretch(progress or Silent(), None, "TensorFlow loads, which takes some seconds"), quiet():
            yield
    finally:
        gc.freeze()
        # What is frozen is never freed, and DuckDB lists what Python has not freed at its end.
        atexit.register(gc.unfreeze)
        gc.enable()
