"""Mean and standard deviation of the features of some songs, from sums in the index."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store import SongStore
from songbag_training.errors import ModelError
from songbag_training.types import FloatArray, Floats

_SMALLEST_STD = 1e-3
"""dB; a coefficient that varies less is constant except for rounding, and is not scaled."""


def scaling_statistics(store: SongStore, song_ids: pa.ChunkedArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of each coefficient over some songs, from the index alone.

    Parameters
    ----------
    store : SongStore
        Its index has the sums of each song, so no window is read.
    song_ids : pyarrow.ChunkedArray
        The songs.

    Returns
    -------
    mean, std : float32, shape (C,)
        In the features' unit. A constant coefficient gets a standard deviation of 1.

    Raises
    ------
    ModelError
        If the index lacks the sums of a song.
    """
    chosen = pc.is_in(store.index(["song_id"], arrow=True)["song_id"], value_set=song_ids.combine_chunks())
    sums, n_windows, start = np.zeros((2, store.spec.window_shape[0])), 0, 0
    # In pieces, because the sums are most of the index.
    for rows in store.inside.state.content.pieces(["n_windows", "feature_sum", "feature_sumsq"]):
        of_songs = chosen.slice(start, rows.num_rows)
        start += rows.num_rows
        n_windows += int(rows["n_windows"].filter(of_songs).to_numpy().sum())
        for total, name in zip(sums, ("feature_sum", "feature_sumsq"), strict=True):
            total += _sum_of_lists(rows[name].filter(of_songs), name, len(total))
    mean, square = sums / (n_windows * store.spec.n_frames)
    std = np.sqrt(np.maximum(square - mean**2, 0.0))
    return mean.astype(np.float32), np.where(std < _SMALLEST_STD, 1.0, std).astype(np.float32)


def _sum_of_lists(column: pa.ChunkedArray, name: str, n_coefficients: int) -> Floats:
    """Sum a column of lists over its rows."""
    lists = column.combine_chunks()
    values = lists.flatten().to_numpy(zero_copy_only=False)
    if lists.null_count or len(values) != len(lists) * n_coefficients:
        raise ModelError(
            f"the column {name!r} has not {n_coefficients} numbers a song",
            place="index",
            remedy="The store lacks the sums that normalisation needs: extract its songs again.",
        )
    return np.asarray(values.reshape(len(lists), n_coefficients).sum(axis=0), np.float64)
