"""A run: from a source to a store, on a Dask cluster, committing what is finished again and again."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator

from songbag_pipeline.run.config import ExtractConfig
from songbag_pipeline.run.coordinator import Coordinator
from songbag_pipeline.run.prepare import prepare
from songbag_store import FeatureSpec
from songbag_store.errors import require_extra
from songbag_store.progress import Progress, shown_on
from songbag_store.sql.shown import Shown
from songbag_store.storage.location import Location, LocationLike
from songbag_store.writer import SpecChoice

_DEFAULTS = ExtractConfig()


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Summary(Shown):
    """What a run did.

    Attributes
    ----------
    n_stored, n_failed : int
        Songs of this run.
    n_known, n_failed_before : int
        Songs of the source that were in the store, with features and as failures.
    n_adopted : int
        Songs that an earlier run had finished and not committed.
    n_windows, audio_s, elapsed_s
        Windows, seconds of audio and of time of this run.
    snapshot : int
        The store's newest snapshot.
    warnings : tuple of str
        What was left out of the source, and why.
    n_duplicates : int
        Songs of the store that are another one byte for byte, each group but its first counted.
    """

    n_stored: int
    n_failed: int
    n_known: int
    n_failed_before: int
    n_adopted: int
    n_windows: int
    audio_s: float
    elapsed_s: float
    snapshot: int
    warnings: tuple[str, ...]
    n_duplicates: int = 0

    def _facts(self) -> Iterator[tuple[str, object]]:
        yield "stored", self.n_stored
        yield "failed", self.n_failed
        yield "known", self.n_known
        yield "failed before", self.n_failed_before
        yield "windows", self.n_windows
        yield "seconds", self.elapsed_s
        yield "snapshot", self.snapshot
        for warning in self.warnings:
            yield "note", warning


def extract(
    source: LocationLike,
    store: LocationLike,
    spec: FeatureSpec | SpecChoice | None = None,
    config: ExtractConfig = _DEFAULTS,
    *,
    progress: Progress | None = None,
) -> Summary:
    """Compute the features of every song of a source that the store does not have yet.

    Parameters
    ----------
    source : str, pathlib.Path or Location
        A folder, a prefix of an object store or a manifest, see `songbag_pipeline.sources.source.read_source`.
    store : str, pathlib.Path, Location or SongStore
        The store, a folder or ``s3://``, ``gs://``, ``az://``; made if there is none. The storage options of both
        locations travel to the workers.
    spec : FeatureSpec or callable, optional
        What to compute, or a function that says so from the store's spec (None where there is no store); by default
        what the store holds, or the reference recipe for a new one.
    config : ExtractConfig
        How to run.
    progress : Progress, optional
        Where to show how far it is; by default a bar on standard error, or lines where that is no terminal.

    Raises
    ------
    SourceError, ManifestError
        If the source cannot be used; nothing was done.
    SongsChanged
        If files changed and ``config.update_changed`` is not set; nothing was done.
    SpecMismatch
        If the store holds features of another spec.
    ClusterError
        If the cluster cannot do the work, or was lost; what was finished is committed.
    TooManyFailures
        If more than ``config.max_failed`` songs failed; what was finished is committed.
    Interrupted
        After SIGINT or SIGTERM, when what was finished is committed.
    """
    require_extra("pipeline", "distributed", place="extract")
    songs = Location.of(source)
    work = prepare(songs, Location.of(store).absolute(), spec, config)
    shown = progress or shown_on(sys.stderr)
    run = Coordinator(work.store, work.todo, songs.storage_options, shown, config.max_failed)
    if work.todo.num_rows:
        run.execute(dataclasses.replace(config, workers=min(config.n_workers, work.todo.num_rows)))
    return Summary(
        n_stored=run.progress.n_done - run.progress.n_failed,
        n_failed=run.progress.n_failed,
        n_known=work.n_known,
        n_failed_before=work.n_failed_before,
        n_adopted=work.n_adopted,
        n_windows=run.progress.n_windows,
        audio_s=run.progress.audio_s,
        elapsed_s=run.progress.elapsed_s,
        snapshot=work.snapshot if run.snapshot is None else run.snapshot,
        warnings=work.warnings,
        n_duplicates=work.n_duplicates if run.n_duplicates is None else run.n_duplicates,
    )
