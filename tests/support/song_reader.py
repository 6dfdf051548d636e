"""One song read in this process, as a worker's child process reads it."""

from __future__ import annotations

from pathlib import Path

from songbag_pipeline.audio.recording import WHOLE, Excerpt
from songbag_pipeline.songs.facts import SongFacts
from songbag_pipeline.songs.song import read_song
from songbag_store import FeatureSpec
from songbag_store.format.failure_codes import REMEDIES
from songbag_store.types import StoredWindows

SPEC = FeatureSpec(window_s=0.5, n_mels=40)


def read(path: Path, spec: FeatureSpec = SPEC, excerpt: Excerpt = WHOLE) -> tuple[SongFacts, list[StoredWindows]]:
    windows: list[StoredWindows] = []
    return read_song(str(path), spec, windows.append, excerpt), windows


def failing(path: Path, spec: FeatureSpec = SPEC) -> str | None:
    facts, _ = read(path, spec)
    assert facts.status == "failed"
    assert facts.error_code in REMEDIES
    assert facts.error
    return facts.error_code
