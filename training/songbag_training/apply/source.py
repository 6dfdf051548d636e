"""The songs to predict: of a store, or audio files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import MissingExtra, SongbagError, StoreNotFound, UsageError
from songbag_store.format.extractor import require_named
from songbag_store.format.index import CONTENT, END, START
from songbag_store.format.keys import IDENTITY
from songbag_store.format.spec import EMBEDDING
from songbag_store.progress import Progress
from songbag_store.storage.files import is_there
from songbag_store.storage.location import Location
from songbag_store.store import StoreLike
from songbag_training.runs.facts import RunFacts
from songbag_training.runs.store import refuse_other_spec
from songbag_training.songs.pieces import Piece, array_pieces
from songbag_training.work import PredictConfig

COLUMNS = ("song_id", "path", "status", "error_code", "error", "fragment", "row_start", "n_windows")
"""Columns of the index that predicting needs."""


class Receiver(Protocol):
    """Takes the features of songs; see `songbag_pipeline.run.relay.Receiver`."""

    def wanted(self, songs: pa.Table) -> pa.BooleanArray:
        """Return which songs are still to be predicted."""

    def take(self, store: SongStore, rows: pa.Table) -> None:
        """Predict songs, and keep the predictions."""


class SongAudio(NamedTuple):
    """The audio of a song: its file, the digest of the file that the features are of, and what is heard of it."""

    address: str | None
    options: Mapping[str, str]
    sample_rate_hz: int
    start_s: float = 0.0
    duration_s: float | None = None
    sha256: str | None = None


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


def stored_songs(store: SongStore) -> pa.Table:
    """Return what predicting needs of the songs of a store, failed ones included, in the order of song ids."""
    songs = store.index(list(COLUMNS), arrow=True)
    return songs.take(pc.sort_indices(songs["song_id"]))


def stored_key(songs: pa.Table) -> pa.ChunkedArray:
    """Return what tells the features of a song in a store from later ones."""
    return _joined(songs, "status", "fragment", "row_start", "n_windows")


def audio_key(songs: pa.Table) -> pa.ChunkedArray:
    """Return what tells the audio of a song from later audio: size and time of the file, and the part of it."""
    times = songs["modified_at"].cast(pa.int64())
    return _joined(songs.append_column("_time", times), "file_bytes", "_time", START, END)


def _joined(songs: pa.Table, *names: str) -> pa.ChunkedArray:
    texts = (songs[name].cast(pa.string()) for name in names)
    return pc.binary_join_element_wise(*texts, " ", null_handling="replace", null_replacement="-")


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


def compute_audio(
    receiver: Receiver,
    source: Location,
    spec: FeatureSpec,
    folder: Path,
    config: PredictConfig,
    progress: Progress | None,
) -> None:
    """Have songbag's pipeline compute the features of audio and hand them on; see `songbag_pipeline.compute_for`.

    Raises
    ------
    MissingExtra
        If songbag's pipeline is not installed.
    """
    try:
        from songbag_pipeline import compute_for
    except ImportError as error:
        raise MissingExtra("pipeline", error.name or "songbag_pipeline", place="predicting from audio") from error
    compute_for(receiver, source, spec, folder, config, progress=progress)


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
    MissingExtra
        If songbag's pipeline is not installed.
    SongbagError
        If it has no features, while the windows are read.
    """
    location = Location(os.path.abspath(path))
    require_audio_run(facts, location, features)
    audio = SongAudio(location.address, {}, facts.spec.sample_rate_hz)
    try:
        from songbag_pipeline import features_of
    except ImportError as error:
        raise MissingExtra("pipeline", error.name or "songbag_pipeline", place="explaining audio") from error

    def pieces() -> Iterator[Piece]:
        song = next(features_of(location, facts.spec, progress=progress))
        if song.path != location.address:
            raise UsageError("is not an audio file", place=path, remedy="Give a song id, or one audio file.")
        if song.windows is None:
            raise SongbagError(song.error or "it has no features", place=path)
        yield from array_pieces(song.song_id, song.windows, chunk_windows)

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
