"""Vectors of songs: the mean of the embeddings of a song's windows, by the weights of the run's pooling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store import SongStore
from songbag_store.progress import Progress, stretch
from songbag_store.sql.output import writing_table
from songbag_store.words import counted
from songbag_training.evaluation.score import SongScorer
from songbag_training.fit.heritage import take_over
from songbag_training.lineage.parent import Parent
from songbag_training.models.model import song_model
from songbag_training.runs.run import Run, RunLike
from songbag_training.runs.store import refuse_other_spec
from songbag_training.songs.pieces import stored_pieces
from songbag_training.songs.task import Task
from songbag_training.types import FloatArray

VECTORS = pa.schema([("song_id", pa.string()), ("vector", pa.list_(pa.float32()))])
"""Columns of a table of song vectors."""

_LINE_EVERY = 1000
_ROWS_AT_ONCE = 1024


def vector_model(run: Run) -> tuple[keras.Model, Task]:
    """Return the model of a run and its task, to be asked for embeddings and vectors.

    Of a run that has learned without labels, the windows of a song count alike, and head and task mean nothing.
    """
    if run.facts.pretraining is None:
        return run.load_networks(), run.facts.song_task
    run.require_encoder()
    task = Task(("one", "other"))
    model = song_model(run.facts.spec, task, encoder=run.network.encoder, pooling="mean")
    take_over(model, Parent.open(run))
    return model, task


def write_vectors(scorer: SongScorer, source: SongStore, store: SongStore, path: Path, progress: Progress) -> int:
    """Write the vector of each song of a source, in the order of song ids; return how many there are.

    Parameters
    ----------
    scorer : SongScorer
        Takes the windows of `store`.
    source : SongStore
        The songs that are wanted.
    store : SongStore
        The store that is read: the source, or that of its embeddings.
    """
    places = store.inside.places
    wanted = pc.is_in(places["song_id"], value_set=source.inside.places["song_id"].combine_chunks())
    rows, n_vectors = places.filter(wanted).sort_by("song_id"), 0
    with writing_table(path, VECTORS) as table:
        for start, song_ids, vectors in _in_blocks(scorer, store, rows, progress):
            lists = pa.ListArray.from_arrays(np.arange(len(vectors) + 1) * vectors.shape[1], vectors.ravel())
            table.add(pa.table([song_ids, lists], schema=VECTORS))
            n_vectors = start + len(vectors)
    return n_vectors


def song_vectors(
    run: RunLike, store: SongStore, encoder: str | None, progress: Progress, *, ids: pa.Array | None = None
) -> tuple[pa.Array, FloatArray]:
    """Return the songs of a store that have features, and their vectors by a run, shape (n, E).

    With `ids` it is these songs, in another order.

    Raises
    ------
    SpecMismatch
        If the run was trained on other features.
    """
    opened = Run.open(run).allow_encoder(encoder)
    refuse_other_spec(opened.facts, store)
    scorer = SongScorer(*vector_model(opened))
    rows = store.inside.places
    rows = rows if ids is None else rows.filter(pc.is_in(rows["song_id"], value_set=ids))
    rows = rows.sort_by([("fragment", "ascending"), ("row_start", "ascending")])
    vectors = np.empty((rows.num_rows, scorer.width), np.float32)
    for start, _, block in _in_blocks(scorer, store, rows, progress):
        vectors[start : start + len(block)] = block
    return rows["song_id"].combine_chunks(), vectors


def _in_blocks(
    scorer: SongScorer, store: SongStore, rows: pa.Table, progress: Progress
) -> Iterator[tuple[int, pa.Array, FloatArray]]:
    """Yield the first row, the song ids and the vectors of some songs at a time, and show how far it is."""
    with stretch(progress, rows.num_rows, "song vectors"):
        for start in range(0, rows.num_rows, _ROWS_AT_ONCE):
            some = rows.slice(start, _ROWS_AT_ONCE)
            vectors = []
            for _, vector in scorer.vectors(stored_pieces(store, some, scorer.chunk_windows)):
                vectors.append(vector)
                done = start + len(vectors)
                state = f"{done:,} of {counted(rows.num_rows, 'song vector')}"
                progress.advance(done, state, state if done % _LINE_EVERY == 0 else None)
            yield start, some["song_id"].combine_chunks(), np.stack(vectors)
