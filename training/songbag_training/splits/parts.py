"""Parts of training songs, to choose something by without the tested songs."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pyarrow as pa

from songbag_training.songs.labels import Labels
from songbag_training.splits.copies import Copies
from songbag_training.splits.dealer import stratify
from songbag_training.splits.groups import find_units
from songbag_training.splits.split import Split
from songbag_training.types import Ints


def inner_parts(labels: Labels, split: Split, rows: Sequence[int], n_parts: int, *, seed: int) -> Ints:
    """Deal some songs of a split to parts: copies and groups stay together, each part gets its share of each class.

    Parameters
    ----------
    labels : Labels
        The songs of the split.
    split : Split
        Its groups and copies hold.
    rows : sequence of int
        The songs to deal, ascending.
    n_parts : int
    seed : int

    Returns
    -------
    parts : int64, shape (n,)
        The part of each song, from 0; a part of few songs may be empty.
    """
    songs = labels.songs.take(pa.array(rows, pa.int64()))
    ids = songs["song_id"].combine_chunks()
    copies = [pa.chunked_array([own]) for own in Copies.saved(split).among(ids).values()]
    units = find_units(songs, split.group, copies)
    members = labels.task.pairs([labels.names[row] for row in rows])
    return stratify(ids.to_pylist(), members, units, [Fraction(1, n_parts)] * n_parts, seed=seed)
