"""`embed`: what a run's encoder makes of the windows of a store, as another store, and as a vector for each song."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

from songbag_store import SongStore
from songbag_store.errors import Interrupted, SpecMismatch, UsageError
from songbag_store.format.spec import EMBEDDING, FeatureSpec
from songbag_store.progress import Progress, first_notes, shown_on, stretch
from songbag_store.sql.shown import Shown
from songbag_store.stop import StopRequest
from songbag_store.storage.files import file_digest, require_output
from songbag_store.storage.location import Location, LocationLike
from songbag_store.store import StoreLike
from songbag_store.words import counted
from songbag_store.writer import open_for_writing, take_over
from songbag_training.apply.embedding import EmbeddingWriter, embedding_plan
from songbag_training.apply.vectors import vector_model, write_vectors
from songbag_training.evaluation.score import SongScorer
from songbag_training.runs.run import Run, RunLike
from songbag_training.runs.store import refuse_other_spec
from songbag_training.songs.pieces import stored_pieces

_LINE_EVERY = 1000


@dataclasses.dataclass(slots=True, repr=False)
class Embedded(Shown):
    """What was embedded.

    Attributes
    ----------
    store : SongStore or None
        The store of embeddings, at its new snapshot.
    n_songs : int
        Songs that were embedded now.
    n_failed : int
        Songs that failed, in the extraction or now, and were taken over as such.
    n_known : int
        Songs that the store of embeddings had already.
    n_vectors : int
        Song vectors that were written.
    """

    store: SongStore | None = None
    n_songs: int = 0
    n_failed: int = 0
    n_known: int = 0
    n_vectors: int = 0

    def _facts(self) -> Iterator[tuple[str, object]]:
        if self.store is not None:
            yield "store", f"{self.store.address}, snapshot {self.store.snapshot}"
            yield "embedded now", self.n_songs
            yield "failed", self.n_failed
            yield "already there", self.n_known
        yield "song vectors", self.n_vectors


def embed(
    run: RunLike,
    store: StoreLike,
    output: LocationLike | None = None,
    *,
    songs: str | Path | None = None,
    encoder: str | None = None,
    progress: Progress | None = None,
) -> Embedded:
    """Write what a run's encoder makes of every window of a store, as a store; and a vector for each song, as a file.

    The embedding of a window is what enters the pooling. The windows of the new store lie at the same seconds, and all
    other columns of the index are carried over. Songs that it has already are not computed again, unless they have
    changed in the source: so an interrupted call is finished, and later songs are added, by the same call.

    One pass over the windows, a few hundred at a time. In memory are the index without its sums, and for `songs` the
    embeddings of one song; the embeddings of one fragment lie in a temporary file.

    Parameters
    ----------
    run : Run, str or pathlib.Path
        A finished run; only `run.json` and `weights.safetensors` of its folder are needed.
    store : SongStore, Location, str or pathlib.Path
        The store with the features that the run was trained on, at any snapshot.
    output : str, pathlib.Path, Location or SongStore, optional
        The store of embeddings; made if there is none.
    songs : str or pathlib.Path, optional
        A Parquet file, written whole or not at all: `song_id`, and `vector`, a list of float32: the mean of the song's
        embeddings by the weights that the run's pooling gives to its windows. Songs without features are left out.
    encoder : str, optional
        The name of the run's encoder, to allow it, if it is a function outside songbag: see `Run.allow_encoder`.
    progress : Progress, optional
        Where to show how far it is; by default a bar on standard error, or lines if that is no terminal.

    Returns
    -------
    embedded : Embedded
        The new store, and how many songs.

    Raises
    ------
    SpecMismatch
        If the store holds other features than the run was trained on, or `output` is a store of something else.
    UsageError
        If there is nothing to write, or a file cannot be written; before any work is done.
    Interrupted
        After SIGINT or SIGTERM, when what was finished is committed.

    Examples
    --------
    >>> songbag.embed("my-run", "my-store", "my-embeddings", songs="vectors.parquet")
    >>> songbag.train("my-embeddings", "genre", "another-run")
    """
    if output is None and songs is None:
        raise UsageError("there is nothing to write", place="embed", remedy="Give `output`, `songs` or both.")
    target = None if songs is None else Path(songs)
    if target is not None:
        require_output(target, ".parquet")
    opened_run, source = Run.open(run).allow_encoder(encoder), SongStore.open(store)
    refuse_other_spec(opened_run.facts, source)
    shown, done = progress or shown_on(sys.stderr), Embedded()
    model, task = vector_model(opened_run)
    scorer = SongScorer(model, task)
    if output is not None:
        spec = embedding_spec(opened_run, source, scorer.width)
        place = dataclasses.replace(Location.of(output).absolute(), snapshot=None)
        done.store = _embedded(source, place, spec, scorer, done, shown)
    if target is not None:
        if done.store is not None:
            scorer = SongScorer(model, task, embedded=True)
        done.n_vectors = write_vectors(scorer, source, done.store or source, target, shown)
    return done


def embedding_spec(run: Run, source: SongStore, width: int) -> FeatureSpec:
    """Return the spec of the embeddings, of `width` numbers, that a run makes of the windows of a store."""
    taken = ("sample_rate_hz", "window_s", "window_hop_s", "max_duration_s", "short_songs")
    return FeatureSpec(
        kind=EMBEDDING,
        own_bands=width,
        own_frames=1,
        embedding_run=run.facts.run_id,
        embedding_weights=file_digest(run.weights_path),
        embedding_store=source.uuid,
        embedding_features=source.spec.fingerprint,
        **{name: getattr(source.spec, name) for name in taken},
    )


def _embedded(
    source: SongStore, place: Location, spec: FeatureSpec, scorer: SongScorer, done: Embedded, progress: Progress
) -> SongStore:
    """Bring a store of embeddings up to date with its source."""
    target, notes = take_over(open_for_writing(place, lambda stored: _required(spec, stored, place)))
    plan = embedding_plan(source, target)
    for note in first_notes([*notes, *plan.notes]):
        progress.note(note)
    done.n_known = plan.n_known
    writer = EmbeddingWriter(target, plan)
    n_songs = plan.n_songs
    embeddings = scorer.embeddings(stored_pieces(source, plan.ok, scorer.chunk_windows))
    with StopRequest(lambda line: progress.note(f"{line}. What is finished is committed.")) as stop:
        with stretch(progress, n_songs, "songs"):
            for embedded in writer.write(embeddings, lambda: stop.signal_number is not None):
                state = f"{embedded:,} of {counted(n_songs, 'song')} embedded"
                progress.advance(embedded, state, state if embedded % _LINE_EVERY == 0 else None)
        committed = writer.end(whole=stop.signal_number is None)
    done.n_songs, done.n_failed = writer.n_stored, writer.n_failed
    if stop.signal_number is not None:
        raise Interrupted(
            stop.signal_number, f"stopped by a signal with {done.n_songs:,} of {counted(n_songs, 'song')} embedded"
        )
    return committed


def _required(spec: FeatureSpec, stored: FeatureSpec | None, place: Location) -> FeatureSpec:
    """Return the spec of embeddings, after comparing it with that of the store that is there.

    Raises
    ------
    SpecMismatch
        If it is another one.
    """
    if stored is not None and stored.fingerprint != spec.fingerprint:
        what = f"a store of something else is there: {stored.in_words()}"
        remedy = "Give a new folder: a store of embeddings is of one run and one store."
        raise SpecMismatch(what, stored.differences(spec), place=str(place), remedy=remedy)
    return spec
