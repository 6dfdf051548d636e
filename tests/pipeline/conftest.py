"""Audio made on the spot, and clusters of real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from tests.support.clusters import N_SONGS, Start, importable, kill_tree, start_scheduler

Audio = npt.NDArray[np.float32]

ENCODINGS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def chirp(duration_s: float, rate_hz: int = 22050, channels: int = 1, seed: int = 0) -> Audio:
    """A rising tone with a little noise, shape (S, channels), the channels at different levels."""
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    noise = np.random.default_rng(seed).standard_normal(len(t))
    mono = 0.4 * np.sin(2 * np.pi * (220 + 40 * t) * t) + 0.02 * noise
    return (mono[:, None] * np.linspace(1, 0.5, channels)).astype(np.float32)


def write(path: Path, samples: Audio, rate_hz: int = 22050, encoding: str | None = None) -> Path:
    """Write an audio file of the kind its suffix says, or of another."""
    form, subtype = ENCODINGS[encoding or path.suffix[1:]]
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", rate_hz, samples.shape[1], subtype, format=form) as sound:
        # libvorbis overflows its stack when it is given a whole minute at once.
        for start in range(0, len(samples), 1 << 14):
            sound.write(samples[start : start + (1 << 14)])
    return path


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start ``dask`` commands in another folder than the coordinator's; what still runs at the end is killed."""
    (tmp_path / "elsewhere").mkdir()
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "dask.log").open("ab") as log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "dask", *map(str, arguments)],
                    cwd=tmp_path / "elsewhere",
                    stdout=log,
                    stderr=log,
                    env=os.environ | importable() | environment,
                )
            )
        return processes[-1]

    yield start
    for process in processes:
        kill_tree(process)


@pytest.fixture
def scheduler_file(tmp_path: Path, start: Start) -> Path:
    """A scheduler without workers, found by its file."""
    return start_scheduler(tmp_path / "scheduler.json", start)


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """Some short songs."""
    for number in range(N_SONGS):
        write(tmp_path / "songs" / f"{number:02}.wav", chirp(2.0, seed=number))
    return tmp_path / "songs"
