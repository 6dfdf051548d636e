"""The songs to predict: of a store, or audio files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc

from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import MissingExtra, SongbagError, StoreNotFound, UsageError
from songbag_store.format.extractor import require_named
from songbag_store.format.index import CONTENT, START
from songbag_store.format.keys import IDENTITY
from songbag_store.format.spec import EMBEDDING
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


class SongAudio(NamedTuple):
    """The audio of a song: its file, the digest of the file that the features are of, and what is heard of it."""

    address: str | None
    options: Mapping[str, str]
    sample_rate_hz: int
    start_s: float = 0.0
    duration_s: float | None = None
    sha256: str | None = None


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


def require_audio_run(facts: RunFacts, place: Location, features: str | None) -> None:
    """Require a run whose features can be computed of audio, and the permission to run an extractor of own features.

    Raises
    ------
    UsageError
        If it was trained on embeddings, or the extractor was not named.
    """
    if facts.spec.kind == EMBEDDING:
        what = "the run was trained on embeddings, which are not computed of audio"
        remedy = "Extract the audio, then `songbag embed RUN STORE -o STORE2` with the run that made the embeddings; "
        raise UsageError(what, place=str(place), remedy=remedy + "give STORE2 here.")
    require_named(facts.spec.extractor, features)


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


def stored_audio(store: SongStore, song_id: str) -> SongAudio:
    """Return where the audio of a song of a store is; its address is None if the store does not know its file."""
    columns = ["path", START, "duration_s", CONTENT]
    path, start, duration, sha256 = store.songs(ids=[song_id], columns=columns, arrow=True).to_pylist()[0].values()
    rate = store.spec.sample_rate_hz
    return SongAudio(path, store.location.storage_options, rate, start or 0.0, duration, sha256)


def audio_file(
    facts: RunFacts, path: str, features: str | None, chunk_windows: int, progress: Progress | None
) -> tuple[Iterator[Piece], SongAudio]:
    """Return the windows of one audio file, and its audio.

    Raises
    ------
    UsageError
        If it is no audio file.
    SongbagError
        If it has no features, while the windows are read.
    """
    location = Location(os.path.abspath(path))
    require_audio_run(facts, location, features)
    audio = SongAudio(location.address, {}, facts.spec.sample_rate_hz)

    def pieces() -> Iterator[Piece]:
        songs, windows = next(audio_groups(location, facts.spec, chunk_windows, progress))
        for piece in windows:
            if songs[0].path != location.address:
                raise UsageError("is not an audio file", place=path, remedy="Give a song id, or one audio file.")
            yield piece
            if piece.last:
                return
        raise SongbagError(songs[0].reason or "it has no features", place=path)

    return pieces(), audio


def write_audio(audio: SongAudio, spans: Sequence[tuple[float, float]], output: Path) -> float:
    """Write stretches of a song into one audio file, and return its length; see `songbag_pipeline.write_clip`.

    Raises
    ------
    MissingExtra
        If songbag's pipeline is not installed.
    UsageError
        If the file of the song is not known.
    """
    if audio.address is None:
        remedy = "The table of pieces needs no audio: leave the clip out."
        raise UsageError("the store does not know the file of the song", place=str(output), remedy=remedy)
    try:
        from songbag_pipeline import Recording, write_clip
    except ImportError as error:
        raise MissingExtra("pipeline", error.name or "songbag_pipeline", place="cutting audio") from error
    recording = Recording(
        address=audio.address, start_s=audio.start_s, content_sha256=audio.sha256, options=audio.options
    )
    return write_clip(recording, spans, output, sample_rate_hz=audio.sample_rate_hz)
