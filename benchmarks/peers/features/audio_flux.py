"""audioflux. Its mel scale is HTK's, so its bands are others than librosa's; it has no floor of 80 dB."""

from __future__ import annotations

from typing import Any

import audioflux as af
import numpy as np
from audioflux.type import (
    CepstralRectifyType,
    SpectralDataType,
    SpectralFilterBankNormalType,
    SpectralFilterBankScaleType,
    SpectralFilterBankStyleType,
    WindowType,
)

from benchmarks.peers.features.song import HOP, N_FFT, N_MELS, N_MFCC, RATE_HZ, Features, framed


class AudioFlux(Features):
    def prepare(self) -> None:
        self._spectra = af.BFT(
            num=N_MELS,
            radix2_exp=N_FFT.bit_length() - 1,
            samplate=RATE_HZ,
            low_fre=0.0,
            high_fre=RATE_HZ / 2,
            slide_length=HOP,
            window_type=WindowType.HANN,
            scale_type=SpectralFilterBankScaleType.MEL,
            style_type=SpectralFilterBankStyleType.SLANEY,
            normal_type=SpectralFilterBankNormalType.BAND_WIDTH,
            data_type=SpectralDataType.POWER,
        )
        self._cepstra = af.XXCC(num=N_MELS)
        self._windows = framed(self.samples, N_FFT // 2)

    def mfcc(self) -> Any:
        return 10 * np.stack([self._window(window) for window in self._windows])

    def _window(self, samples: Any) -> Any:
        power = self._spectra.bft(samples, result_type=1)
        self._cepstra.set_time_length(power.shape[-1])
        return self._cepstra.xxcc(power, cc_num=N_MFCC, rectify_type=CepstralRectifyType.LOG)
