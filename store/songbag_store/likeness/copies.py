"""Songs that are one recording, and how that is known."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.likeness.alike import find_alike
from songbag_store.likeness.groups import groups_of, same
from songbag_store.likeness.statistics import read_statistics
from songbag_store.progress import Progress, Silent, shown_on
from songbag_store.store import SongStore, StoreLike
from songbag_store.types import Ints
from songbag_store.words import counted

if TYPE_CHECKING:
    import pandas as pd

KNOWN_BY = ("bytes", "audio", "alike")
"""How it is known that songs are copies, the strongest first."""

_IN_WORDS = {"bytes": "by their bytes", "audio": "by equal features", "alike": "alike"}


@overload
def copies(store: StoreLike, *, arrow: Literal[False] = ..., progress: Progress | None = ...) -> pd.DataFrame: ...


@overload
def copies(store: StoreLike, *, arrow: Literal[True], progress: Progress | None = ...) -> pa.Table: ...


def copies(store: StoreLike, *, arrow: bool = False, progress: Progress | None = None) -> pd.DataFrame | pa.Table:
    """Find the songs that are there more than once; no audio is read.

    Parameters
    ----------
    store : str, pathlib.Path, Location or SongStore
        The store.
    arrow : bool
        Return an Arrow table, not a pandas one.
    progress : Progress, optional
        Where to show how far it is; by default standard error.

    Returns
    -------
    copies : pandas.DataFrame or pyarrow.Table
        A row for each song that has a copy: `group` (a number from 0), `song_id`, and `known_by`, the strongest of what
        links the song to another one: ``bytes`` (the same file), ``audio`` (the same features) or ``alike`` (the
        windows agree, as after another encoding, at another level or with trimmed ends).

    Raises
    ------
    DamagedStore
        If windows that are compared are not what was written.
    """
    table = find_copies(SongStore.open(store), progress=progress or shown_on(sys.stderr))
    return table if arrow else table.to_pandas()


def find_copies(store: SongStore, *, progress: Progress | None = None) -> pa.Table:
    """Find the songs that are there more than once, by default without showing how far it is; see `copies`."""
    songs = read_statistics(store.inside.state.content, store.spec)
    links = [same(songs.contents), same(songs.audio)]
    links.append(find_alike(store, songs, np.concatenate(links), progress or Silent()))
    return _grouped(songs.song_ids, links)


def copies_text(table: pa.Table) -> str:
    """Return how many songs `find_copies` found, and how they are known, on one line."""
    if table.num_rows == 0:
        return "No song is there more than once."
    known_by = table["known_by"].to_pylist()
    how = ", ".join(f"{n:,} {_IN_WORDS[word]}" for word in KNOWN_BY if (n := known_by.count(word)))
    n_groups = pc.max(table["group"]).as_py() + 1
    return f"{counted(table.num_rows, 'song')} in {counted(n_groups, 'group')}: {how}."


def _grouped(song_ids: pa.ChunkedArray, links: Sequence[Ints]) -> pa.Table:
    """Return the table of the songs that are linked; `links` are in the order of `KNOWN_BY`."""
    known_by = np.full(len(song_ids), len(KNOWN_BY))
    for kind in reversed(range(len(links))):
        known_by[links[kind].ravel()] = kind
    (rows,) = np.nonzero(known_by < len(KNOWN_BY))
    linked = song_ids.take(pa.array(rows))
    by_id = pc.sort_indices(linked).to_numpy()
    rows, linked = rows[by_id], linked.take(pa.array(by_id))
    # Groups are numbered by their first song, so that the numbers do not depend on the order of the index.
    groups = groups_of(np.concatenate(links), len(song_ids))[rows]
    _, first, numbers = np.unique(groups, return_index=True, return_inverse=True)
    numbers = np.argsort(np.argsort(first))[numbers]
    order = np.argsort(numbers, kind="stable")
    columns = {
        "group": numbers[order].astype(np.int64),
        "song_id": linked.take(pa.array(order)),
        "known_by": pa.array(KNOWN_BY).take(pa.array(known_by[rows][order])),
    }
    return pa.table(columns)
