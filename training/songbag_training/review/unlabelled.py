"""The unlabelled songs that are most worth labelling next: uncertain ones that are unlike each other."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store import SongStore
from songbag_store.format.index import PLACE_COLUMNS
from songbag_store.progress import Progress, stretch
from songbag_store.words import counted
from songbag_training.evaluation.score import SongScorer
from songbag_training.review.doubts import refuse_lists
from songbag_training.runs.run import Run
from songbag_training.runs.store import refuse_other_spec
from songbag_training.songs.columns import is_list, known_values
from songbag_training.songs.pieces import stored_pieces
from songbag_training.songs.task import Task
from songbag_training.types import Bools, FloatArray, Floats, Ints

POOL = 5
"""For each song that is wanted, so many of the least certain ones are looked at."""

_LINE_EVERY = 1000


class LeastCertain:
    """Keeps of the songs that it is given those with the smallest margins, at most twice as many as are wanted.

    Parameters
    ----------
    most : int
        How many are wanted.

    Attributes
    ----------
    song_ids : list of str
    margins : list of float
    shares : list of float64 arrays, shape (n_classes,)
    vectors : list of float32 arrays, shape (E,)
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.song_ids: list[str] = []
        self.margins: list[float] = []
        self.shares: list[Floats] = []
        self.vectors: list[FloatArray] = []

    def add(self, song_id: str, margin: float, shares: Floats, vector: FloatArray) -> None:
        """Take a song; the certain ones go when there are too many."""
        for own, value in zip(self._columns, (song_id, margin, shares, vector), strict=True):
            own.append(value)
        if len(self.margins) >= 2 * self._most:
            self.end()

    def end(self) -> None:
        """Keep only as many as are wanted, the least certain first; of equal ones, by song id."""
        order = sorted(range(len(self.margins)), key=lambda at: (self.margins[at], self.song_ids[at]))[: self._most]
        for own in self._columns:
            own[:] = [own[at] for at in order]

    @property
    def _columns(self) -> tuple[list[object], ...]:
        return self.song_ids, self.margins, self.shares, self.vectors  # type: ignore[return-value]


def worth_labelling(run: Run, store: SongStore, k: int, where: str | None, flat: bool, progress: Progress) -> pa.Table:
    """Return the table of `songbag_training.review.review.review` of a run and a store."""
    facts = run.facts
    refuse_other_spec(facts, store)
    task, schema = facts.song_task, store.inside.state.content.schema
    there = [facts.label] if facts.label in schema.names else []
    kind = schema.field(facts.label).type if there else task.label_type
    refuse_lists(kind, facts.label, flat)
    songs = store.songs(where, columns=[*PLACE_COLUMNS, "path", *there], arrow=True)
    rows = songs.filter(pa.array(are_unlabelled(songs, facts.label)))
    rows = rows.sort_by([("fragment", "ascending"), ("row_start", "ascending")])
    found = _least_certain(run, store, rows, POOL * k, progress)
    chosen = farthest_first(found.vectors, k).tolist()
    ids = pa.array([found.song_ids[row] for row in chosen], pa.string())
    shares = np.array([found.shares[row] for row in chosen], np.float64).reshape(-1, len(task.classes))
    # Of what is predicted, which by thresholds or costs need not be the most probable answer.
    sure = task.confidences(shares)
    sure = sure.min(axis=1) if task.several else sure
    said = task.labels(task.predicted(shares)) if chosen else pa.array([], task.label_type)
    made = {
        "song_id": ids,
        "path": rows["path"].take(pc.index_in(ids, value_set=rows["song_id"].combine_chunks())),
        facts.label: pa.nulls(len(ids), kind),
        "review_likely": said,
        "review_p_likely": pa.array(sure, pa.float64()),
        "review_margin": pa.array([found.margins[row] for row in chosen], pa.float64()),
    }
    return pa.table(made)


def are_unlabelled(songs: pa.Table, label: str) -> Bools:
    """Return which songs have no label: all, if there is no such column."""
    if label not in songs.column_names:
        return np.ones(songs.num_rows, np.bool_)
    column = songs[label].combine_chunks()
    if is_list(column.type):
        return np.asarray(pc.is_null(column).to_numpy(zero_copy_only=False))
    return ~known_values(column)[1]


def _least_certain(run: Run, store: SongStore, rows: pa.Table, most: int, progress: Progress) -> LeastCertain:
    """Score songs and keep those that the run is least certain of."""
    found, n_songs = LeastCertain(most), rows.num_rows
    if not n_songs:
        return found
    task = run.facts.song_task
    scorer = SongScorer(run.load_model(), task)
    with stretch(progress, n_songs, "songs"):
        pieces = stored_pieces(store, rows, scorer.chunk_windows)
        for done, (score, outputs) in enumerate(scorer.scored(pieces), 1):
            shares = score.probabilities
            if np.isfinite(shares).all():
                vector = (score.weights @ outputs.embeddings[:, : scorer.width]).astype(np.float32)
                found.add(score.song_id, margin(task, shares), shares, vector)
            state = f"{done:,} of {counted(n_songs, 'song')}"
            progress.advance(done, state, state if done % _LINE_EVERY == 0 else None)
    found.end()
    return found


def margin(task: Task, shares: Floats) -> float:
    """Return how sure a prediction is, from 0 to 1.

    The most probable class minus the next one; where a song may be of any number of classes, the mean over the classes
    of how far each probability is from 1/2, doubled.
    """
    if task.several:
        return float(np.abs(2 * shares - 1).mean())
    second, first = np.partition(shares, -2)[-2:]
    return float(first - second)


def farthest_first(vectors: Iterable[FloatArray], k: int) -> Ints:
    """Return `k` vectors that are unlike each other: first the first one, then always the one farthest from all chosen.

    T. Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer Science 38, 1985. Far
    is meant by the cosine. Of equally far ones the first is chosen.
    """
    rows = [np.asarray(one, np.float64) for one in vectors]
    if not rows:
        return np.zeros(0, np.int64)
    points = np.stack(rows)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    points = np.divide(points, lengths, out=np.zeros_like(points), where=lengths > 0)
    chosen = [0]
    # Least distance to any chosen one; of a chosen one below all others, so that it is not chosen again.
    distances = 1 - points @ points[0]
    distances[0] = -np.inf
    while len(chosen) < min(k, len(points)):
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, 1 - points @ points[chosen[-1]])
        distances[chosen[-1]] = -np.inf
    return np.array(chosen, np.int64)
