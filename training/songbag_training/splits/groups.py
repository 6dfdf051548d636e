"""Groups of songs that must stay together: copies of a recording, songs of an artist or album."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.format.index import CONTENT
from songbag_store.upkeep.comparable import comparable_texts
from songbag_training.songs.columns import is_list, known_values
from songbag_training.types import Ints

_LIKELY = {"artist", "artists", "album_artist", "albumartist", "album"}


def likely_groups(schema: pa.Schema) -> list[str]:
    """Return the columns of an index that are called artist or album, in any case."""
    return [name for name in schema.names if name.casefold().replace(" ", "_") in _LIKELY]


def find_units(songs: pa.Table, columns: Sequence[str], copies: Sequence[pa.ChunkedArray] = ()) -> Ints:
    """Return the number of each song's unit. The songs of a unit must stay together.

    Songs with the same bytes, also as parts of one file, or with a common value in one of the columns, are of one unit,
    also if a chain of other songs links them. Null, NaN and blank text are no values; in a column of lists (all artists
    of a song), each element is a value.

    Parameters
    ----------
    songs : pyarrow.Table
        Rows of the index.
    columns : sequence of str
        Columns besides `content_sha256`, which always counts.
    copies : sequence of pyarrow.ChunkedArray
        Further columns, of the same rows: groups of copies.

    Returns
    -------
    units : int64, shape (n,)
        Numbers from 0, without gaps.
    """
    n_nodes = n_songs = songs.num_rows
    heads, tails = [], []
    for column in (*(songs[name] for name in columns), songs[CONTENT], *copies):
        rows, values = keys_of(column)
        # A value of one song only joins nothing, and most songs have unique contents.
        shared = np.bincount(values)[values] > 1
        heads.append(rows[shared])
        tails.append(values[shared] + n_nodes)
        n_nodes += int(values.max(initial=-1)) + 1
    edges = (np.concatenate(heads), np.concatenate(tails))
    if not len(edges[0]):
        return np.arange(n_songs)
    from scipy.sparse import coo_array  # scipy takes longer to load than most commands run
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(edges[0]), np.bool_), edges), shape=(n_nodes, n_nodes))
    _, components = connected_components(graph, directed=False)
    _, units = np.unique(components[:n_songs], return_inverse=True)
    return units.astype(np.int64)


def keys_of(column: pa.ChunkedArray) -> tuple[Ints, Ints]:
    """Return the rows whose value is neither null, NaN nor blank, and a number for each value.

    In a column of lists, a row occurs once for each element.
    """
    values = column.combine_chunks()
    rows = np.arange(len(values), dtype=np.int64)
    if is_list(values.type):
        rows = pc.list_parent_indices(values).to_numpy(zero_copy_only=False).astype(np.int64)
        values = pc.list_flatten(values)
    if pa.types.is_nested(values.type):
        # Arrow has no dictionaries of structures, such as an artist with name and number.
        values = comparable_texts("", pa.chunked_array([values])).combine_chunks()
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    codes, known = known_values(values)
    rows = rows[known]
    return rows, codes.indices.filter(pa.array(known)).to_numpy(zero_copy_only=False).astype(np.int64)


def torn(column: pa.ChunkedArray, subsets: Ints) -> tuple[Ints, Ints]:
    """Return rows and values, as `keys_of` does, but only of values that have songs in more than one subset.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        Of n rows.
    subsets : int64, shape (n,)
        Number of each row's subset; negative for a row that is in none.
    """
    rows, values = keys_of(column)
    inside = subsets[rows] >= 0
    rows, values = rows[inside], values[inside]
    n_values = int(values.max(initial=-1)) + 1
    lowest, highest = np.full(n_values, np.iinfo(np.int64).max), np.full(n_values, -1)
    np.minimum.at(lowest, values, subsets[rows])
    np.maximum.at(highest, values, subsets[rows])
    is_torn = lowest[values] < highest[values]
    return rows[is_torn], values[is_torn]
