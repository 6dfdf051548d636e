"""The orthonormal DCT, by which MFCC are made of mel bands."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def dct(n_coefficients: int, n_bands: int) -> npt.NDArray[np.float32]:
    """Return the first rows of the orthonormal DCT-II over bands, float32, shape (n_coefficients, n_bands).

    Its transpose turns coefficients back into the smooth spectrum that they describe.
    """
    orders, places = np.arange(n_coefficients)[:, None], (np.arange(n_bands) + 0.5)[None] / n_bands
    scale = np.where(orders == 0, np.sqrt(1 / n_bands), np.sqrt(2 / n_bands))
    return (np.cos(np.pi * orders * places) * scale).astype(np.float32)
