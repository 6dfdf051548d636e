"""Windows of features from a stream of samples, for every kind of features."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from songbag_pipeline.features.by_librosa import by_librosa
from songbag_pipeline.features.kernel import KernelWindower
from songbag_pipeline.features.own import own_features
from songbag_pipeline.types import Blocks, FloatArray
from songbag_store import FeatureSpec
from songbag_store.errors import SpecError, UsageError
from songbag_store.format.array import encode
from songbag_store.format.declaration import require_options
from songbag_store.format.spec import EMBEDDING, IN_DB, OWN

_BLOCK_BYTES = 8 << 20


class Windower(Protocol):
    """Turns a stream of samples into windows of features.

    Attributes
    ----------
    n_samples, n_windows : int
        Samples that came, and windows that were returned.
    """

    n_samples: int
    n_windows: int

    def push(self, samples: FloatArray) -> FloatArray:
        """Take the next samples, shape (S,); return the windows they complete, shape (N, C, T)."""

    def pad(self) -> FloatArray:
        """Return the one window of a song that is shorter than a window, with zeros after its samples."""


def windower(spec: FeatureSpec) -> Windower:
    """Return what makes windows of the features of a spec.

    Raises
    ------
    SpecError
        If they are embeddings, which are not computed of audio.
    """
    require_options(spec, "spec", FeatureSpec)
    if spec.kind == EMBEDDING:
        remedy = (
            "Compute the features that the run was trained on; `songbag embed` makes embeddings of a store of them."
        )
        raise SpecError("embeddings are not computed of audio but by a run", place="spec", remedy=remedy)
    if spec.kind in IN_DB:
        return KernelWindower(spec)
    return BlockWindower(spec, own_features(spec) if spec.kind == OWN else by_librosa(spec))


def window_features(samples: FloatArray, spec: FeatureSpec) -> FloatArray:
    """Cut one song into overlapping windows and compute the features of each.

    Parameters
    ----------
    samples : float32, shape (S,)
        Mono audio in [-1, 1] at ``spec.sample_rate_hz``.
    spec : FeatureSpec
        Window, hop and kind of the features.

    Returns
    -------
    windows : float32, shape (N, C, T)
        ``N = 1 + (S - window_samples) // window_hop_samples``; the tail that does not fill a window is dropped, and a
        song shorter than one window has none.

    Raises
    ------
    UsageError
        If the samples are no decimal numbers, or have channels.

    Examples
    --------
    >>> window_features(np.zeros(60 * 22050, np.float32), FeatureSpec()).shape
    (23, 13, 216)
    """
    given = np.asarray(samples)
    if given.ndim != 1 or given.dtype.kind != "f":
        what = f"are {given.dtype} of shape {given.shape} and no mono audio in [-1, 1]"
        remedy = "Give the mean of the channels, as decimal numbers, such as `songbag.read_audio` gives."
        raise UsageError(what, place="samples", remedy=remedy)
    return windower(spec).push(given.astype(np.float32, copy=False))


class BlockWindower:
    """Cuts a stream of samples into windows, and has the features of a block of windows computed at once.

    It keeps the samples of the window that is not yet full; a block is of 8 MB of samples, or of one window.

    Parameters
    ----------
    spec : FeatureSpec
        Window and hop.
    compute : callable
        From float32 (W, S) to float32 (W, C, T).
    """

    def __init__(self, spec: FeatureSpec, compute: Blocks) -> None:
        self.n_samples = self.n_windows = 0
        self._spec, self._compute = spec, compute
        self._held: FloatArray = np.empty(0, np.float32)
        # Samples to skip before the next window begins, if windows do not touch.
        self._skipped = 0

    def push(self, samples: FloatArray) -> FloatArray:
        """Take the next samples, shape (S,); return the windows they complete, shape (N, C, T)."""
        length, hop = self._spec.window_samples, self._spec.window_hop_samples
        self.n_samples += len(samples)
        skipped = min(self._skipped, len(samples))
        self._skipped -= skipped
        held = np.concatenate([self._held, samples[skipped:]])
        n_windows = max(0, 1 + (len(held) - length) // hop)
        done = np.empty((n_windows, *self._spec.window_shape), np.float32)
        at_once = max(1, _BLOCK_BYTES // (4 * length))
        for start in range(0, n_windows, at_once):
            stop = min(n_windows, start + at_once)
            block = [held[number * hop : number * hop + length] for number in range(start, stop)]
            done[start:stop] = self._compute(np.stack(block))
        self._skipped += max(0, n_windows * hop - len(held))
        self._held = held[n_windows * hop :].copy()
        self.n_windows += n_windows
        return done

    def pad(self) -> FloatArray:
        """Return the one window of a song that is shorter than a window, with zeros after its samples."""
        window = np.zeros((1, self._spec.window_samples), np.float32)
        window[0, : len(self._held)] = self._held
        self.n_windows += 1
        return self._compute(window)


def prepare(spec: FeatureSpec) -> None:
    """Compute the features of a second of noise, and of silence, so that all that it needs is loaded.

    Raises
    ------
    Exception
        What the library raises that computes them: the spec does not suit it.
    """
    noise = np.random.default_rng(0).standard_normal(spec.window_samples).astype(np.float32) * np.float32(0.1)
    for samples in (noise, np.zeros_like(noise)):
        features = window_features(samples, spec)
        if spec.kind == OWN:
            encode(features, spec)
