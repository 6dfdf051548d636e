"""Essentia in its standard mode, set to librosa's filters; it has no floor of 80 dB."""

from __future__ import annotations

from typing import Any

import essentia.standard as es
import numpy as np

from benchmarks.peers.features.song import HOP, N_FFT, N_MELS, N_MFCC, RATE_HZ, Features, framed


class Essentia(Features):
    def prepare(self) -> None:
        self._taper = es.Windowing(type="hann", size=N_FFT, normalized=False, zeroPhase=False)
        self._spectrum = es.Spectrum(size=N_FFT)
        self._cepstrum = es.MFCC(
            inputSize=N_FFT // 2 + 1,
            sampleRate=RATE_HZ,
            highFrequencyBound=RATE_HZ / 2,
            numberBands=N_MELS,
            numberCoefficients=N_MFCC,
            normalize="unit_tri",
            warpingFormula="slaneyMel",
            weighting="linear",
            logType="dbpow",
        )
        self._windows = framed(self.samples, N_FFT // 2)

    def mfcc(self) -> Any:
        return np.stack([self._window(window) for window in self._windows]).swapaxes(1, 2)

    def _window(self, samples: Any) -> Any:
        # Frames that lie wholly inside: the padding is there already.
        frames = es.FrameGenerator(
            np.ascontiguousarray(samples), frameSize=N_FFT, hopSize=HOP, startFromZero=True, lastFrameToEndOfFile=True
        )
        return np.stack([self._cepstrum(self._spectrum(self._taper(frame)))[1] for frame in frames])[:216]
