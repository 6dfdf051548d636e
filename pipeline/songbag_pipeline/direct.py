"""Features straight from audio files, without a store: for predicting on songs that are seen once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from songbag_pipeline.containment import ContainedReader
from songbag_pipeline.sources import read_source
from songbag_store import FeatureSpec
from songbag_store.encoding import StoredWindows
from songbag_store.fragments import WindowSpill


@dataclasses.dataclass(frozen=True, slots=True)
class SongFeatures:
    """Features of one song.

    Attributes
    ----------
    windows : array, shape (N, C, T), or None
        As a store would hold them, in a temporary file; None if the song failed.
    error_code, error : str or None
        Why it failed; a code of `songbag_store.failures.REMEDIES`.
    """

    song_id: str
    path: str
    windows: StoredWindows | None
    error_code: str | None
    error: str | None


def features_of(source: str | Path, spec: FeatureSpec) -> Iterator[SongFeatures]:
    """Compute the features of every song of a source, one song after the other, in a contained process.

    Parameters
    ----------
    source : str or pathlib.Path
        A folder, a manifest or an audio file.
    spec : FeatureSpec
        What to compute.

    Yields
    ------
    song : SongFeatures
        A song that fails is yielded with its reason. Windows are valid until the next song is asked for.

    Raises
    ------
    SourceError, ManifestError
        If the source cannot be used.
    """
    songs = read_source(source).songs
    with ContainedReader() as reader:
        for song_id, path in zip(songs["song_id"].to_pylist(), songs["path"].to_pylist(), strict=True):
            with WindowSpill(spec) as spill:
                facts = reader.read(path, spec, spill.append)
                windows = spill.windows() if facts.status == "ok" else None
                yield SongFeatures(song_id, path, windows, facts.error_code, facts.error)
