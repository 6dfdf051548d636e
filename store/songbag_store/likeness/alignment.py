"""Two recordings compared by their windows: at which shift they agree best, and whether they are one recording.

What is compared is the change of the features from frame to frame, so that the level, a filter and a slow fade do not
count. docs/decisions/0028 has the measurements that the limits were chosen by.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft

from songbag_store.format.array import decode
from songbag_store.format.spec import IN_DB, FeatureSpec
from songbag_store.likeness.statistics import N_CEPSTRA, reduction
from songbag_store.types import StoredWindows

Floats = npt.NDArray[np.float32]

LEAST_FRAMES = 8
"""Windows with fewer frames that can be compared are not aligned."""
_SLACK_S = 5.0
"""How much longer than the difference of their lengths one recording may begin before the other."""
_LIVE_DB, _LIVE = 0.13, 0.01
"""A frame tells something where a coefficient changes by more: in dB by more than two steps of the int16 encoding."""
_LARGEST = 3.0
"""Changes are cut off at so many times their mean: a single loud onset must not decide."""
HOPELESS = 0.3
"""Best correlation of a window below which two songs are strangers without a closer look."""
_ALIKE = 0.7
"""Correlation from which on pieces of two recordings are the same."""
_LARGEST_LOSS = 0.8
"""The most that is allowed for frames that lie between each other."""
_BESIDE_FRAMES = 4
"""A peak of the correlation is at most so many frames wide, to each side."""
_SURE, _FEW_FRAMES, _MANY_FRAMES = 0.95, 12, 80
"""What a recording of few frames must reach: short sounds of one kind resemble each other."""
_SHARE = 0.75
"""The share of a recording that must be the same."""
_PIECE_FRAMES = 24
_PIECES = 8


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """What changes in some windows of a song from frame to frame.

    Attributes
    ----------
    values : float32, shape (N, D, F)
        In each window relative to the mean change of each coefficient; zero where nothing changes.
    live : bool, shape (N, F)
        Frames in which something changes.
    """

    values: Floats
    live: npt.NDArray[np.bool_]

    @classmethod
    def none(cls) -> Changes:
        """Return those of no window."""
        return cls(np.zeros((0, 0, 0), np.float32), np.zeros((0, 0), np.bool_))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """Some windows of a song.

    Attributes
    ----------
    windows : sequence of int
        Their numbers in the song.
    changes : Changes
        Of these windows.
    n_windows : int
        Windows of the whole song.
    """

    windows: Sequence[int]
    changes: Changes
    n_windows: int


@dataclasses.dataclass(frozen=True, slots=True)
class Match:
    """How well a window agrees with another song at a shift.

    Attributes
    ----------
    frames : int
        Live frames that were compared, and those that the other song does not have.
    agreeing : float
        The share of these that agrees.
    correlation : float
        Of all that were compared.
    limit : float
        The correlation that is enough, at the part of a frame by which the two are shifted.
    """

    frames: int
    agreeing: float
    correlation: float
    limit: float


@dataclasses.dataclass(frozen=True, slots=True)
class Peak:
    """Where a window is found in another song.

    Attributes
    ----------
    correlation : float
        There.
    shift : float
        Frames from the place in the first song to that in the other one.
    is_alone : bool
        Whether it correlates half as well nowhere else. Loops and ticks do.
    """

    correlation: float
    shift: float
    is_alone: bool


class Aligner:
    """Compares songs of one spec.

    Parameters
    ----------
    spec : FeatureSpec
        That of the store.

    Attributes
    ----------
    hop : float
        Distance of two windows, in frames.
    n_frames : int
        Frames of a window that are compared.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self._spec = spec
        # The first and the last frames of a window reach into the zeros around it.
        self._edge = math.ceil(spec.n_fft / 2 / spec.hop_length)
        self.n_frames = max(0, spec.n_frames - 2 * self._edge - 1)
        self.hop = spec.window_hop_samples / spec.hop_length
        self._slack = _SLACK_S * spec.sample_rate_hz / spec.hop_length
        self._reduction = reduction(spec)
        self._live = _LIVE_DB if spec.kind in IN_DB else _LIVE
        self._losses = _losses(spec)

    def changes(self, stored: StoredWindows) -> Changes:
        """Return what changes in windows, shape (N, C, T), as they are stored."""
        windows = decode(stored, self._spec)[:, : self._spec.n_bands]
        windows = windows[:, :N_CEPSTRA] if self._reduction is None else self._reduction.astype(np.float32) @ windows
        values = np.diff(windows[:, :, self._edge : windows.shape[2] - self._edge], axis=2)
        live = np.abs(values).max(axis=1) > self._live
        values *= live[:, None]
        mean = np.abs(values).sum(axis=2, keepdims=True) / np.maximum(live.sum(axis=1), 1)[:, None, None]
        return Changes(np.clip(values / np.maximum(mean, 1e-6), -_LARGEST, _LARGEST), live)

    def reach(self, window: int, n_windows: int, n_others: int) -> range:
        """Return the windows of a song of `n_others` in which a window of one of `n_windows` may be found."""
        before = max(0, n_windows - n_others) * self.hop + self._slack
        after = max(0, n_others - n_windows) * self.hop + self._slack
        first = math.floor(window - before / self.hop)
        last = math.ceil(window + after / self.hop)
        return range(max(0, first), min(n_others, last + 1))

    def around(self, window: int, shift: float, n_others: int) -> range:
        """Return the windows of a song of `n_others` that overlap a window at a shift."""
        at = window + shift / self.hop
        reach = 0.75 * self.n_frames / self.hop
        return range(max(0, math.ceil(at - reach)), min(n_others, math.floor(at + reach) + 1))

    def peak(self, window: int, changes: Changes, other: Passage) -> Peak:
        """Return where a window, shape (1, D, F), is found in a passage."""
        correlation, lags = _correlations(changes, other.changes)
        shifts = lags + (np.array(other.windows)[:, None] - window) * self.hop
        place = np.unravel_index(np.argmax(correlation), correlation.shape)
        best, shift = float(correlation[place]), float(shifts[place])
        elsewhere = correlation[np.abs(shifts - shift) > _BESIDE_FRAMES].max(initial=-1)
        return Peak(best, shift, bool(elsewhere < best / 2))

    def match(self, window: int, changes: Changes, peak: Peak, other: Passage) -> Match:
        """Compare a window, shape (1, D, F), with another song at a shift that is known to about a frame."""
        shift = peak.shift
        own, live = changes.values[0], changes.live[0]
        end = (other.n_windows - 1) * self.hop + self.n_frames
        times = np.arange(self.n_frames) + window * self.hop + shift
        lost = int(live[(times < 0) | (times >= end)].sum())
        best: _Fit | None = None
        for number, at in enumerate(other.windows):
            lag = round(shift + (window - at) * self.hop)
            for tried in (lag - 1, lag, lag + 1):
                fit = _fit(own, live, other.changes.values[number], other.changes.live[number], tried)
                if fit is not None and (best is None or fit.correlation > best.correlation):
                    best = fit
        if best is None:
            return Match(lost, 0.0, 0.0, _ALIKE)
        beside, loss = self._losses
        # Frames of the two songs may lie up to half a hop apart. Where sounds repeat, nothing is allowed for that.
        limit = _ALIKE * float(np.interp(best.beside, beside, loss)) if peak.is_alone else _ALIKE
        frames = int(best.live.sum())
        agreeing = sum(int(best.live[piece].sum()) for piece in _pieces(best.live) if best.part(piece) >= limit)
        return Match(frames + lost, agreeing / (frames + lost), best.improved, limit)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A window compared with another one at a lag of whole frames.

    Attributes
    ----------
    own, fitted : float32, shape (D, F)
        What overlaps, and what the other window says of it, interpolated.
    live : bool, shape (F,)
        Frames in which one of them changes.
    correlation, improved : float
        At the lag, and after interpolation.
    beside : float
        The larger correlation at the lags beside it, relative to this one.
    """

    own: Floats
    fitted: Floats
    live: npt.NDArray[np.bool_]
    correlation: float
    improved: float
    beside: float

    def part(self, frames: slice) -> float:
        """Return the correlation of some frames."""
        return _correlation(self.own[:, frames], self.fitted[:, frames])


def _fit(
    own: Floats, live: npt.NDArray[np.bool_], other: Floats, other_live: npt.NDArray[np.bool_], lag: int
) -> _Fit | None:
    """Compare two windows, shape (D, F), where frame `t` of the first is frame ``t + lag`` of the other."""
    n_frames = own.shape[1]
    first, last = max(0, 1 - lag), min(n_frames, n_frames - 1 - lag)
    if last - first < min(LEAST_FRAMES, n_frames):
        return None
    here, there = slice(first, last), slice(first + lag, last + lag)
    either = live[here] | other_live[there]
    if live[here].sum() < max(4, 0.25 * live.sum()):
        return None
    a = own[:, here]
    taps = np.stack([other[:, first + lag + k : last + lag + k].ravel() for k in (-1, 0, 1)])
    gram, target = taps @ taps.T, taps @ a.ravel()
    energy = float(np.square(a).sum())
    if energy <= 0 or gram[1, 1] <= 0:
        return None
    each = target / np.sqrt(np.maximum(gram.diagonal(), 1e-9) * energy)
    weights = np.linalg.solve(gram + 1e-6 * np.trace(gram) * np.eye(3), target)
    fitted = (weights @ taps).reshape(a.shape)
    beside = max(each[0], each[2]) / max(each[1], 1e-6)
    return _Fit(a, fitted, either, float(each[1]), _correlation(a, fitted), float(beside))


def _correlation(a: Floats, b: Floats) -> float:
    energy = float(np.square(a).sum()) * float(np.square(b).sum())
    return float((a * b).sum()) / math.sqrt(energy) if energy > 0 else 0.0


def _pieces(live: npt.NDArray[np.bool_]) -> Iterator[slice]:
    """Cut frames into pieces of as many live ones, at most `_PIECES`."""
    reached = np.cumsum(live)
    n_pieces = max(1, min(_PIECES, int(reached[-1]) // _PIECE_FRAMES))
    cuts = np.searchsorted(reached, np.linspace(0, reached[-1], n_pieces + 1)[1:-1])
    for begin, end in zip([0, *cuts.tolist()], [*cuts.tolist(), len(live)], strict=True):
        yield slice(begin, end)


def _correlations(own: Changes, others: Changes) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the correlation of one window with several at every lag, shape (N, 2 * F - 1), and the lags.

    It is -1 where less than a third of what changes in one of them overlaps.
    """
    a, b = own.values[0], others.values
    n_frames = a.shape[1]
    length = next_fast_len(2 * n_frames, real=True)
    products = irfft((np.conj(rfft(a, length)) * rfft(b, length)).sum(axis=1), length)
    products = np.concatenate([products[:, length - n_frames + 1 :], products[:, :n_frames]], axis=1)
    lags = np.arange(1 - n_frames, n_frames)
    first, last = np.maximum(0, -lags), np.minimum(n_frames, n_frames - lags)
    energy = _running(np.square(a).sum(axis=0)[None])
    energies = _running(np.square(b).sum(axis=1))
    here = energy[:, last] - energy[:, first]
    there = energies[:, last + lags] - energies[:, first + lags]
    enough = (here >= energy[:, -1:] / 3) & (there >= energies[:, -1:] / 3) & (here > 0) & (there > 0)
    correlation = np.where(enough, products / np.sqrt(np.maximum(here * there, 1e-9)), -1)
    return correlation.astype(np.float32), lags


def _running(rows: Floats) -> npt.NDArray[np.float64]:
    sums = np.cumsum(rows, axis=1, dtype=np.float64)
    return np.concatenate([np.zeros((len(rows), 1)), sums], axis=1)


def _losses(spec: FeatureSpec) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return what a shift by a part of a hop does to noise, the sound that suffers most.

    Returns
    -------
    beside : float64, shape (S,)
        Correlation at the lag beside the best one, relative to it, ascending.
    loss : float64, shape (S,)
        Correlation after interpolation.
    """

    def changes(lag: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the autocorrelation of changes of noise at a lag in hops."""
        return (2 * _noise(lag, spec) - _noise(lag - 1, spec) - _noise(lag + 1, spec)) / norm

    norm = 2 - 2 * _noise(np.ones(1), spec)
    part = np.linspace(0, 0.5, 26)
    taps = np.array([-1.0, 0.0, 1.0])
    gram = changes(taps[:, None] - taps)
    target = changes(part[:, None] - taps)
    explained = (target * np.linalg.solve(gram, target.T).T).sum(axis=1)
    beside = changes(1 - part) / changes(part)
    return np.maximum.accumulate(beside), np.sqrt(np.clip(explained, _LARGEST_LOSS**2, 1))


def _noise(lag: npt.NDArray[np.float64], spec: FeatureSpec) -> npt.NDArray[np.float64]:
    """Return the autocorrelation of the power of noise under a Hann window at a lag in hops."""
    part = np.minimum(np.abs(lag) * spec.hop_length / spec.n_fft, 1)
    window = (1 - part) * (2 + np.cos(2 * np.pi * part)) / 3 + np.sin(2 * np.pi * part) / (2 * np.pi)
    power: npt.NDArray[np.float64] = np.square(window)
    return power


def are_one(matches: Sequence[Match]) -> bool:
    """Return whether two songs are one recording, by windows all over the longer one."""
    weights = np.array([match.frames for match in matches], np.float64)
    frames = weights.sum()
    if frames < LEAST_FRAMES:
        return False
    numbers = np.array([[match.agreeing, match.correlation, match.limit] for match in matches])
    agreeing, correlation, limit = weights @ numbers / frames
    needed = np.interp(frames, [_FEW_FRAMES, _MANY_FRAMES], [_SURE, limit])
    return bool(agreeing >= _SHARE and correlation >= needed)
