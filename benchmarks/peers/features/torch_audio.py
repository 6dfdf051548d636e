"""torchaudio, set to librosa's filters, padding and floor; all windows in one call."""

from __future__ import annotations

from typing import Any

import torch
from torchaudio.transforms import MFCC

from benchmarks.peers.features.song import HOP, N_FFT, N_MELS, N_MFCC, RATE_HZ, Features, framed


class TorchAudio(Features):
    def prepare(self) -> None:
        torch.set_num_threads(1)
        mel = {"n_fft": N_FFT, "hop_length": HOP, "n_mels": N_MELS, "norm": "slaney", "mel_scale": "slaney"}
        self._layer = MFCC(RATE_HZ, N_MFCC, melkwargs={**mel, "pad_mode": "constant"})
        # A channel each: the floor of 80 dB is below the loudest of all channels of a song.
        self._windows = torch.from_numpy(framed(self.samples))[:, None]

    def mfcc(self) -> Any:
        with torch.inference_mode():
            return self._layer(self._windows)[:, 0].numpy()
