"""Which decoder for which format: 60 s of stereo to mono blocks with libsndfile and with FFmpeg, one core.

"frames" is FFmpeg given many frames at once, see `songbag_pipeline.audio.decoders.frames`.

python -m benchmarks.decoders
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import get_args

from benchmarks.extraction import KINDS, decode_alone
from benchmarks.measuring import measure, music, pin_to_one_core, write_song
from songbag_pipeline.audio.formats import Decoder
from songbag_pipeline.audio.sniff import sniff

ROUNDS = 5


def main() -> None:
    """Print milliseconds per song and decoder."""
    pin_to_one_core()
    print("60 s, processor (wall clock)   libsndfile                 FFmpeg                 frames   chosen")
    with tempfile.TemporaryDirectory() as folder:
        for suffix, kind in KINDS.items():
            rate_hz = 48000 if suffix == "opus" else 44100
            path = write_song(Path(folder, f"x.{suffix}"), music(60, rate_hz), rate_hz, kind)
            with path.open("rb") as file:
                decoders = sniff(file).decoders
            times = measure({name: partial(decode_alone, str(path), name) for name in decoders}, ROUNDS)
            shown = (times[name].milliseconds() if name in times else "-" for name in get_args(Decoder))
            print(f"{suffix:18}", *(f"{one:>22}" for one in shown), f"  {decoders[0]}", flush=True)


if __name__ == "__main__":
    main()
