"""The songs to predict: of a store, or audio files."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc

from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import MissingExtra, StoreNotFound, UsageError
from songbag_store.format.keys import IDENTITY
from songbag_store.progress import Progress
from songbag_store.storage.files import is_there
from songbag_store.storage.location import Location
from songbag_store.store import StoreLike
from songbag_training.evaluation.score import Piece, array_pieces, stored_pieces
from songbag_training.runs.facts import RunFacts
from songbag_training.runs.store import refuse_other_spec

SONGS_AT_ONCE = 1024
"""Songs of a group."""


class SourceSong(NamedTuple):
    """A song of a source, and why it has no features if it has none."""

    song_id: str
    path: str | None
    code: str | None
    reason: str | None


SongGroup = tuple[list[SourceSong], Iterator[Piece]]
"""Some songs of a source and their windows; the list is complete when the windows have been consumed."""


def open_source(facts: RunFacts, source: StoreLike) -> SongStore | Location:
    """Open a source that is a store, and check that its features are the model's; return any other source as audio."""
    if not isinstance(source, SongStore):
        location = Location.of(source)
        if not location.is_remote and not is_there(Path(location.address, IDENTITY)):
            if location.snapshot is not None:
                remedy = "Give a store, or leave the snapshot out."
                raise UsageError("audio has no snapshots", place=str(location), remedy=remedy)
            return location
        try:
            source = SongStore.open(location)
        except StoreNotFound:
            if location.snapshot is not None:
                raise
            return location
    refuse_other_spec(facts, source)
    return source


def stored_groups(store: SongStore, chunk_windows: int) -> Iterator[SongGroup]:
    """Yield the songs of a store by song id, some at a time; those that failed in extraction come with their reason."""
    names = ("song_id", "path", "error_code", "error")
    index = store.index(arrow=True).select([*names, "status", "fragment", "row_start", "n_windows"])
    order = pc.sort_indices(index["song_id"])
    for start in range(0, len(order), SONGS_AT_ONCE):
        rows = index.take(order.slice(start, SONGS_AT_ONCE))
        songs = [SourceSong(*row) for row in zip(*(rows[name].to_pylist() for name in names), strict=True)]
        yield songs, stored_pieces(store, rows.filter(pc.field("status") == "ok"), chunk_windows)


def audio_groups(
    source: Location, spec: FeatureSpec, chunk_windows: int, progress: Progress | None
) -> Iterator[SongGroup]:
    """Yield audio files, some at a time, as the pipeline computes their features, by the model's own spec.

    Raises
    ------
    MissingExtra
        If songbag's pipeline is not installed.
    """
    try:
        from songbag_pipeline import features_of
    except ImportError as error:
        raise MissingExtra("pipeline", error.name or "songbag_pipeline", place="predicting from audio") from error

    def pieces(songs: list[SourceSong]) -> Iterator[Piece]:
        for song in islice(features, SONGS_AT_ONCE):
            songs.append(SourceSong(song.song_id, song.path, song.error_code, song.error))
            if song.windows is not None:
                yield from array_pieces(song.song_id, song.windows, chunk_windows)

    features = features_of(source, spec, progress=progress)
    while True:
        songs: list[SourceSong] = []
        yield songs, pieces(songs)
        if len(songs) < SONGS_AT_ONCE:
            return
