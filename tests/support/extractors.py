"""Extractors as a user writes them, good ones and faulty ones."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

import numpy as np

import songbag
from songbag_pipeline.types import FloatArray

LOUD = 0.95
"""A window with a sample above this sets off the fault of `faulty`."""


@songbag.extractor(sample_rate_hz=8000, shape=(2, 1), version="1")
def levels(windows: FloatArray, *, power: float = 2.0) -> FloatArray:
    """The mean of a power of the magnitude, and the maximum: an embedding."""
    magnitude = np.abs(windows)
    return np.stack([(magnitude**power).mean(axis=1), magnitude.max(axis=1)], axis=1)[:, :, None]


@songbag.extractor(sample_rate_hz=8000, shape=(4, 5), version="2")
class Pieces:
    """The mean magnitude of pieces of a window, made once a process."""

    def __init__(self, scale: float = 1.0) -> None:
        self._scale = scale

    def __call__(self, windows: FloatArray) -> list[Any]:
        n_samples = windows.shape[1] // 20 * 20
        pieces = np.abs(windows[:, :n_samples]).reshape(len(windows), 4, 5, -1).mean(axis=3)
        return [self._scale * window for window in pieces.astype(np.float64)]


class Mute(Exception):
    """An exception that cannot say what it is, and cannot be made an array either."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __array__(self, *_: object, **__: object) -> FloatArray:
        raise RuntimeError("no \udcff numbers")


@songbag.extractor(sample_rate_hz=8000, shape=(1, 1), version="1")
def faulty(windows: FloatArray, fault: str) -> Any:
    """What the name of the fault says, for loud windows."""
    values = np.ones((len(windows), 1, 1))
    if windows.max() < LOUD:
        return values
    if fault == "raise":
        raise KeyError("a key\nthat is not there")
    if fault == "memory":
        return np.ones((1 << 36,))
    if fault == "surrogate":
        raise ValueError("cannot read \udcff\udc80")
    if fault == "long":
        raise ValueError("a\0b\x1b[31m" + "x" * 3_000_000)
    if fault == "mute":
        raise Mute
    if fault == "no-array":
        return Mute()
    if fault == "crash":
        os.abort()
    if fault == "garbage":
        for descriptor in range(3, 64):
            with suppress(OSError):
                os.write(descriptor, b"no answer of songbag's\n")
        os._exit(0)
    if fault == "fork":
        os.fork()
        return values
    masked = np.ma.array(values, mask=np.arange(len(values))[:, None, None] == 0)
    if fault in ("masked", "masked list"):
        return masked if fault == "masked" else [list(one) for one in masked]
    return {"shape": values[:, 0], "nan": values * np.nan, "nothing": None, "text": "no array"}[fault]


@songbag.extractor(sample_rate_hz=8000, shape=(3, 1), version="1")
def lies(windows: FloatArray) -> FloatArray:
    """Another shape than declared, for any window."""
    return windows[:, :2, None]


@songbag.extractor(sample_rate_hz=8000, shape=(1, 1), version="1", step=1 / 1024)
def in_steps(windows: FloatArray) -> FloatArray:
    """Forty times the maximum: a window that reaches 0.8 is beyond the largest int16."""
    return 40 * np.abs(windows).max(axis=1)[:, None, None]


def undeclared(windows: FloatArray) -> FloatArray:
    return windows[:, :1, None]


@songbag.extractor(sample_rate_hz=8000, shape=(1, 1), version="1")
def ends(windows: FloatArray) -> Any:
    """Says more than a pipe holds, and ends its process."""
    sys.stderr.write("loading...\n" * 20_000)
    sys.stderr.write("no such device\n")
    sys.stderr.flush()
    os._exit(3)
