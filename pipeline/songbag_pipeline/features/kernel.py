"""MFCC or log-mel of windows, equal to ``librosa.feature.mfcc`` within 1e-2 absolute."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft

from songbag_pipeline.types import FloatArray
from songbag_store import FeatureSpec

_FLOOR_NEPER = np.float32(np.log(1e-10))
_DB_PER_NEPER = 10 / np.log(10)
_BANDS_PER_GROUP = 16
_BLOCK_SAMPLES = 1 << 18
_DELTA_FRAMES = 9


class KernelWindower:
    """Turns a stream of samples into windows of features; keeps only the window that is not yet full.

    Parameters
    ----------
    spec : FeatureSpec
        Window, hop and kind of the features.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self.n_samples = 0
        self.n_windows = 0
        self._spec = spec
        self._kernel = WindowKernel(spec)
        # Samples of the next window that are there; below zero, samples to skip before it begins.
        self._filled = 0

    def push(self, samples: FloatArray) -> FloatArray:
        """Take the next samples, shape (S,); return the windows they complete, shape (N, C, T)."""
        length, hop = self._spec.window_samples, self._spec.window_hop_samples
        self.n_samples += len(samples)
        reached = self._filled + len(samples)
        windows = np.empty((max(0, 1 + (reached - length) // hop), *self._spec.window_shape), np.float32)
        for window in windows:
            samples = self._fill(samples)
            self._kernel.compute(window)
            self._filled -= hop
            self.n_windows += 1
        self._fill(samples)
        return windows

    def _fill(self, samples: FloatArray) -> FloatArray:
        """Fill the window as far as the samples go; return those that are left."""
        taken = min(len(samples), self._spec.window_samples - self._filled)
        first = min(taken, max(0, -self._filled))
        self._kernel.samples[self._filled + first : self._filled + taken] = samples[first:taken]
        self._filled += taken
        return samples[taken:]

    def pad(self) -> FloatArray:
        """Return the one window of a song that is shorter than a window, with zeros after its samples."""
        windows = np.empty((1, *self._spec.window_shape), np.float32)
        self._kernel.samples[self._filled :] = 0
        self._kernel.compute(windows[0])
        self.n_windows += 1
        return windows


class WindowKernel:
    """Computes the features of one window after the other, in buffers that it keeps; not thread-safe.

    Attributes
    ----------
    samples : float32, shape (window_samples,)
        The window. `compute` moves it on by one window hop: the first samples of the next window are in place, and the
        caller fills in the rest.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self._spec = spec
        self._taper, self._groups, self._dct = _constants(spec)
        edge, bins = spec.n_fft // 2, spec.n_fft // 2 + 1
        padded = np.zeros(spec.window_samples + spec.n_fft, np.float32)
        self.samples: FloatArray = padded[edge : edge + spec.window_samples]
        self._frames = np.lib.stride_tricks.sliding_window_view(padded, spec.n_fft)[:: spec.hop_length][: spec.n_frames]
        # Frames are computed in blocks that stay in the cache.
        blocks = -(-spec.n_frames * spec.n_fft // _BLOCK_SAMPLES)
        self._block = -(-spec.n_frames // blocks)
        self._tapered = np.empty((self._block, spec.n_fft), np.float32)
        self._power = np.empty((self._block, bins), np.float32)
        self._mel = np.empty((spec.n_frames, spec.n_mels), np.float32)
        self._clamped = np.empty_like(self._mel)
        self._shared = _shared_frames(spec)
        self._known = slice(0, 0)

    def compute(self, out: FloatArray) -> None:
        """Compute the features of the samples into `out`, shape (C, T), and move on by one window hop."""
        # Samples of 1e20 overflow: the result is infinite, and is refused when it is encoded.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            self._log_mel(0, self._known.start)
            self._log_mel(self._known.stop, self._spec.n_frames)
            self._finish(out)
        hop = self._spec.window_hop_samples
        kept = max(0, len(self.samples) - hop)
        self.samples[:kept] = self.samples[len(self.samples) - kept :]
        # Frames that two windows share are computed once.
        self._known = self._shared
        if self._shared.stop > self._shared.start:
            moved = hop // self._spec.hop_length
            self._mel[self._shared] = self._mel[self._shared.start + moved : self._shared.stop + moved]

    def _log_mel(self, first: int, last: int) -> None:
        """Compute the log power of every band of some frames, in neper."""
        for start in range(first, last, self._block):
            frames = self._frames[start : min(start + self._block, last)]
            n = len(frames)
            tapered = np.multiply(frames, self._taper, out=self._tapered[:n])
            power = np.abs(scipy.fft.rfft(tapered, axis=1), out=self._power[:n])
            np.square(power, out=power)
            mel = self._mel[start : start + n]
            for bands, bins, filters in self._groups:
                np.matmul(power[:, bins], filters, out=mel[:, bands])
            np.log(mel, out=mel)

    def _finish(self, out: FloatArray) -> None:
        """Clamp like librosa's ``power_to_db(S, ref=1, amin=1e-10, top_db)``, and convert to dB and cepstra."""
        spec = self._spec
        loudest = max(self._mel.max(), _FLOOR_NEPER)
        floor = max(loudest - np.float32(spec.top_db / _DB_PER_NEPER), _FLOOR_NEPER)
        clamped = np.maximum(self._mel, floor, out=self._clamped)
        features = out[: spec.n_bands]
        if spec.kind == "mfcc":
            features[:] = np.matmul(clamped, self._dct).T
        else:
            np.multiply(clamped.T, np.float32(_DB_PER_NEPER), out=features)
        if spec.deltas:
            _add_deltas(features, out[spec.n_bands :])


def _shared_frames(spec: FeatureSpec) -> slice:
    """Return the frames of a window that the window before has too: same samples, no padding."""
    moved, rest = divmod(spec.window_hop_samples, spec.hop_length)
    first = -(-(spec.n_fft // 2) // spec.hop_length)
    last = 1 + (spec.window_samples - spec.n_fft // 2) // spec.hop_length - moved
    return slice(0, 0) if rest or last <= first else slice(first, last)


def _add_deltas(features: FloatArray, out: FloatArray) -> None:
    """Fill `out`, shape (orders * C, T), with the time derivatives of `features`, shape (C, T)."""
    # The import takes half a second, and the reference recipe does not need it.
    from scipy.signal import savgol_filter

    for order in range(1, len(out) // len(features) + 1):
        channel = out[(order - 1) * len(features) : order * len(features)]
        channel[:] = savgol_filter(features, _DELTA_FRAMES, order, deriv=order, axis=1)


Group = tuple[slice, slice, FloatArray]


@lru_cache(maxsize=8)
def _constants(spec: FeatureSpec) -> tuple[FloatArray, tuple[Group, ...], FloatArray]:
    """Return taper (n_fft,), groups of mel filters, and the orthonormal DCT-II (n_mels, n_mfcc) times dB per neper."""
    taper = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.n_fft) / spec.n_fft)).astype(np.float32)
    dct = _DB_PER_NEPER * scipy.fft.dct(np.eye(spec.n_mels), axis=1, norm="ortho")[:, : spec.n_mfcc]
    return taper, tuple(_groups(mel_filters(spec))), np.ascontiguousarray(dct, np.float32)


def _groups(filters: FloatArray) -> Iterator[Group]:
    """Yield neighbouring mel bands with the bins they cover."""
    # Most of the filter matrix is zeros; in groups, few of them are multiplied.
    for first in range(0, len(filters), _BANDS_PER_GROUP):
        group = filters[first : first + _BANDS_PER_GROUP]
        covered = np.flatnonzero(group.any(axis=0))
        bins = slice(int(covered[0]), int(covered[-1]) + 1) if covered.size else slice(0, 1)
        yield slice(first, first + len(group)), bins, np.ascontiguousarray(group[:, bins].T)


def mel_filters(spec: FeatureSpec) -> FloatArray:
    """Return triangular filters of equal area on Slaney's mel scale, shape (n_mels, n_fft // 2 + 1).

    Notes
    -----
    The scale is linear below 1 kHz (3 mel per 200 Hz) and logarithmic above (27 mel per factor of 6.4): M. Slaney,
    Auditory Toolbox, Interval Research 1998-010. Equal to ``librosa.filters.mel(..., htk=False, norm="slaney")``, for
    which every worker would have to import numba.
    """
    top_mel = _hz_to_mel(spec.sample_rate_hz / 2)
    corners_hz = _mel_to_hz(np.linspace(0.0, top_mel, spec.n_mels + 2))
    bins_hz = np.fft.rfftfreq(spec.n_fft, 1 / spec.sample_rate_hz)
    width_hz = np.diff(corners_hz)
    distance_hz = corners_hz[:, None] - bins_hz
    rising = -distance_hz[:-2] / width_hz[:-1, None]
    falling = distance_hz[2:] / width_hz[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    filters: FloatArray = (triangles * (2.0 / (corners_hz[2:] - corners_hz[:-2]))[:, None]).astype(np.float32)
    return filters


_BREAK_HZ, _BREAK_MEL, _LOG_STEP = 1000.0, 15.0, np.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    return 3 * hz / 200 if hz < _BREAK_HZ else _BREAK_MEL + float(np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(mel < _BREAK_MEL, 200 * mel / 3, _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL)))
