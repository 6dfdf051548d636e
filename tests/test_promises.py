"""What the README claims and no module's own test shows."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from tests.support.audio import chirp
from tests.support.long import LONG

N_MINUTES = 60 if LONG else 10
MEASURE = """
import json, sys
from songbag_pipeline.songs.song import read_song
from songbag_store import FeatureSpec
facts = read_song(sys.argv[1], FeatureSpec(), lambda windows: None)
# Not getrusage: its peak counts the process that forked this one.
peak_kb = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
print(json.dumps([facts.status, facts.n_windows, peak_kb / 1024]))
"""


def write_minutes(path: Path, minutes: int) -> Path:
    """Write stereo WAV of any length without holding it in memory."""
    minute = (chirp(60.0, 22050, 2) * 32767).astype("<i2").tobytes()
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(22050)
        for _ in range(minutes):
            sound.writeframes(minute)
    return path


def peak_mb(path: Path, n_windows: int) -> float:
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    status, found, peak = json.loads(done.stdout)
    assert (status, found) == ("ok", n_windows)
    return float(peak)


@pytest.mark.long
def test_memory_does_not_grow_with_the_length_of_a_song(tmp_path: Path) -> None:
    short = peak_mb(write_minutes(tmp_path / "short.wav", 1), 23)
    long = peak_mb(write_minutes(tmp_path / "long.wav", N_MINUTES), 24 * N_MINUTES - 1)
    assert long < 600
    assert long == pytest.approx(short, abs=30)
