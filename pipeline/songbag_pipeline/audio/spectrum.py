"""The long-term spectrum of a recording, and the highest frequency at which it has content."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft

from songbag_pipeline.audio.recording import Scale
from songbag_pipeline.types import FloatArray

_WIDEST_BIN_HZ = 25.0
_BAND_BINS = 8
# The third weakest bin stands for a band: rounding a periodic tone gives a few lines instead of noise.
_RANK = 2
# The sidelobes are 120 dB down, or a loud tone would reach over a kilohertz.
_KAISER_BETA = 16.0
_EDGE_BANDS = 3
_ABOVE_NOISE = 10**1.2
_ALIKE = 10**0.6


def piece_samples(rate_hz: int) -> int:
    """Return how many samples a piece has: a power of two, so that a bin of its spectrum is at most 25 Hz wide."""
    return 1 << math.ceil(math.log2(rate_hz / _WIDEST_BIN_HZ))


class Spectrum:
    """The mean power of pieces of a recording, at its own sample rate.

    Parameters
    ----------
    rate_hz : int
        The sample rate.
    scale : Scale
        How samples stand for [-1, 1], and their resolution: what rounding adds is no content.
    """

    def __init__(self, rate_hz: int, scale: Scale) -> None:
        self._rate_hz, self._n_fft = rate_hz, piece_samples(rate_hz)
        self._noise = scale.full**2 * 4.0 ** (1 - scale.bits) / 12
        self._n_pieces = 0
        self._squares: npt.NDArray[np.float64] = np.zeros(self._n_fft + 2)

    def add(self, pieces: FloatArray) -> None:
        """Add pieces of shape (pieces, samples) around 0: `piece_samples` each, or fewer, which are filled up."""
        window, energy = _window(pieces.shape[1])
        # Real and imaginary parts in turn; it is quicker to add them up once at the end.
        parts = scipy.fft.rfft(pieces * window, self._n_fft, axis=1).view(np.float32)
        parts *= parts
        self._squares += parts.sum(axis=0) / energy
        self._n_pieces += len(pieces)

    def highest_hz(self) -> float | None:
        """Return where the highest band with content ends; None if no band has any.

        A band of eight bins (at 44.1 kHz: 172 Hz) has content if its third weakest bin is more than 12 dB above the
        noise of rounding. Content also ends at a steep edge, if only noise is above it: at a band that is more than
        12 dB above every band from the third after it on, if those are alike within 6 dB.
        """
        bins = self._squares[2:].reshape(-1, _BAND_BINS, 2).sum(axis=2)
        bands = np.sort(bins, axis=1)[:, _RANK] / max(1, self._n_pieces)
        with_content = np.flatnonzero(bands > self._noise * _ABOVE_NOISE)
        if not len(with_content):
            return None
        last = with_content[-1]
        loudest, quietest = (one.accumulate(bands[::-1])[::-1] for one in (np.maximum, np.minimum))
        loudest, quietest = loudest[_EDGE_BANDS:], quietest[_EDGE_BANDS:]
        edges = np.flatnonzero((bands[:-_EDGE_BANDS] > loudest * _ABOVE_NOISE) & (loudest < quietest * _ALIKE))
        if len(edges) and edges[-1] + _EDGE_BANDS <= last:
            last = edges[-1]
        return float((last + 1) * _BAND_BINS * self._rate_hz / self._n_fft)


@lru_cache(maxsize=8)
def _window(n_samples: int) -> tuple[FloatArray, float]:
    """Return the window, and the sum of its squares."""
    window = np.kaiser(n_samples, _KAISER_BETA).astype(np.float32)
    return window, float(np.vecdot(window, window))
