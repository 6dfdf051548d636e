"""The facts of a song that the index holds, besides its id and path."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Self

from songbag_pipeline.audio.meter import Sound
from songbag_pipeline.audio.recording import Excerpt
from songbag_pipeline.errors import SongError
from songbag_store import FeatureSpec
from songbag_store.errors import StoreError
from songbag_store.format.array import UnencodableFeatures
from songbag_store.plugin import first_line
from songbag_store.terminal import message_text


@dataclasses.dataclass(slots=True)
class SongFacts:
    """What is known of one song; None where extraction did not get that far."""

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
    sample_peak: float | None = None
    clipped_share: float | None = None
    silent_share: float | None = None
    cancelled_share: float | None = None
    side_share: float | None = None
    highest_hz: float | None = None
    audio_note: str | None = None
    content_sha256: str | None = None
    file_bytes: int | None = None
    modified_at: datetime | None = None
    n_windows: int = 0
    feature_sum: list[float] | None = None
    feature_sumsq: list[float] | None = None
    tags: dict[str, str | int] = dataclasses.field(default_factory=dict)

    def fail(self, code: str, what: str) -> None:
        """Turn these into the facts of a failed song, which has no windows.

        What went wrong may be told by a library, an extractor or the name of a file, so it is made fit for the index.
        """
        self.status, self.error_code, self.error = "failed", code, message_text(what)
        self.n_windows, self.feature_sum, self.feature_sumsq = 0, None, None
        self.take(Sound())

    @classmethod
    def of_failure(cls, error: SongError) -> Self:
        """Return the facts of a song of which nothing is known but why it failed."""
        facts = cls()
        facts.fail(error.code, error.what)
        return facts

    def take(self, sound: Sound) -> None:
        """Take in what a meter found."""
        for name, value in dataclasses.asdict(sound).items():
            setattr(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON values."""
        return dataclasses.asdict(self) | {"modified_at": self.modified_at and self.modified_at.isoformat()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Read what `to_dict` made, after a way through JSON; floats come back bit for bit."""
        time = fields["modified_at"]
        return cls(**fields | {"modified_at": time and datetime.fromisoformat(time)})


Sink = Callable[[Any], None]
"""Takes windows of a song as they come, shape (N, C, T), or its samples, shape (S,)."""
Reader = Callable[[str, FeatureSpec, Sink, Excerpt], SongFacts]
"""Computes the windows of the song at a path, or of a part of it, as `songbag_pipeline.songs.song.read_song`."""


class Fresh:
    """Passes things on, but none a second time when another decoder begins again.

    Attributes
    ----------
    n_items : int
        How many were passed on.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.n_items = self._seen = 0

    def again(self) -> None:
        """Expect the song from its beginning."""
        self._seen = 0

    def pass_on(self, items: Any) -> Any:
        """Pass on, and return, those that come for the first time."""
        fresh = items[max(0, self.n_items - self._seen) :]
        self._seen += len(items)
        if len(fresh):
            self.n_items = self._seen
            self._sink(fresh)
        return fresh


@contextmanager
def failures_of(facts: SongFacts) -> Iterator[None]:
    """Turn what goes wrong with a song into its facts."""
    try:
        yield
    except SongError as error:
        facts.fail(error.code, error.what)
    except StoreError:
        raise  # there is no room for the windows: the song is not to blame
    except UnencodableFeatures as error:
        facts.fail("out-of-range", str(error))
    except MemoryError:
        facts.fail("out-of-memory", "decoding took more memory than it may")
    except OSError as error:
        facts.fail("unreadable-file", f"reading failed ({error.strerror or error})")
    except Exception as error:  # a file may hit any bug of a library; the other songs go on
        facts.fail("internal-error", f"{type(error).__name__}: {first_line(error)}")
