"""Which songs must stay on one side of a split: copies of one recording, and songs of one artist, album, ..."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from songbag_store.errors import UsageError
from songbag_store.index import user_fields
from songbag_training.labels import is_empty, is_list

Ints = npt.NDArray[np.int64]

CONTENT = "content_sha256"
"""Column of the index by which byte-identical recordings are known."""


def require_columns(songs: pa.Table, columns: Sequence[str], option: str) -> None:
    """Refuse columns that the songs do not have.

    Raises
    ------
    UsageError
        Naming the option and the columns that there are.
    """
    for column in columns:
        if column not in songs.column_names:
            own = ", ".join(field.name for field in user_fields(songs.schema)) or "none"
            raise UsageError(
                f"there is no column {column!r}; the columns that came with the songs are: {own}",
                where=option,
                remedy="Give one of them, or bring columns in with `songbag relabel STORE LABELS`.",
            )


def find_units(songs: pa.Table, columns: Sequence[str]) -> Ints:
    """Return the number of the unit of each song: songs of one unit must stay together.

    Two songs are of one unit if they have a value in common in any of the columns, or the same bytes, or if others
    chain them so. Null and empty text are no value; of a column of lists (all artists of a song), each element is one.

    Parameters
    ----------
    songs : pyarrow.Table
        Rows of the index.
    columns : sequence of str
        Beside `content_sha256`, which always counts.

    Returns
    -------
    units : int64, shape (n,)
        Numbers from 0, without gaps.
    """
    n_nodes = n_songs = songs.num_rows
    heads, tails = [], []
    for column in (*columns, CONTENT):
        rows, values = keys_of(songs[column])
        heads.append(rows)
        tails.append(values + n_nodes)
        n_nodes += int(values.max(initial=-1)) + 1
    edges = (np.concatenate(heads), np.concatenate(tails))
    graph = coo_array((np.ones(len(edges[0]), np.bool_), edges), shape=(n_nodes, n_nodes))
    _, components = connected_components(graph, directed=False)
    _, units = np.unique(components[:n_songs], return_inverse=True)
    return units.astype(np.int64)


def keys_of(column: pa.ChunkedArray) -> tuple[Ints, Ints]:
    """Return rows and the number of the value that each has, of all values that are not blank.

    A row of a column of lists comes once for each element.
    """
    values = column.combine_chunks()
    rows = np.arange(len(values), dtype=np.int64)
    if is_list(values.type):
        rows = pc.list_parent_indices(values).to_numpy(zero_copy_only=False).astype(np.int64)
        values = pc.list_flatten(values)
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    numbers = values.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    # One more for null, whose number is -1.
    blank = np.array([*map(is_empty, values.dictionary.to_pylist()), True])
    known = ~blank[numbers]
    return rows[known], numbers[known]


def n_duplicates(songs: pa.Table) -> int:
    """Return how many songs are byte-identical copies of another one."""
    known = songs[CONTENT].drop_null()
    return len(known) - int(pc.count_distinct(known).as_py())
