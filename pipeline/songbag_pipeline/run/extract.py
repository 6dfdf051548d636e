"""`extract`: fill a store from a source."""

from __future__ import annotations

import sys

from songbag_pipeline.run.config import ExtractConfig
from songbag_pipeline.run.coordinator import Coordinator
from songbag_pipeline.run.summary import Summary
from songbag_pipeline.run.work import Work
from songbag_store import FeatureSpec
from songbag_store.errors import require_extra
from songbag_store.format.declaration import require_options
from songbag_store.machine import require_linux
from songbag_store.progress import Progress, first_notes, shown_on
from songbag_store.storage.location import Location, LocationLike
from songbag_store.writer import SpecChoice

_DEFAULTS = ExtractConfig()


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
        What to compute, or a function that returns it for the store's spec (None if there is no store). By default
        the store's spec, or the reference recipe for a new store.
    config : ExtractConfig
        How to run.
    progress : Progress, optional
        Where to show what was left out of the source, and then progress; by default notes and a bar on standard error,
        or lines if that is no terminal.

    Returns
    -------
    summary : Summary
        What was done; `Summary.nothing_stored` says whether no song could be stored.

    Raises
    ------
    UnsupportedSystem
        If this machine does not run Linux.
    SourceError, ManifestError
        If the source cannot be used; nothing was done.
    SongsMissing
        If it is a manifest, none of its files is there, and the store does not know them; nothing was done.
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
    require_options(config, "config", ExtractConfig)
    require_linux("extract")
    require_extra("pipeline", "distributed", place="extract")
    if spec is not None and not callable(spec):
        require_options(spec, "spec", FeatureSpec)
    work = Work.of(source, Location.of(store).absolute(), spec, config)
    shown = progress or shown_on(sys.stderr)
    for note in first_notes(work.summary.warnings):
        shown.note(note)
    if work.todo.num_rows:
        Coordinator(work, shown).execute()
    return work.summary
