"""What the index says of the sound of every song: the sums of its features."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.format.index import CONTENT
from songbag_store.format.sealed import Sealed
from songbag_store.types import Ints

Sums = npt.NDArray[np.float64]

_COLUMNS = ("song_id", "status", CONTENT, "n_windows", "feature_sum", "feature_sumsq")
_CONSTANT = 1e-9
"""The largest share of the mean square that rounding makes of the variance of equal numbers."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class SongStatistics:
    """The songs of a snapshot that have features, in the order of the index.

    Attributes
    ----------
    song_ids : pyarrow.ChunkedArray
        Of n songs.
    contents : int64, shape (n,)
        Equal for songs with the same bytes; -1 if the digest is not known.
    audio : int64, shape (n,)
        Equal for songs with the same windows, by their sums; -1 for a song without sums, or whose features never
        change, as those of silence.
    """

    song_ids: pa.ChunkedArray
    contents: Ints
    audio: Ints


def read_statistics(index: Sealed, n_values: int, n_frames: int) -> SongStatistics:
    """Read the statistics of the songs of a snapshot, a group of rows at a time.

    Parameters
    ----------
    index : Sealed
        The snapshot's file.
    n_values, n_frames : int
        Shape (C, T) of a window.
    """
    ids, contents, digests = [], [], []
    for piece in index.pieces(list(_COLUMNS)):
        songs = piece.filter(pc.field("status") == "ok")
        ids += songs["song_id"].chunks
        contents += songs[CONTENT].chunks
        digests += list(audio_digests(songs, n_values, n_frames))
    return SongStatistics(
        pa.chunked_array(ids, pa.string()),
        _codes(pa.chunked_array(contents, pa.string())),
        _codes(pa.chunked_array([pa.array(digests, pa.binary())])),
    )


def audio_digests(songs: pa.Table, n_values: int, n_frames: int) -> Iterator[bytes | None]:
    """Yield for each song a digest of its sums and its number of windows; None where they tell nothing."""
    windows = songs["n_windows"].to_numpy().astype(np.int64)
    sums, known = _lists(songs["feature_sum"], n_values)
    squares, known_too = _lists(songs["feature_sumsq"], n_values)
    count = np.maximum(windows, 1)[:, None] * n_frames
    changes = (squares / count - np.square(sums / count) > _CONSTANT * squares / count).any(axis=1)
    both = np.concatenate([windows[:, None].astype(np.float64), sums, squares], axis=1)
    for row, tells in zip(both, known & known_too & changes & (windows > 0), strict=True):
        yield hashlib.blake2b(row.tobytes(), digest_size=16).digest() if tells else None


def _lists(column: pa.ChunkedArray, n_values: int) -> tuple[Sums, npt.NDArray[np.bool_]]:
    """Return the lists of a column, shape (n, n_values), and which of them are whole; the others are zeros."""
    lists = column.combine_chunks()
    values = np.zeros((len(lists), n_values))
    whole = pc.fill_null(pc.equal(pc.list_value_length(lists), n_values), False).to_numpy(zero_copy_only=False)
    flat = pc.list_flatten(lists.filter(pa.array(whole))).to_numpy(zero_copy_only=False)
    values[whole] = flat.reshape(-1, n_values)
    finite = np.isfinite(values).all(axis=1)
    values[~finite] = 0
    return values, whole & finite


def _codes(column: pa.ChunkedArray) -> Ints:
    """Return a number for each value, equal for equal values; -1 for null."""
    codes = column.combine_chunks().dictionary_encode().indices
    numbers: Ints = pc.fill_null(codes, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers
