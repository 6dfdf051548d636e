"""Which decoder for which format: 60 s of stereo to mono blocks with libsndfile and with FFmpeg, one core.

"frames" is FFmpeg given many frames at once, see `songbag_pipeline.audio.decoders.frames`.

python -m benchmarks.decoders
"""

from __future__ import annotations

import dataclasses
import tempfile
from functools import partial
from pathlib import Path
from typing import get_args

from benchmarks.extraction import KINDS, decode_alone
from benchmarks.measuring import measure, music, pin_to_one_core, write_song
from songbag_pipeline.audio import decode as decoding
from songbag_pipeline.audio.sniff import Decoder

CONTAINERS = {"mp3": "mp3", "flac": "flac", "ogg": "ogg", "opus": "ogg", "wav": "wav"}
ROUNDS = 5


def main() -> None:
    """Print milliseconds per song and decoder."""
    pin_to_one_core()
    print("60 s, processor (wall clock)   libsndfile                 FFmpeg                 frames   chosen")
    with tempfile.TemporaryDirectory() as folder:
        for suffix, kind in KINDS.items():
            rate_hz = 48000 if suffix == "opus" else 44100
            path = write_song(Path(folder, f"x.{suffix}"), music(60, rate_hz), rate_hz, kind)
            fitting = [name for name in get_args(Decoder) if name != "frames" or suffix in ("mp3", "flac")]
            times = measure({name: partial(run, str(path), suffix, name) for name in fitting}, ROUNDS)
            shown = (times[name].milliseconds() if name in times else "-" for name in get_args(Decoder))
            with path.open("rb") as file:
                chosen = decoding.sniff(file).decoder
            print(f"{suffix:18}", *(f"{one:>22}" for one in shown), f"  {chosen}", flush=True)


def run(path: str, suffix: str, decoder: Decoder) -> None:
    """Decode a file with one decoder, whatever songbag would choose."""
    ordinary = decoding.sniff
    decoding.sniff = lambda file: dataclasses.replace(ordinary(file), decoder=decoder, container=CONTAINERS[suffix])
    try:
        decode_alone(path)
    finally:
        decoding.sniff = ordinary


if __name__ == "__main__":
    main()
