"""Memory of a worker, measured: it does not grow with the song."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soxr

from songbag_pipeline.features.windower import window_features
from songbag_pipeline.songs.song import read_song
from songbag_store import FeatureSpec
from songbag_store.types import StoredWindows
from songbag_store.writer import open_identity
from tests.support.audio import chirp, sparse_wav, write
from tests.support.long import LONG
from tests.support.patience import PATIENCE_S

MB = 1 << 20
N_HOURS = 3 if LONG else 0.25

_WORKER = """
import json
import sys
import distributed
import pyarrow as pa
from songbag_pipeline.run.batch import Job, run_batch
from songbag_pipeline.run.plan import Plan
from songbag_pipeline.songs import containment
from songbag_pipeline.sources.source import read_source
from songbag_store import FeatureSpec
from songbag_store.writer import open_for_writing

def peak(process):
    with open(f"/proc/{process}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))

for song, address, spec in json.loads(sys.argv[1]):
    store = open_for_writing(address, FeatureSpec(**spec))
    todo = Plan.of(read_source(song), store.inside.state.content).todo
    (rows,) = run_batch(Job(store.location, store.uuid, store.spec, "test"), todo).values()
    process = containment._idle[0]._child
    print(rows["error_code"][0], rows["n_windows"][0], peak("self"), peak(process.pid) if process else 0)
"""


def peaks_of(*songs: tuple[Path, Path, dict[str, object]], error: str = "None") -> list[tuple[int, int, int]]:
    """Extract songs one after the other as one worker does.

    Returns for each its windows, and the peak memory of worker and decoder up to then, in bytes.
    """
    given = json.dumps([(str(song), str(store), spec) for song, store, spec in songs])
    command = [sys.executable, "-c", _WORKER, given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    found = []
    for line in done.stdout.splitlines():
        code, *numbers = line.split()
        assert code == error
        n_windows, worker, decoder = map(int, numbers)
        found.append((n_windows, worker, decoder))
    return found


def peaks(song: Path, store: Path, error: str = "None", **spec: object) -> tuple[int, int, int]:
    """Extract one song in a worker of its own."""
    (found,) = peaks_of((song, store, spec), error=error)
    return found


@pytest.mark.long
@pytest.mark.fault(24)
def test_a_long_song_takes_no_more_memory_than_a_minute_and_a_worker_stays_under_600_mb(tmp_path: Path) -> None:
    minute = peaks(sparse_wav(tmp_path / "minute.wav", 1 / 60), tmp_path / "minute")
    hours = peaks(sparse_wav(tmp_path / "hours.wav", N_HOURS), tmp_path / "hours")
    assert (minute[0], hours[0]) == (23, 1440 * N_HOURS - 1)
    assert hours[2] < minute[2] + 20 * MB
    assert hours[1] + hours[2] < 600 * MB
    assert open_identity(tmp_path / "hours").spec == FeatureSpec()


KINDS: list[tuple[int, int, dict[str, object]]] = [
    (22050, 1, {"window_hop_s": 0.005}),
    (768000, 2, {"sample_rate_hz": 44100}),
    (192000, 64, {}),
    (22050, 1, {"window_s": 600.0}),
    (22050, 1, {"window_s": 600.0, "kind": "logmel", "window_hop_s": 60.0}),
]
"""Sample rate, channels and features of songs; those that take most come last."""


@pytest.mark.long
@pytest.mark.parametrize("kinds", [[kind] for kind in KINDS] if LONG else [KINDS])
def test_long_windows_close_windows_high_rates_and_many_channels_stay_within_600_mb(
    tmp_path: Path, kinds: list[tuple[int, int, dict[str, object]]]
) -> None:
    """In the short form one worker reads all of them: its memory is then that of the worst, or more."""
    songs = []
    for number, (rate_hz, channels, spec) in enumerate(kinds):
        seconds = 700 if "window_s" in spec else 20
        song = sparse_wav(tmp_path / f"{number}.wav", seconds / 3600, rate_hz, channels)
        songs.append((song, tmp_path / f"store-{number}", spec))
    found = peaks_of(*songs)
    assert len(found) == len(kinds)
    for n_windows, worker, decoder in found:
        assert n_windows > 0
        assert worker + decoder < 600 * MB


def test_a_window_that_memory_cannot_hold_is_said_so_song_by_song(tmp_path: Path) -> None:
    song = sparse_wav(tmp_path / "x.wav", 1 / 3600)
    _, worker, _ = peaks(song, tmp_path / "store", error="out-of-memory", window_s=3600.0, sample_rate_hz=96000)
    assert worker < 600 * MB


def test_a_stream_gives_the_windows_of_the_whole_at_once(tmp_path: Path) -> None:
    spec = FeatureSpec(encoding="float32")
    samples = chirp(90.0, 44100)
    path = write(tmp_path / "x.flac", samples, 44100)
    windows: list[StoredWindows] = []
    read_song(str(path), spec, windows.append)
    stored = np.rint(samples[:, 0] * 32768) / 32768
    at_once = window_features(soxr.resample(stored.astype(np.float32), 44100, 22050, quality="HQ"), spec)
    np.testing.assert_allclose(np.concatenate(windows), at_once, atol=1e-3)
