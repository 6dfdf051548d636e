"""How long work waits for its cluster."""

from __future__ import annotations

import dataclasses


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
