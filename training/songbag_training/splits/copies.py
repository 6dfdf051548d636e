"""Which songs of a store are copies of others: found once, saved with a split, and joined from there on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store import SongStore
from songbag_store.format.index import CONTENT, keep_rows, recordings
from songbag_store.likeness.copies import find_copies
from songbag_store.likeness.statistics import audio_digests
from songbag_store.progress import Progress, Silent
from songbag_training.splits.groups import find_units, keys_of
from songbag_training.splits.split import Split
from songbag_training.types import Ints


@dataclasses.dataclass(frozen=True, slots=True)
class Copies:
    """Songs that are copies of others.

    Attributes
    ----------
    song_ids : pyarrow.Array
        The songs that have a copy.
    columns : dict of str to pyarrow.Array
        Their `copy_group` and `same_audio`, see `Split`. Without columns, only bytes are compared.
    seconds : float, optional
        How long it took to find them; None if they were saved with a split.
    notes : tuple of str
        What the search did not compare.
    """

    song_ids: pa.Array
    columns: dict[str, pa.Array]
    seconds: float | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def find(cls, store: SongStore, progress: Progress | None = None) -> Self:
        """Find the copies among all songs of a store, see `songbag_store.likeness.copies.find_copies`."""
        began, shown = time.monotonic(), _Noting(progress or Silent())
        found = find_copies(store, progress=shown)
        ids, groups = found["song_id"].combine_chunks(), found["group"].combine_chunks()
        # Within a group, because songs that are alike may be of several recordings.
        sounds = audio_keys(store, ids).dictionary_encode().indices.cast(pa.int64())
        audio = pc.add(pc.multiply(groups, len(ids) + 1), sounds)
        columns = {"copy_group": groups, "same_audio": audio}
        return cls(ids, columns, time.monotonic() - began, tuple(shown.notes))

    @classmethod
    def unknown(cls) -> Self:
        """Return that copies were not looked for."""
        return cls(pa.array([], pa.string()), {})

    @classmethod
    def saved(cls, split: Split) -> Self:
        """Return the copies that are saved in a split."""
        columns = {name: column.combine_chunks() for name, column in split.copies().items()}
        return cls(pa.array(split.song_ids, pa.string()), columns)

    def among(self, song_ids: pa.Array) -> dict[str, pa.Array]:
        """Return the columns for some songs; null for a song without a copy among them."""
        places = pc.index_in(song_ids.cast(pa.string()), value_set=self.song_ids)
        return {name: _shared(column.take(places)) for name, column in self.columns.items()}

    def joined(self, split: Split) -> Split:
        """Return a split with these copies."""
        return with_copies(split, self.among(pa.array(split.song_ids, pa.string())))


def with_copies(split: Split, columns: Mapping[str, pa.Array]) -> Split:
    """Return a split with `copy_group` and `same_audio` of its songs, as `Copies.among` returns them."""
    own: dict[str, Any] = {name: tuple(column.to_pylist()) for name, column in columns.items()}
    return dataclasses.replace(split, **own)


class _Noting:
    """Shows work as another progress does, and keeps the notes for later: an error may come before they are shown."""

    def __init__(self, shown: Progress) -> None:
        self.begin, self.advance, self.end = shown.begin, shown.advance, shown.end
        self.notes: list[str] = []

    def note(self, line: str) -> None:
        """Keep the line."""
        self.notes.append(line)


def _shared(numbers: pa.Array) -> pa.Array:
    """Number the values of several rows from 0, in the order of the rows; the others become null."""
    counts = pc.value_counts(numbers.drop_null())
    several = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    kept = pc.if_else(pc.is_in(numbers, value_set=several), numbers, None) if len(several) else pa.nulls(len(numbers))
    return kept.dictionary_encode().indices.cast(pa.int64()) if len(several) else kept.cast(pa.int64())


def audio_keys(store: SongStore, song_ids: pa.Array) -> pa.Array:
    """Return a digest for each of some songs, equal for songs with the same audio; null where the sums tell nothing.

    No window is read. Songs of two stores can be compared if their features are of one recipe.
    """
    ids: list[str] = []
    digests: list[bytes | None] = []
    # In pieces, because the sums are most of the index.
    for rows in store.inside.state.content.pieces(["song_id", "n_windows", "feature_sum", "feature_sumsq"]):
        own = keep_rows(rows, pc.is_in(rows["song_id"], value_set=song_ids))
        ids += own["song_id"].to_pylist()
        digests += audio_digests(own, *store.spec.window_shape)
    return pa.array(digests, pa.binary()).take(pc.index_in(song_ids, value_set=pa.array(ids, pa.string())))


@dataclasses.dataclass(frozen=True, slots=True)
class CopyCounts:
    """How many songs are copies of others, the first of each recording not counted, by how that is known."""

    bytes: int
    audio: int
    alike: int

    @property
    def total(self) -> int:
        """All copies."""
        return self.bytes + self.audio + self.alike

    def in_words(self) -> str:
        """Return the counts that are not 0."""
        words = {"byte-identical": self.bytes, "with the same audio": self.audio, "alike": self.alike}
        return ", ".join(f"{n:,} {word}" for word, n in words.items() if n)


@dataclasses.dataclass(frozen=True, slots=True)
class CopiedSongs:
    """The songs of a split that have copies: few of a large store, so they are asked instead of all.

    Attributes
    ----------
    rows : int64, shape (n,)
        Their positions, ascending.
    contents : pyarrow.Table
        Digests of their bytes, and which part of them they are.
    columns : dict of str to pyarrow.ChunkedArray
        Their `copy_group` and `same_audio`.
    """

    rows: Ints
    contents: pa.Table
    columns: dict[str, pa.ChunkedArray]

    @classmethod
    def of(cls, split: Split, songs: pa.Table) -> Self:
        """Find them; the rows of the index are in the order of the split."""
        contents = recordings(songs)
        rows, values = keys_of(contents)
        columns = split.copies()
        found = [rows[np.bincount(values)[values] > 1]]
        found += [np.flatnonzero(column.is_valid().to_numpy()) for column in columns.values()]
        taken = np.unique(np.concatenate(found))
        own = pa.array(taken)
        of_songs = pa.table({CONTENT: contents.take(own)})
        return cls(taken, of_songs, {name: one.take(own) for name, one in columns.items()})

    def units(self, *names: str) -> Ints:
        """Return the number of each song's recording, by its bytes and some of the columns."""
        return find_units(self.contents, (), [self.columns[name] for name in names if name in self.columns])

    def counts(self) -> CopyCounts:
        """Count the copies."""
        kinds = (self.units(), self.units("same_audio"), self.units("same_audio", "copy_group"))
        left = [len(self.rows), *(int(units.max(initial=-1)) + 1 for units in kinds)]
        return CopyCounts(*(before - after for before, after in pairwise(left)))
