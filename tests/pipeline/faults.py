"""Readers of songs that fail as native decoders do, for the contained place: told by the song's name what to do."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

import numpy as np

from songbag_pipeline.facts import Sink, SongFacts
from songbag_pipeline.songs import read_song
from songbag_store import FeatureSpec


def read(path: str, spec: FeatureSpec, sink: Sink) -> SongFacts:
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
    elif fault == "halfway":
        read_song(path, spec, sink)
        os.abort()
    elif fault == "noise":
        os.write(1, b"decoder: this is not an answer\n")
        os.write(2, b"decoder: warning\n" * 100_000)
    return read_song(path, spec, sink)


_leaked: list[object] = []


def stand_in(path: str, spec: FeatureSpec, sink: Sink) -> SongFacts:
    """Stand in for a decoder where only the bookkeeping is of interest: one window, told by the name."""
    value = hash(path) % 100
    sink(np.full((1, *spec.window_shape), value, spec.encoding))
    time.sleep(0)
    return SongFacts(n_windows=1, duration_s=5.0, truncated=False, padded=False, source_format="none")
