"""Prediction: a run's model applied to the songs of a store, or to audio that is in no store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import MissingExtra, UsageError
from songbag_training.evaluation import refuse_other_spec
from songbag_training.files import replacing
from songbag_training.results import probability_columns
from songbag_training.runs import Run
from songbag_training.scoring import Piece, SongScore, SongScorer, array_pieces, stored_pieces

_WRITERS = {".csv": pyarrow.csv.write_csv, ".parquet": pyarrow.parquet.write_table}


@dataclasses.dataclass(frozen=True, slots=True)
class _Failure:
    """A song without features, and why."""

    song_id: str
    path: str | None
    code: str | None
    reason: str | None


def predict(run: Run | str | Path, source: SongStore | str | Path, output: str | Path | None = None) -> pa.Table:
    """Predict the class of every song of a source.

    Parameters
    ----------
    run : Run, str or pathlib.Path
        A finished run; nothing but its folder is needed.
    source : SongStore, str or pathlib.Path
        A store, a folder of audio files, a manifest (CSV or Parquet) or an audio file.
    output : str or pathlib.Path, optional
        Also write the table there, as CSV or Parquet by its suffix.

    Returns
    -------
    predictions : pyarrow.Table
        A row a song: song_id, path, predicted, p_<class>..., error_code, error. The prediction of a song that failed is
        null.

    Raises
    ------
    UsageError
        If the suffix of `output` is another, or its folder is missing.
    SpecMismatch
        If a store holds other features than the model was trained on.
    MissingExtra
        If the source is audio and songbag's pipeline is not installed.
    """
    target = None if output is None else _checked_output(Path(output))
    run = run if isinstance(run, Run) else Run.open(run)
    if not isinstance(source, SongStore) and _is_store(source):
        source = SongStore.open(source)
    table = _predict_store(run, source) if isinstance(source, SongStore) else _predict_audio(run, source)
    if target is not None:
        with replacing(target) as temporary:
            _WRITERS[target.suffix.lower()](table, temporary)
    return table


def _checked_output(path: Path) -> Path:
    if path.suffix.lower() not in _WRITERS:
        raise UsageError("the suffix names no format", where=str(path), remedy="End it in .csv or .parquet.")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {str(path.parent)!r}", where=str(path), remedy="Make it first.")
    return path


def _is_store(source: str | Path) -> bool:
    return "://" in str(source) or (Path(source) / "store.json").is_file()


def _predict_store(run: Run, store: SongStore) -> pa.Table:
    """Predict all songs of a store; those that failed in extraction are listed with their reason."""
    refuse_other_spec(run.facts, store)
    scorer = SongScorer(run.load_model())
    songs = store.select_songs()
    paths = dict(zip(songs["song_id"].to_pylist(), songs["path"].to_pylist(), strict=True))
    scores = scorer.score(stored_pieces(store, songs, scorer.chunk_windows))
    failed = store.index.filter(pc.field("status") == "failed")
    columns = (failed[name].to_pylist() for name in ("song_id", "path", "error_code", "error"))
    return _table(
        run, paths, [_slim(score) for score in scores], [_Failure(*row) for row in zip(*columns, strict=True)]
    )


def _predict_audio(run: Run, source: str | Path) -> pa.Table:
    """Compute the features of audio files as the model's spec says, and predict them as they come."""
    scorer = SongScorer(run.load_model())
    paths: dict[str, str | None] = {}
    failures: list[_Failure] = []
    pieces = _audio_pieces(source, run.facts.feature_spec, scorer.chunk_windows, paths, failures)
    return _table(run, paths, [_slim(score) for score in scorer.score(pieces)], failures)


def _audio_pieces(
    source: str | Path, spec: FeatureSpec, chunk_windows: int, paths: dict[str, str | None], failures: list[_Failure]
) -> Iterator[Piece]:
    """Yield the windows of songs; note the path of each, and the songs that failed, on the way."""
    try:
        from songbag_pipeline import features_of
    except ImportError as error:
        raise MissingExtra("pipeline", error.name or "songbag_pipeline", where="predicting from audio") from error
    for song in features_of(source, spec):
        paths[song.song_id] = song.path
        if song.windows is None:
            failures.append(_Failure(song.song_id, song.path, song.error_code, song.error))
        else:
            yield from array_pieces(song.song_id, song.windows, chunk_windows)


def _slim(score: SongScore) -> tuple[str, Any]:
    return score.song_id, score.probabilities


def _table(run: Run, paths: dict[str, str | None], scores: list[tuple[str, Any]], failures: list[_Failure]) -> pa.Table:
    """Put predictions and failures into one table, ordered by song id."""
    classes = run.facts.classes
    ids = [song_id for song_id, _ in scores]
    probabilities = np.array([shares for _, shares in scores]).reshape(len(scores), len(classes))
    predicted = {
        "song_id": pa.array(ids, pa.string()),
        "path": pa.array([paths[song_id] for song_id in ids], pa.string()),
        "predicted": pa.array([classes[number] for number in probabilities.argmax(axis=1)], pa.string()),
        **probability_columns(classes, probabilities),
    }
    failed = {
        "song_id": pa.array([failure.song_id for failure in failures], pa.string()),
        "path": pa.array([failure.path for failure in failures], pa.string()),
        "error_code": pa.array([failure.code for failure in failures], pa.string()),
        "error": pa.array([failure.reason for failure in failures], pa.string()),
    }
    joined = pa.concat_tables([pa.table(predicted), pa.table(failed)], promote_options="default")
    return joined.sort_by("song_id")
