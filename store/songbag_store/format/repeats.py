"""Texts that stand more than once in a column of millions, found without holding the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_ROWS_AT_ONCE = 1 << 13

Pieces = Callable[[], Iterable[pa.ChunkedArray]]
"""The column, a few thousand rows at a time; drawn once, and a second time where two hashes are alike."""


def repeated(pieces: Pieces, hash_of: Callable[[str], int] = hash) -> Counter[str]:
    """Return the texts that are there more than once, in the order they come in, and how often; nulls are none.

    In memory are eight bytes of each text, twice while they are sorted, and the texts whose hash another one has: a
    tenth of what a table of all texts takes. Python's hash is keyed anew in every process, so nobody can make texts
    that collide; those that do by chance are told apart.
    """
    hashes = np.concatenate([np.empty(0, np.int64), *(_hashes(texts, hash_of) for texts in _texts(pieces))])
    hashes.sort()
    alike = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    if not len(alike):
        return Counter()
    counts: Counter[str] = Counter()
    for texts in _texts(pieces):
        counts.update(texts[row] for row in np.flatnonzero(np.isin(_hashes(texts, hash_of), alike)))
    return Counter({text: count for text, count in counts.items() if count > 1})


def _texts(pieces: Pieces) -> Iterable[list[str]]:
    for piece in pieces():
        for start in range(0, len(piece), _ROWS_AT_ONCE):
            yield piece.slice(start, _ROWS_AT_ONCE).drop_null().to_pylist()


def _hashes(texts: list[str], hash_of: Callable[[str], int]) -> npt.NDArray[np.int64]:
    return np.fromiter(map(hash_of, texts), np.int64, len(texts))
