"""A meter: what can be said of a recording's sound, measured while its channels are mixed to mono."""

from __future__ import annotations

import dataclasses
import math
from functools import reduce

import numpy as np

from songbag_pipeline.audio.recording import AnyArray, Channels, Scale, scale_of
from songbag_pipeline.audio.spectrum import Spectrum, piece_samples
from songbag_pipeline.types import FloatArray

SILENT = 1e-6
"""Mean square below which a frame is silent: -60 dB of full scale."""
CANCELLED = 0.1
"""A mix that has less than this share of the power that unrelated channels would give it is cancelled: -10 dB."""

_FRAMES_PER_S = 50
_MOST_FRAME_SAMPLES = 1024
_FRAME_EVERY = 8
_PIECE_EVERY = 1 << 16
# Python takes longer to look at a block than numpy, so what is taken from this many is looked at together.
_BLOCKS_AT_ONCE = 32
_SEARCHED_PIECES = 8
_PIECES_IN_A_ROW = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Sound:
    """What a meter found; None where there was nothing to measure.

    Attributes
    ----------
    sample_peak : float
        The largest absolute sample of any channel; full scale is 1. Lossy and float formats may exceed it.
    clipped_share : float
        Share of the samples of all channels that are at full scale or above it: that lie within one step of 16 bits
        (or of 8 bits, if the file has 8) below 1, or higher. Samples are counted, not runs of samples, because that
        needs no choice of a length; the one loudest sample of a normalised song is a share of nearly nothing.
    silent_share : float
        Share of the frames of 20 ms (at most 1,024 samples) in which the mix to mono is below -60 dB of full scale
        (root mean square). Of every eighth frame, as the next two.
    cancelled_share : float
        Of the frames in which the channels are not silent (their mean power is at least -60 dB), the share in which
        the mix to mono is more than 10 dB weaker than if the channels had nothing in common, as with opposite phase.
        1: the whole song is lost in the mix. None for one channel, and for silence.
    side_share : float
        Share of the channels' energy that is in their differences from the mix: 0 if all channels are the same, 1/2 for
        two that have nothing in common or of which one is empty, 1 for opposite phase. Accurate to a millionth. None
        for one channel, and for silence.
    highest_hz : float
        Where content ends, see `Spectrum.highest_hz`: of the loudest channel, at the sample rate of the file, from a
        piece of 46 ms (at 44.1 kHz) out of every 65,536 samples, and out of twice, three times as many after every 16
        pieces. Where samples are clipped, the piece is from the longest stretch without them in 0.4 s, and may be a
        quarter as long, because clipping puts something at every frequency. None if there is no content.
    """

    sample_peak: float | None = None
    clipped_share: float | None = None
    silent_share: float | None = None
    cancelled_share: float | None = None
    side_share: float | None = None
    highest_hz: float | None = None


class Meter:
    """Measures a recording block by block. Memory does not grow with its length."""

    def __init__(self) -> None:
        self._peak = 0.0
        self._n_samples = self._n_clipped = 0
        self._n_frames = self._n_silent = self._n_sounding = self._n_cancelled = 0
        self._energy = self._mix_energy = 0.0
        self._kind = (0, 0, np.dtype(np.float32))
        self._until_frame = self._until_piece = self._n_pieces = 0
        self._frames: list[tuple[FloatArray, FloatArray]] = []
        self._pieces: list[tuple[FloatArray, bool]] = []
        self._spectra: dict[tuple[int, Scale, bool], Spectrum] = {}

    def add(self, channels: Channels, mixed: FloatArray, rate_hz: int) -> None:
        """Measure a block of finite samples at some sample rate, and its mix to mono."""
        n_samples, kind = len(mixed), (rate_hz, len(channels), channels[0].dtype)
        if not n_samples:
            return
        if kind != self._kind or len(self._frames) >= _BLOCKS_AT_ONCE:
            self._settle()
            self._kind = kind
        arrays, width = list(channels), 1
        if isinstance(channels, np.ndarray) and channels.T.flags.c_contiguous:
            arrays, width = [channels.T.reshape(-1)], len(channels)  # all channels at once, which is faster
        # Samples far beyond full scale overflow; their song fails later, or has no such fact.
        with np.errstate(all="ignore"):
            is_clipped = self._add_peak(arrays)
            if self._until_frame < n_samples:
                self._add_frames(arrays, width, mixed)
            if self._until_piece < n_samples:
                self._add_piece(channels, n_samples, is_clipped=is_clipped)
        self._until_frame -= n_samples
        self._until_piece -= n_samples

    def sound(self) -> Sound:
        """Return what was found so far."""
        self._settle()
        side_energy = max(0.0, self._energy - self._mix_energy)
        return Sound(
            sample_peak=_finite(self._peak) if self._n_samples else None,
            clipped_share=_ratio(self._n_clipped, self._n_samples),
            silent_share=_ratio(self._n_silent, self._n_frames),
            cancelled_share=_ratio(self._n_cancelled, self._n_sounding),
            side_share=_ratio(side_energy, self._energy) if self._n_sounding else None,
            highest_hz=self._highest_hz(),
        )

    def _add_peak(self, arrays: list[AnyArray]) -> bool:
        """Return whether samples of a block are at full scale."""
        scale = scale_of(self._kind[2])
        highest, lowest = max(float(one.max()) for one in arrays), min(float(one.min()) for one in arrays)
        self._peak = max(self._peak, (highest - scale.middle) / scale.full, (scale.middle - lowest) / scale.full)
        self._n_samples += sum(one.size for one in arrays)
        if highest >= scale.high:
            self._n_clipped += sum(int(np.count_nonzero(one >= scale.high)) for one in arrays)
        if lowest <= scale.low:
            self._n_clipped += sum(int(np.count_nonzero(one <= scale.low)) for one in arrays)
        return highest >= scale.high or lowest <= scale.low

    def _add_frames(self, arrays: list[AnyArray], width: int, mixed: FloatArray) -> None:
        """Take the energy of every eighth frame: of the mix, and of all channels, `width` of them in each array."""
        begin = max(0, self._until_frame)
        size = min(len(mixed), max(1, self._kind[0] // _FRAMES_PER_S), _MOST_FRAME_SAMPLES)
        count = max(1, (len(mixed) - begin) // (size * _FRAME_EVERY))
        if len(mixed) - begin < size:
            return
        self._until_frame = end = begin + count * size * _FRAME_EVERY
        mix = mixed[begin:end].reshape(count, -1)[:, :size]
        energy = mixed_energy = np.vecdot(mix, mix) / size
        if self._kind[1] > 1:
            frames = [one[begin * width : end * width].reshape(count, -1)[:, : size * width] for one in arrays]
            if self._kind[2].kind in "iu":
                frames = [one.astype(np.float32) - np.float32(scale_of(self._kind[2]).middle) for one in frames]
            energy = reduce(np.add, [np.vecdot(one, one) for one in frames]) / size
        self._frames.append((mixed_energy, energy))

    def _add_piece(self, channels: Channels, n_samples: int, *, is_clipped: bool) -> None:
        """Take a piece of the loudest channel for the spectrum, if possible one without clipped samples."""
        scale, size = scale_of(self._kind[2]), piece_samples(self._kind[0])
        start, is_clean = max(0, n_samples - size) // 2, True
        channel = max(channels, key=lambda channel: channel[start : start + size].max())
        if is_clipped:
            searched = channel[: _SEARCHED_PIECES * size]
            clipped = np.flatnonzero((searched >= scale.high) | (searched <= scale.low))
            ends = np.concatenate([[-1], clipped, [len(searched)]])
            longest = np.diff(ends).argmax()
            first, stop = int(ends[longest]) + 1, int(ends[longest + 1])
            fitting = [one for one in (size, size // 2, size // 4) if one <= stop - first]
            is_clean = bool(fitting)
            if is_clean:
                size, start = fitting[0], (first + stop - fitting[0]) // 2
        samples = channel[start : start + size].astype(np.float32)
        self._pieces.append((samples - np.float32(scale.middle) if scale.middle else samples, is_clean))
        # The more there are, the less does one more tell.
        self._n_pieces += 1
        self._until_piece = _PIECE_EVERY * (1 + self._n_pieces // _PIECES_IN_A_ROW)

    def _settle(self) -> None:
        """Look at what was taken from the last blocks."""
        n_channels, scale = self._kind[1], scale_of(self._kind[2])
        if self._frames:
            mix, power = (np.concatenate(column).astype(np.float64) for column in zip(*self._frames, strict=True))
            power /= n_channels * scale.full**2
            self._n_frames += len(mix)
            self._n_silent += int(np.count_nonzero(mix < SILENT))
            if n_channels > 1:
                sounding = power >= SILENT
                self._n_sounding += int(np.count_nonzero(sounding))
                self._n_cancelled += int(np.count_nonzero(sounding & (mix < CANCELLED * power / n_channels)))
                self._energy += float(power.sum())
                self._mix_energy += float(mix.sum())
        for is_clean, length in {(is_clean, len(piece)) for piece, is_clean in self._pieces}:
            alike = [piece for piece, clean in self._pieces if (clean, len(piece)) == (is_clean, length)]
            key = self._kind[0], scale, is_clean
            if key not in self._spectra:
                self._spectra[key] = Spectrum(self._kind[0], scale)
            self._spectra[key].add(np.stack(alike))
        self._frames, self._pieces = [], []

    def _highest_hz(self) -> float | None:
        found = {True: 0.0, False: 0.0}
        for (_, _, is_clean), spectrum in self._spectra.items():
            found[is_clean] = max(found[is_clean], spectrum.highest_hz() or 0.0)
        return found[True] or found[False] or None


def _ratio(part: float, whole: float) -> float | None:
    return _finite(part / whole) if whole else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
