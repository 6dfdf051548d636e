"""Prediction: a run's model applied to the songs of a store, or to audio that is in no store."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.format.extractor import require_named
from songbag_store.progress import Progress
from songbag_store.sql.output import writing_table
from songbag_store.sql.shown import Shown
from songbag_store.storage.files import require_output
from songbag_store.store import StoreLike
from songbag_store.terminal import plain_text
from songbag_training.apply.source import (
    SongGroup,
    SourceSong,
    audio_groups,
    open_source,
    require_audio_run,
    stored_groups,
)
from songbag_training.evaluation.predictions import (
    probability_columns,
    probability_names,
    windows_schema,
    windows_table,
)
from songbag_training.evaluation.score import SongScore, SongScorer, window_times
from songbag_training.runs.facts import RunFacts
from songbag_training.runs.run import Run, RunLike
from songbag_training.types import Floats

_SONGS_SHOWN = 10
_WINDOWS_SHOWN = 3


@dataclasses.dataclass(slots=True, repr=False)
class Predicted(Shown):
    """What was predicted.

    Attributes
    ----------
    n_songs : int
        Songs of the source.
    n_failed : int
        Songs without features and so without prediction.
    failures : list of str
        The first ten of these, with the reason.
    explanations : list of str
        For the first ten songs: what they are predicted to be, and which seconds decided.
    """

    n_songs: int = 0
    n_failed: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    explanations: list[str] = dataclasses.field(default_factory=list)

    def _facts(self) -> Iterator[tuple[str, object]]:
        yield "songs", self.n_songs
        yield "failed", self.n_failed
        for line in self.failures:
            yield "failure", line


def predict(
    run: RunLike,
    source: StoreLike,
    output: str | Path | None = None,
    *,
    windows: str | Path | None = None,
    encoder: str | None = None,
    features: str | None = None,
    arrow: bool = False,
    progress: Progress | None = None,
) -> Any:
    """Predict the class of every song of a source, into a table or into a file.

    Into a file, memory holds a thousand songs and the windows of one.

    Parameters
    ----------
    run : Run, str or pathlib.Path
        A finished run; only `run.json` and `weights.safetensors` of its folder are needed.
    source : SongStore, Location, str or pathlib.Path
        A store, a folder of audio files, a manifest (CSV or Parquet) or an audio file.
    output : str or pathlib.Path, optional
        File for the table, CSV or Parquet by its suffix. Written whole or not at all.
    windows : str or pathlib.Path, optional
        With `output`: a file with a row for each window: song_id, window, start_s, end_s, weight and p_<class>...;
        the weights of a song sum to 1.
    encoder : str, optional
        The name of the run's encoder, to allow it, if it is a function outside songbag: see `Run.allow_encoder`.
    features : str, optional
        For audio, the extractor of own features that the run was trained on, ``module:name``, to allow it.
    arrow : bool
        Return the table as Arrow instead of pandas.
    progress : Progress, optional
        Where to show which files of a folder or a manifest are left out, and why; by default standard output.

    Returns
    -------
    predictions : pandas.DataFrame or pyarrow.Table
        A row for each song, in the order of the source (a store and a folder are in the order of song ids): song_id,
        path, predicted, p_<class>..., error_code, error. The prediction of a song that failed is null.
    predicted : Predicted
        With `output`: the number of songs, and what to show of them.

    Raises
    ------
    SpecMismatch
        If a store holds other features than the model was trained on.
    MissingExtra
        If the source is audio and songbag's pipeline is not installed.
    UsageError
        If audio is given with a snapshot, or a file cannot be written; before any work is done.
    """
    target, explained = (None if one is None else Path(one) for one in (output, windows))
    for path in filter(None, (target, explained)):
        require_output(path, ".csv", ".parquet")
    if explained and target is None:
        raise UsageError("the file is written beside one of predictions", place="windows", remedy="Give `output` too.")
    if explained and target and explained.resolve() == target.resolve():
        raise UsageError("predictions and windows cannot go into one file", place=str(windows))
    run = Run.open(run).allow_encoder(encoder)
    place = open_source(run.facts, source)
    if not isinstance(place, SongStore):
        require_audio_run(run.facts, place, features)
    elif features is not None:
        require_named(run.facts.spec.extractor, features)
    scorer = SongScorer(run.load_model(), run.facts.song_task)
    if isinstance(place, SongStore):
        groups = stored_groups(place, scorer.chunk_windows)
    else:
        groups = audio_groups(place, run.facts.spec, scorer.chunk_windows, progress)
    if target is not None:
        return _write(run, scorer, groups, target, explained)
    tables = [table for table, _ in _tables(run, scorer, groups, lambda score: None)]
    table = pa.concat_tables([_schema(run.facts).empty_table(), *tables])
    return table if arrow else table.to_pandas()


def _write(
    run: Run, scorer: SongScorer, groups: Iterator[SongGroup], target: Path, explained: Path | None
) -> Predicted:
    """Write predictions, and windows if they are wanted, as they come."""
    done, spec, classes = Predicted(), run.facts.spec, run.facts.classes
    with ExitStack() as stack:
        rows = stack.enter_context(writing_table(target, _schema(run.facts)))
        why = stack.enter_context(writing_table(explained, windows_schema(classes))) if explained else None

        def take(score: SongScore) -> None:
            if why:
                why.add(windows_table(score, spec, classes))
            if len(done.explanations) < _SONGS_SHOWN:
                done.explanations.append(explain(score, run.facts))

        for table, failed in _tables(run, scorer, groups, take):
            rows.add(table)
            done.n_songs += table.num_rows
            done.n_failed += len(failed)
            for song in failed[: _SONGS_SHOWN - len(done.failures)]:
                done.failures.append(f"{plain_text(song.song_id)}: {plain_text(song.reason or str(song.code))}")
    return done


def explain(score: SongScore, facts: RunFacts) -> str:
    """Return in one line the predicted class of a song, and the seconds with most evidence: weight times probability.

    If several classes are predicted, they count together; if none is, the most probable one counts.
    """
    predicted = facts.song_task.predicted(score.probabilities[None])[0]
    best = np.flatnonzero(predicted).tolist() or [int(score.probabilities.argmax())]
    evidence = score.weights * score.window_probabilities[:, best].sum(axis=1)
    first = np.argsort(-evidence, kind="stable")[:_WINDOWS_SHOWN]
    starts, ends = window_times(len(score.weights), facts.spec)
    seconds = ", ".join(f"{starts[i]:.1f}-{ends[i]:.1f} s (weight {score.weights[i]:.2f})" for i in first)
    named = ", ".join(f"{plain_text(facts.classes[number])} {score.probabilities[number]:.2f}" for number in best)
    return f"{plain_text(score.song_id)}: {named}, by {seconds}"


def _tables(
    run: Run, scorer: SongScorer, groups: Iterator[SongGroup], take: Callable[[SongScore], None]
) -> Iterator[tuple[pa.Table, list[SourceSong]]]:
    """Yield the predictions of each group and its songs that failed; pass on each score as it comes."""
    for songs, pieces in groups:
        scores = {}
        for score in scorer.score(pieces):
            take(score)
            scores[score.song_id] = score.probabilities
        yield _table(run.facts, songs, scores), [song for song in songs if song.song_id not in scores]


def _schema(facts: RunFacts) -> pa.Schema:
    text = [pa.field(name, pa.string()) for name in ("song_id", "path", "error_code", "error")]
    predicted = pa.field("predicted", facts.song_task.label_type)
    shares = [pa.field(name, pa.float64()) for name in probability_names(facts.classes)]
    return pa.schema([*text[:2], predicted, *shares, *text[2:]])


def _table(facts: RunFacts, songs: list[SourceSong], scores: dict[str, Floats]) -> pa.Table:
    """Put predictions and failures into one table, in the order of the songs."""
    task = facts.song_task
    known = np.array([scores[song.song_id] for song in songs if song.song_id in scores]).reshape(-1, len(task.classes))
    own = {"predicted": task.labels(task.predicted(known)), **probability_columns(task.classes, known)}
    places = iter(range(len(known)))
    rows = pa.array([next(places) if song.song_id in scores else None for song in songs], pa.int64())
    columns = {
        "song_id": [song.song_id for song in songs],
        "path": [song.path for song in songs],
        **{name: column.take(rows) for name, column in own.items()},
        "error_code": [song.code for song in songs],
        "error": [song.reason for song in songs],
    }
    return pa.table(columns, schema=_schema(facts))
