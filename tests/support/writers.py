"""Processes that write to a store, and what must hold of the store after them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from songbag_store import SongStore
from tests.support.songs import windows_of

ROOT = Path(__file__).parents[2]


def start(place: tuple[str, dict[str, str]], seed: int, n_songs: int) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "tests.support.writer_process",
        place[0],
        json.dumps(place[1]),
        str(seed),
        str(n_songs),
    ]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT)


def begin(writer: subprocess.Popen[str]) -> None:
    assert writer.stdin is not None
    assert writer.stdout is not None
    assert writer.stdout.readline() == "loaded\n", writer.stderr.read()  # type: ignore[union-attr]
    writer.stdin.write("\n")
    writer.stdin.flush()


def hold(store: SongStore, acknowledged: set[str], whole: set[str]) -> None:
    """Hold that acknowledged songs are there once, and that some songs have the very windows they should."""
    ids = store.index(arrow=True)["song_id"].to_pylist()
    assert len(ids) == len(set(ids))
    assert acknowledged <= set(ids)
    for song, windows in store.iter_windows(whole):
        np.testing.assert_array_equal(windows, windows_of(song))
