"""Features and samples straight from audio files, without a store."""

from __future__ import annotations

import dataclasses
import mmap
import os
import sys
from collections.abc import Iterator

import numpy as np

from songbag_pipeline.errors import SongError
from songbag_pipeline.songs.containment import ContainedReader, Containment, contained_reader, folders_of
from songbag_pipeline.sources.bucket import LocalCopies
from songbag_pipeline.sources.excerpts import excerpt_of, excerpts_of
from songbag_pipeline.sources.source import read_source
from songbag_pipeline.types import FloatArray
from songbag_store import FeatureSpec
from songbag_store.format.declaration import plain_number, require_options, whole_number
from songbag_store.machine import require_linux
from songbag_store.progress import Progress, first_notes, shown_on
from songbag_store.storage.location import LocationLike, place_text, plain_address
from songbag_store.types import StoredWindows
from songbag_store.windows.spill import WindowSpill


@dataclasses.dataclass(frozen=True, slots=True)
class SongFeatures:
    """Features of one song.

    Attributes
    ----------
    windows : array, shape (N, C, T), or None
        In the encoding of a store, mapped from a temporary file; None if the song failed.
    error_code, error : str or None
        Why it failed; a code of `songbag_store.format.failure_codes.REMEDIES`.
    """

    song_id: str
    path: str
    windows: StoredWindows | None
    error_code: str | None
    error: str | None


def features_of(source: LocationLike, spec: FeatureSpec, *, progress: Progress | None = None) -> Iterator[SongFeatures]:
    """Compute the features of every song of a source, one song after the other, in a contained process.

    Parameters
    ----------
    source : str, pathlib.Path or Location
        A folder, a manifest or an audio file; any of them may lie in an object store.
    spec : FeatureSpec
        What to compute. An extractor of own features is imported and run: only pass a spec that you trust.
    progress : Progress, optional
        Where to note what was left out of the source, before the first song; by default standard output.

    Yields
    ------
    song : SongFeatures
        A song that fails is yielded with its reason. Windows are valid until the next song is requested.

    Raises
    ------
    SourceError, ManifestError
        If the source cannot be used.
    SongsMissing
        If it is a manifest, and none of its files is there.
    """
    require_options(spec, "spec", FeatureSpec)
    found = read_source(source)
    found.refuse_nowhere()
    shown = progress or shown_on(sys.stdout)
    for note in first_notes([*found.warnings, *filter(None, [found.missing()])]):
        shown.note(note)
    copies = LocalCopies(found.location.storage_options)
    with copies, ContainedReader(Containment().for_spec(spec, folders_of(()))) as reader:
        columns = (found.songs[name].to_pylist() for name in ("song_id", "path"))
        for song_id, path, excerpt in zip(*columns, excerpts_of(found.songs), strict=True):
            with WindowSpill(spec) as spill:
                facts = reader.read(path, spill, copies, excerpt)
                windows = spill.windows() if facts.status == "ok" else None
                yield SongFeatures(song_id, path, windows, facts.error_code, facts.error)


def read_audio(
    path: str,
    *,
    sample_rate_hz: int = 22050,
    start_s: float = 0.0,
    end_s: float | None = None,
    max_duration_s: float | None = None,
) -> FloatArray:
    """Decode a file, or a part of it, to mono at one sample rate, as songbag does before it windows.

    It is decoded in a process of its own, which serves later calls too: no file can end the process that calls.

    Parameters
    ----------
    path : str
        An audio file.
    sample_rate_hz : int
        The rate of the samples.
    start_s, end_s : float, optional
        The part that is wanted, in seconds; each bound is the nearest sample of the file. By default to its end.
    max_duration_s : float, optional
        The most that is wanted, from `start_s` on.

    Returns
    -------
    samples : float32, shape (S,)
        In [-1, 1]; ``S = ceil(frames * sample_rate_hz / source_rate)``, as ``librosa.load`` gives. The frames of a part
        are those of the whole file; they are resampled by themselves.

    Raises
    ------
    SongError
        If the file cannot be used, or ends before the part.
    UsageError
        If the part has no length, or begins before the file.
    """
    require_linux("songbag.read_audio")
    rate = whole_number(sample_rate_hz, "sample_rate_hz", 1)
    excerpt = excerpt_of(*map(plain_number, (start_s, end_s, max_duration_s)))
    path = plain_address(place_text(path, "path"))
    file = os.memfd_create("songbag-samples")
    try:
        with contained_reader(Containment()) as reader:
            facts = reader.read_samples(os.path.abspath(path), rate, excerpt, file)
        if facts.status != "ok":
            raise SongError(facts.error_code or "internal-error", facts.error or "", place=str(path))
        n_bytes = os.fstat(file).st_size
        if n_bytes == 0:
            return np.empty(0, np.float32)
        # The memory is the array's own: a fork that writes to it gets its own pages.
        return np.frombuffer(mmap.mmap(file, n_bytes, flags=mmap.MAP_PRIVATE), np.float32)
    finally:
        os.close(file)
