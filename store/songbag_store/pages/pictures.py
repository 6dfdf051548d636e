"""An array as a picture: a PNG of some thousand bytes, written with zlib alone."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import numpy.typing as npt

from songbag_store.format.spec import FeatureSpec

MOST_COLUMNS = 480
MOST_ROWS = 48
_LEVELS = 48
_REACH = 2.5
_STOPS = np.array([(22, 20, 46), (60, 40, 110), (120, 50, 130), (190, 70, 110), (240, 130, 80), (252, 220, 150)], float)
"""From dark to light; the steps look equally large."""


def song_picture(windows: npt.NDArray[np.float32], spec: FeatureSpec) -> str:
    """Return the features of a song as the address of a picture: seconds to the right, coefficients upwards.

    Parameters
    ----------
    windows : float32, shape (N, C, T)
        Windows of the song; where they overlap the earlier one counts.
    spec : FeatureSpec

    Returns
    -------
    address : str
        ``data:image/png;base64,...``, at most 48 rows and 480 columns. Each coefficient is shown against its own mean
        and deviation in the song.
    """
    n_frames = windows.shape[2]
    step = min(max(1, round(n_frames * spec.window_hop_s / spec.window_s)), n_frames)
    values = np.concatenate([*windows[:-1, :, :step], windows[-1]], axis=1)
    values = _means(_means(np.nan_to_num(values).astype(np.float64), MOST_COLUMNS, 1), MOST_ROWS, 0)
    spread = values.std(axis=1, keepdims=True)
    shares = (values - values.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0) / _REACH
    levels = np.clip((shares + 1) / 2 * (_LEVELS - 1), 0, _LEVELS - 1).round().astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(png(levels[::-1])).decode()


def png(levels: npt.NDArray[np.uint8]) -> bytes:
    """Return levels from 0 to 47, shape (height, width), as a PNG with a palette from dark to light."""
    height, width = levels.shape
    at = np.linspace(0, len(_STOPS) - 1, _LEVELS)
    palette = np.stack([np.interp(at, np.arange(len(_STOPS)), _STOPS[:, one]) for one in range(3)], axis=1)
    lines = np.zeros((height, width + 1), np.uint8)  # each line begins with the number of its filter: none
    lines[:, 1:] = levels
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.round().astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(lines.tobytes(), 6)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def _means(values: npt.NDArray[np.float64], most: int, axis: int) -> npt.NDArray[np.float64]:
    """Return means of neighbours along an axis, so that at most so many are left."""
    n = values.shape[axis]
    if n <= most:
        return values
    starts = (np.arange(most) * n) // most
    sums = np.add.reduceat(values, starts, axis=axis)
    counts = np.diff(np.append(starts, n))
    return np.asarray(sums / (counts if axis == 1 else counts[:, None]))
