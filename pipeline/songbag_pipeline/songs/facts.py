"""What the index says of a song beside its name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import datetime
from typing import Self

from songbag_store import FeatureSpec
from songbag_store.types import StoredWindows


@dataclasses.dataclass(slots=True)
class SongFacts:
    """What extraction found of one song: filled in as far as it came."""

    status: str = "ok"
    error_code: str | None = None
    error: str | None = None
    duration_s: float | None = None
    declared_duration_s: float | None = None
    source_sample_rate_hz: int | None = None
    channels: int | None = None
    source_format: str | None = None
    truncated: bool | None = None
    padded: bool | None = None
    content_sha256: str | None = None
    file_bytes: int | None = None
    modified_at: datetime | None = None
    n_windows: int = 0
    feature_sum: list[float] | None = None
    feature_sumsq: list[float] | None = None

    def fail(self, code: str, what: str) -> None:
        """Turn these into the facts of a failed song, which has no windows."""
        self.status, self.error_code, self.error = "failed", code, what
        self.n_windows, self.feature_sum, self.feature_sumsq = 0, None, None

    def to_json(self) -> str:
        """Return the facts as one line of JSON."""
        fields = dataclasses.asdict(self)
        return json.dumps(fields | {"modified_at": self.modified_at and self.modified_at.isoformat()})

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote; floats come back bit for bit.

        Raises
        ------
        ValueError, TypeError
            If it is something else.
        """
        fields = json.loads(text)
        time = fields["modified_at"]
        return cls(**fields | {"modified_at": time and datetime.fromisoformat(time)})


Sink = Callable[[StoredWindows], None]
"""Takes windows of a song as they come, shape (N, C, T)."""
Reader = Callable[[str, FeatureSpec, Sink], SongFacts]
"""Computes the windows of the song at a path, as `songbag_pipeline.songs.song.read_song`."""
