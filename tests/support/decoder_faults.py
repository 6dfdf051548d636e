"""Readers of songs that fail as native decoders do, for the contained place: told by the song's name what to do."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import numpy as np

from songbag_pipeline.audio.recording import Excerpt
from songbag_pipeline.songs.facts import Sink, SongFacts
from songbag_pipeline.songs.song import read_song
from songbag_store import FeatureSpec


def read(path: str, spec: FeatureSpec, sink: Sink, excerpt: Excerpt) -> SongFacts:
    """Read a song as always, unless its name begins with a fault."""
    fault = Path(path).name.partition("-")[0]
    if fault == "segfault":
        ctypes.string_at(0)
    elif fault == "abort":
        os.abort()
    elif fault == "loop":
        # A decoder in an endless loop may hold the interpreter's lock.
        ctypes.PyDLL(None).sleep(3600)
    elif fault == "allocate":
        np.ones(50 << 27)
    elif fault == "leak":
        _leaked.append(np.ones(40 << 17))
    elif fault == "touch":
        return read_song(path, spec, lambda windows: os.utime(path, (1, 1)), excerpt)
    elif fault == "halfway":
        read_song(path, spec, sink, excerpt)
        os.abort()
    elif fault == "noise":
        os.write(1, b"decoder: this is not an answer\n")
        os.write(2, b"decoder: warning\n" * 100_000)
    return read_song(path, spec, sink, excerpt)


_leaked: list[object] = []
