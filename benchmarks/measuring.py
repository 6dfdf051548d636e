"""How the benchmarks measure: one core, one thread, warm cache, the contestants taking turns, medians.

Ratios are of processor time, child processes included: other work on the machine lengthens the wall clock of one
contestant and not of the other. Each round gives a ratio of its own; the median over the rounds is reported.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclasses.dataclass(frozen=True, slots=True)
class Times:
    """Seconds of one contestant in every round."""

    processor: list[float] = dataclasses.field(default_factory=list)
    wall: list[float] = dataclasses.field(default_factory=list)

    def over(self, other: Times) -> float:
        """Return the median ratio of processor time to another contestant's of the same round."""
        return statistics.median(a / b for a, b in zip(self.processor, other.processor, strict=True))

    def milliseconds(self, units: int = 1) -> str:
        """Return the medians per unit of work as text: processor, and wall clock behind it."""
        processor, wall = (1000 * statistics.median(s) / units for s in (self.processor, self.wall))
        return f"{processor:.1f} ms ({wall:.1f})"


def pin_to_one_core() -> None:
    """Stay on one core from here on, child processes too, and without threads: the process begins anew for that.

    Threads of a linear algebra library wait in a loop for their next task, on whatever core they were started on; it
    would count as time of whoever runs meanwhile.
    """
    if not os.environ.keys() >= ONE_THREAD.keys():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **ONE_THREAD})
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def measure(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Times]:
    """Return the times by name. In every round each runs once, so that a slow moment of the machine hits all alike."""
    times = {name: Times() for name in contestants}
    for run in contestants.values():
        run()
    for _ in range(rounds):
        for name, run in contestants.items():
            processor, wall = processor_s(), time.perf_counter()
            run()
            times[name].wall.append(time.perf_counter() - wall)
            times[name].processor.append(processor_s() - processor)
    return times


def processor_s() -> float:
    """Processor time of this process and of its children that are alive."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    # The clock of another process, as clock_getcpuclockid(3) makes its number.
    return time.process_time() + sum(time.clock_gettime(~int(child) << 3 | 2) for child in children)


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
    import soundfile  # not in the environments of all peers

    form, subtype = kind
    with soundfile.SoundFile(path, "w", rate_hz, samples.shape[1], subtype, format=form) as sound:
        # libvorbis overflows its stack when it is given a whole minute at once.
        for start in range(0, len(samples), 1 << 14):
            sound.write(samples[start : start + (1 << 14)])
    return path
