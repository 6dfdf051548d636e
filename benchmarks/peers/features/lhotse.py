"""Lhotse's layer of Kaldi's MFCC, at the nearest setting it has; all windows in one call."""

from __future__ import annotations

from typing import Any

import torch
from lhotse.features.kaldi.layers import Wav2MFCC

from benchmarks.peers.features.song import DB_OF_LOG, HOP, N_FFT, N_MELS, N_MFCC, RATE_HZ, Features, framed


class Lhotse(Features):
    def prepare(self) -> None:
        torch.set_num_threads(1)
        self._layer = Wav2MFCC(
            sampling_rate=RATE_HZ,
            frame_length=N_FFT / RATE_HZ,
            frame_shift=HOP / RATE_HZ,
            num_filters=N_MELS,
            num_ceps=N_MFCC,
            preemph_coeff=0.0,
            remove_dc_offset=False,
            window_type="hanning",
            low_freq=0.0,
            high_freq=0.0,
        )
        self._windows = torch.from_numpy(framed(self.samples))

    def mfcc(self) -> Any:
        with torch.inference_mode():
            return DB_OF_LOG * self._layer(self._windows).numpy().swapaxes(1, 2)
