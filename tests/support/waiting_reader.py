"""A reader of songs that waits for each song but the first of its folder, until a file `go` is beside it."""

from __future__ import annotations

import time
from pathlib import Path

from songbag_pipeline.audio.recording import Excerpt
from songbag_pipeline.songs import song
from songbag_pipeline.songs.facts import Sink, SongFacts
from songbag_store import FeatureSpec


def read_song(path: str, spec: FeatureSpec, sink: Sink, excerpt: Excerpt) -> SongFacts:
    """Read a song, when it may be read."""
    here = Path(path)
    while here != min(here.parent.glob("*.wav")) and not here.with_name("go").exists():
        time.sleep(0.01)
    return song.read_song(path, spec, sink, excerpt)
