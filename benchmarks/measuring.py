"""How the benchmarks measure: one core, one thread, warm cache, the contestants taking turns, medians."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def pin_to_one_core() -> None:
    """Stay on one core from here on, child processes too."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def medians(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return seconds by name. In every round each runs once, so that a slow moment of the machine hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for run in contestants.values():
        run()
    for _ in range(rounds):
        for name, run in contestants.items():
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def music(duration_s: float, rate_hz: int, channels: int = 2, seed: int = 0) -> npt.NDArray[np.float32]:
    """Chords with a beat and some noise, shape (S, channels): enough for an encoder to work on."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    chord = sum(a * np.sin(2 * np.pi * hz * t) for a, hz in ((0.2, 220), (0.1, 277), (0.1, 330), (0.05, 2637)))
    mono = chord * (0.6 + 0.4 * np.sin(4 * np.pi * t))
    sides = [mono * level + 0.02 * rng.standard_normal(len(t)) for level in np.linspace(1, 0.8, channels)]
    return np.stack(sides, axis=1).astype(np.float32)


def write_song(path: Path, samples: npt.NDArray[np.float32], rate_hz: int, kind: tuple[str, str]) -> Path:
    """Write an audio file of a format and subtype of libsndfile."""
    form, subtype = kind
    with soundfile.SoundFile(path, "w", rate_hz, samples.shape[1], subtype, format=form) as sound:
        # libvorbis overflows its stack when it is given a whole minute at once.
        for start in range(0, len(samples), 1 << 14):
            sound.write(samples[start : start + (1 << 14)])
    return path
