"""`kept_scores`: songs of a store are scored and kept in parts; a call that was ended goes on with what is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store import SongStore
from songbag_store.progress import Progress, stretch
from songbag_store.words import counted
from songbag_training.evaluation.predictions import (
    TURNS_TO,
    Scorer,
    SongScore,
    probability_names,
    turning_of,
    windows_schema,
    windows_table,
)
from songbag_training.models.turning import Turning
from songbag_training.partial.parts import PredictedParts, open_parts
from songbag_training.types import Floats

SONGS_AT_ONCE = 1024
"""Songs that make a part."""

Scores = Callable[[Scorer, SongStore, pa.Table], Iterator[SongScore]]
"""Scores songs of a store, given as rows of its index, in their order."""

_LINE_EVERY_S = 10.0


def _schema(classes: Sequence[str], learners: Sequence[str]) -> pa.Schema:
    """Return the schema of parts: song_id, p_<class>..., and the same for each learner."""
    return pa.schema([("song_id", pa.string()), *((name, pa.float64()) for name in _columns(classes, learners))])


def _columns(classes: Sequence[str], learners: Sequence[str]) -> list[str]:
    names = probability_names(classes)
    return [*names, *(f"{learner} {name}" for learner in learners for name in names)]


@contextmanager
def keeping_scores(
    target: Path,
    asked: Mapping[str, Any],
    classes: Sequence[str],
    learners: Sequence[str],
    progress: Progress,
    *,
    has_windows: bool = True,
) -> Iterator[tuple[PredictedParts, Scores]]:
    """Open the parts of scores; yield them, and what scores songs by way of them, see `kept_scores`.

    Parameters
    ----------
    target : pathlib.Path
        What the scores are for; the parts lie beside it.
    asked : mapping
        What is scored by what: see `open_parts`.
    classes, learners : sequence of str
        Of the model: learners of a baseline, members of a network.
    progress : Progress
    has_windows : bool
        Whether single windows are scored, as by a network.
    """

    def scores(scorer: Scorer, store: SongStore, songs: pa.Table) -> Iterator[SongScore]:
        return kept_scores(scorer, store, songs, parts, learners, progress)

    windows = windows_schema(classes) if has_windows else None
    with open_parts(target, {"what": "scores", **asked}, _schema(classes, learners), windows) as parts:
        yield parts, scores


def kept_scores(
    scorer: Scorer,
    store: SongStore,
    songs: pa.Table,
    parts: PredictedParts,
    learners: Sequence[str],
    progress: Progress,
) -> Iterator[SongScore]:
    """Score the songs that no part has, and then yield the scores of all from the parts, in the order of the songs.

    Memory: as `PredictedParts`, and the windows of one song.

    Parameters
    ----------
    scorer : Scorer
    store : SongStore
    songs : pyarrow.Table
        Rows of its index, with the places of their windows.
    parts : PredictedParts
        Of such scores, see `keeping_scores`.
    learners : sequence of str
        Of a baseline, or members of a network.
    progress : Progress
    """
    classes = scorer.task.classes
    keyed = songs.select(["song_id"]).append_column("key", _key(songs))
    todo = songs.filter(parts.lacks(keyed))
    if known := songs.num_rows - todo.num_rows:
        progress.note(f"{counted(known, 'song was', 'songs were')} scored before")
    began_s = told_s = time.monotonic()
    with stretch(progress, todo.num_rows, "songs"):
        for start in range(0, todo.num_rows, SONGS_AT_ONCE):
            rows = todo.slice(start, SONGS_AT_ONCE)
            _add(parts, scorer, store, rows, learners)
            done, now_s = start + rows.num_rows, time.monotonic()
            state = f"{done:,} of {counted(todo.num_rows, 'song')}, {done / max(now_s - began_s, 1e-3):.1f} songs/s"
            due, told_s = (state, now_s) if now_s - told_s > _LINE_EVERY_S else (None, told_s)
            progress.advance(done, state, due)
    n = len(classes)
    none = np.zeros(0), np.zeros((0, n)), Turning()
    for rows, windows in parts.assembled(songs["song_id"]):
        values = np.stack([rows[name].to_numpy() for name in _columns(classes, learners)], axis=1)
        of_windows = _by_song(windows, classes)
        for song_id, own in zip(rows["song_id"].to_pylist(), values, strict=True):
            of_learners = {name: own[n * at : n * (at + 1)] for at, name in enumerate(learners, 1)}
            weights, shares, turning = next(of_windows, none)
            yield SongScore(song_id, own[:n], shares, weights, of_learners, turning.copy)


def _key(songs: pa.Table) -> pa.ChunkedArray:
    texts = (songs[name].cast(pa.string()) for name in ("fragment", "row_start", "n_windows"))
    return pc.binary_join_element_wise(*texts, " ")


def _add(parts: PredictedParts, scorer: Scorer, store: SongStore, rows: pa.Table, learners: Sequence[str]) -> None:
    """Score some songs, and write the part of them."""
    found, spec, classes = [], store.spec, scorer.task.classes
    with parts.adding() as writer:
        for score in scorer.of_store(store, rows):
            found.append(np.concatenate([score.probabilities, *(score.of_learners[name] for name in learners)]))
            if writer is not None:
                writer.add(windows_table(score, spec, classes))
    schema = _schema(classes, learners)
    table = pa.table([rows["song_id"].combine_chunks(), *np.array(found).T], schema=schema)
    parts.add(table, _key(rows), np.asarray(rows["n_windows"].to_numpy(), np.int64))


def _by_song(tables: Iterable[pa.Table], classes: Sequence[str]) -> Iterator[tuple[Floats, Floats, Turning]]:
    """Yield weights, probabilities and turning windows of each song; tables may cut through a song."""
    names, held, turning = ("weight", *probability_names(classes)), list[Floats](), Turning()
    for table in tables:
        values = np.stack([table[name].to_numpy() for name in names], axis=1)
        numbers, others = table["window"].to_numpy(), table[TURNS_TO]
        ends = [*np.flatnonzero(numbers == 0).tolist(), len(numbers)]
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            if held and start < end and numbers[start] == 0:
                yield *_whole(held), turning
                held, turning = [], Turning()
            if start < end:
                held.append(values[start:end])
                turning |= turning_of(numbers[start:end], others.slice(start, end - start))
    if held:
        yield *_whole(held), turning


def _whole(held: Sequence[Floats]) -> tuple[Floats, Floats]:
    values = np.concatenate(held)
    return np.ascontiguousarray(values[:, 0]), np.ascontiguousarray(values[:, 1:])
