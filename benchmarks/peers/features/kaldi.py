"""kaldi-native-fbank, set to librosa's filters; it has no floor of 80 dB."""

from __future__ import annotations

from typing import Any

import kaldi_native_fbank as knf
import numpy as np

from benchmarks.peers.features.song import DB_OF_LOG, HOP, N_FFT, N_MELS, N_MFCC, RATE_HZ, Features, framed


class Kaldi(Features):
    def prepare(self) -> None:
        options = self._options = knf.MfccOptions()
        frames, mel = options.frame_opts, options.mel_opts
        frames.samp_freq, frames.window_type = RATE_HZ, "hann"
        frames.frame_length_ms, frames.frame_shift_ms = 1000 * N_FFT / RATE_HZ, 1000 * HOP / RATE_HZ
        frames.dither, frames.preemph_coeff, frames.remove_dc_offset, frames.snip_edges = 0, 0, False, True
        mel.num_bins, mel.low_freq, mel.high_freq, mel.is_librosa = N_MELS, 0, RATE_HZ / 2, True
        options.num_ceps, options.use_energy, options.cepstral_lifter = N_MFCC, False, 0
        self._windows = framed(self.samples, N_FFT // 2)

    def mfcc(self) -> Any:
        return DB_OF_LOG * np.stack([self._window(window) for window in self._windows]).swapaxes(1, 2)

    def _window(self, samples: Any) -> Any:
        computer = knf.OnlineMfcc(self._options)
        computer.accept_waveform(RATE_HZ, samples)
        computer.input_finished()
        return np.stack([computer.get_frame(number) for number in range(computer.num_frames_ready)])
