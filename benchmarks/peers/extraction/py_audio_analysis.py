"""pyAudioAnalysis: its 68 short-term features of each file, 13 MFCC among them, one file after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pyAudioAnalysis import ShortTermFeatures, audioBasicIO

from benchmarks.peers.extraction.songs import Extraction, files


class PyAudioAnalysis(Extraction):
    def extract(self, songs: str, out: str) -> None:
        for path in files(songs):
            rate_hz, samples = audioBasicIO.read_audio_file(str(path))
            mono = audioBasicIO.stereo_to_mono(samples)
            # At the file's own rate, as long as the frames of the others.
            values, _ = ShortTermFeatures.feature_extraction(mono, rate_hz, 2048, 1024)
            np.save(Path(out) / f"{path.stem}.npy", values)
