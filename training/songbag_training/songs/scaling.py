"""Mean and standard deviation of the features of some songs, from sums in the index: no pass over the windows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store import SongStore
from songbag_training.errors import ModelError
from songbag_training.types import FloatArray

_SMALLEST_STD = 1e-3
"""dB; a coefficient that varies less is constant but for rounding, and is left on its own scale."""


def scaling_statistics(store: SongStore, song_ids: pa.ChunkedArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of each coefficient over some songs, from the index alone.

    Parameters
    ----------
    store : SongStore
        Its index has the sums of each song.
    song_ids : pyarrow.ChunkedArray
        The songs.

    Returns
    -------
    mean, std : float32, shape (C,)
        In the features' unit. A coefficient that never varies gets a standard deviation of 1.

    Raises
    ------
    ModelError
        If the index has no sums of a song.
    """
    n_coefficients = store.spec.window_shape[0]
    chosen = pc.is_in(store.index(["song_id"], arrow=True)["song_id"], value_set=song_ids.combine_chunks())
    total, squares, n_windows, start = np.zeros(n_coefficients), np.zeros(n_coefficients), 0, 0
    # A piece of the index at a time: the sums are most of it.
    for rows in store.inside.state.pieces(["n_windows", "feature_sum", "feature_sumsq"]):
        of_songs = chosen.slice(start, rows.num_rows).to_numpy()
        start += rows.num_rows
        n_windows += int(rows["n_windows"].to_numpy()[of_songs].sum())
        total += _sum_of_lists(rows, "feature_sum", of_songs, n_coefficients)
        squares += _sum_of_lists(rows, "feature_sumsq", of_songs, n_coefficients)
    count = n_windows * store.spec.n_frames
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    return mean.astype(np.float32), np.where(std < _SMALLEST_STD, 1.0, std).astype(np.float32)


def _sum_of_lists(
    rows: pa.Table, name: str, of_songs: npt.NDArray[np.bool_], n_coefficients: int
) -> npt.NDArray[np.float64]:
    """Sum a column of lists over some rows."""
    lists = rows[name].combine_chunks()
    if lists.null_count:
        lists, of_songs = lists.filter(pa.array(of_songs)), np.ones(np.count_nonzero(of_songs), np.bool_)
    values = lists.flatten().to_numpy(zero_copy_only=False)
    if lists.null_count or len(values) != len(lists) * n_coefficients:
        raise ModelError(
            f"the column {name!r} has not {n_coefficients} numbers a song",
            place="index",
            remedy="The store lacks the sums that normalisation needs: extract its songs again.",
        )
    total: npt.NDArray[np.float64] = values.reshape(len(lists), n_coefficients)[of_songs].sum(axis=0)
    return total
