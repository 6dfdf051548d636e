"""Prediction: a run's model applied to the songs of a store, or to audio that is in no store."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store import SongStore
from songbag_store.errors import Interrupted, UsageError
from songbag_store.format.declaration import require_kind
from songbag_store.format.extractor import require_named
from songbag_store.progress import Progress, shown_on, stretch
from songbag_store.sql.output import writing_table
from songbag_store.sql.shown import Shown
from songbag_store.stop import StopRequest, doing
from songbag_store.storage.files import file_digest, require_output
from songbag_store.storage.location import Location
from songbag_store.store import StoreLike
from songbag_store.terminal import plain_text
from songbag_store.words import counted
from songbag_training.apply.scoring import Predictor, prediction_schema
from songbag_training.apply.source import (
    audio_key,
    compute_audio,
    open_source,
    require_audio_run,
    stored_key,
    stored_songs,
)
from songbag_training.evaluation.predictions import SongScore, window_times, windows_schema
from songbag_training.partial.parts import PredictedParts, open_parts, remove_parts
from songbag_training.runs.facts import RunFacts
from songbag_training.runs.run import Run, RunLike
from songbag_training.work import PredictConfig

SONGS_AT_ONCE = 1024
"""Songs of a store that make a part."""

_SONGS_SHOWN = 10
_WINDOWS_SHOWN = 3
_LINE_EVERY_S = 10.0
_DEFAULTS = PredictConfig()


@dataclasses.dataclass(slots=True, repr=False)
class Predicted(Shown):
    """What was predicted.

    Attributes
    ----------
    n_songs : int
        Songs of the source.
    n_failed : int
        Songs without features and so without prediction.
    n_known : int
        Songs that an earlier call had predicted, which was ended before it was finished.
    failures : list of str
        The first ten of these, with the reason.
    explanations : list of str
        For the first ten songs that were predicted now: what they are predicted to be, and which seconds decided.
    """

    n_songs: int = 0
    n_failed: int = 0
    n_known: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    explanations: list[str] = dataclasses.field(default_factory=list)

    def _facts(self) -> Iterator[tuple[str, object]]:
        yield "songs", self.n_songs
        yield "failed", self.n_failed
        yield "predicted before", self.n_known
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
    config: PredictConfig = _DEFAULTS,
    arrow: bool = False,
    progress: Progress | None = None,
) -> Any:
    """Predict the class of every song of a source, into a table or into a file.

    Into a file, what is predicted is kept in parts, in a folder beside the file with the suffix ``.partial``. The parts
    are put together in the order of the source when all songs are predicted, and the folder is removed. If the call is
    ended before, even by a crash, the same call goes on where it stopped.

    Memory holds the list of songs, a part of the table, and the windows of one song as the model sees them; see
    docs/how-to/training/prediction.md.

    Parameters
    ----------
    run : Run, str or pathlib.Path
        A finished run; only `run.json` and `weights.safetensors` of its folder are needed.
    source : SongStore, Location, str or pathlib.Path
        A store, a folder of audio files, a manifest (CSV, TSV, JSON Lines or Parquet) or an audio file.
    output : str or pathlib.Path, optional
        File for the table, CSV or Parquet by its suffix. Written whole or not at all.
    windows : str or pathlib.Path, optional
        With `output`: a file with a row for each window: song_id, window, start_s, end_s, weight, p_<class>...
        and turns_to; the weights of a song sum to 1.
    encoder : str, optional
        The name of the run's encoder, to allow it, if it is a function outside songbag: see `Run.allow_encoder`.
    features : str, optional
        For audio, the extractor of own features that the run was trained on, ``module:name``, to allow it.
    config : PredictConfig
        For audio: who computes its features, by default a process for each core, and what is taken of a folder.
    arrow : bool
        Return the table as Arrow instead of pandas.
    progress : Progress, optional
        Where to show which files of a folder or a manifest are left out, and why, and then how far it is; by default
        notes and a bar on standard error, or lines if that is no terminal.

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
        If audio is given with a snapshot or a store with options for audio, a file cannot be written, or another
        prediction into it is not finished; before any work is done.
    ClusterError
        If a Dask cluster cannot do the work, or was lost.
    Interrupted
        After SIGINT or SIGTERM, when what was finished is kept.
    """
    require_kind(config, "config", PredictConfig)
    target, explained = (None if one is None else Path(one) for one in (output, windows))
    for path in filter(None, (target, explained)):
        require_output(path, ".csv", ".parquet")
    if explained and target is None:
        raise UsageError("the file is written beside one of predictions", place="windows", remedy="Give `output` too.")
    if explained and target and explained.resolve() == target.resolve():
        raise UsageError("predictions and windows cannot go into one file", place=str(windows))
    if target is None and not config.on_this_machine:
        remedy = "Give an `output` in a folder that all workers see under the same name."
        raise UsageError("workers of a cluster need a file to work for", place="scheduler", remedy=remedy)
    run = Run.open(run).allow_encoder(encoder)
    if explained:
        run.require_network()
    place = open_source(run.facts, source)
    if isinstance(place, SongStore):
        _refuse_options(config, place)
        if features is not None:
            require_named(run.facts.spec.extractor, features)
    else:
        require_audio_run(run.facts, place, features)
    work = _Work(run, place, config, progress or shown_on(sys.stderr))
    if target is not None:
        return work.write(target, explained)
    table = work.table()
    return table if arrow else table.to_pandas()


def _refuse_options(config: PredictConfig, store: SongStore) -> None:
    """Refuse what is for audio where a store is given."""
    given = config.differences(PredictConfig())
    if given:
        remedy = "Leave it out, or give a folder, a manifest or an audio file."
        raise UsageError("is for audio, and this is a store", place=min(given), remedy=remedy)


@dataclasses.dataclass(frozen=True, slots=True)
class _Work:
    """What is predicted from what."""

    run: Run
    source: SongStore | Location
    config: PredictConfig
    progress: Progress

    def table(self) -> pa.Table:
        """Return all predictions."""
        with tempfile.TemporaryDirectory(prefix="songbag-predict-") as folder, self._parts(Path(folder, "t")) as parts:
            predictor, _ = self._predict(parts)
            tables = [rows for rows, _ in parts.assembled(predictor.song_ids)]
            return pa.concat_tables([prediction_schema(self.run.facts).empty_table(), *tables])

    def write(self, target: Path, explained: Path | None) -> Predicted:
        """Write predictions, and windows if they are wanted, into files."""
        facts = self.run.facts
        with self._parts(target, explained) as parts:
            predictor, explanations = self._predict(parts)
            done = Predicted(n_known=predictor.n_known, explanations=explanations)
            with ExitStack() as stack, doing("the predictions are put together"):
                rows = stack.enter_context(writing_table(target, prediction_schema(facts)))
                schema = windows_schema(facts.classes)
                why = stack.enter_context(writing_table(explained, schema)) if explained else None
                for table, windows in parts.assembled(predictor.song_ids):
                    rows.add(table)
                    _count(done, table)
                    if why is not None:
                        for some in windows:
                            why.add(some)
            remove_parts(parts)
        return done

    def _parts(self, target: Path, explained: Path | None = None) -> Any:
        """Open the parts of a file, by what they are of."""
        facts, source, config = self.run.facts, self.source, self.config
        location = source.location if isinstance(source, SongStore) else source
        asked = {
            "run": facts.run_id,
            "weights": file_digest(self.run.weights_path),
            "rule": facts.song_task.rule,
            "source": location.absolute().address,
            "snapshot": location.snapshot,
            "windows": explained is not None,
            **{name: getattr(config, name) for name in ("hidden", "follow_links")},
            "exclude": list(config.exclude),
        }
        windows = windows_schema(facts.classes) if explained else None
        return open_parts(target, asked, prediction_schema(facts), windows)

    def _predict(self, parts: PredictedParts) -> tuple[Predictor, list[str]]:
        """Predict the songs that no part has; return who did, and what to show of the first ones."""
        facts, explanations = self.run.facts, list[str]()
        scorer = self.run.load_scorer()

        def seen(score: SongScore) -> None:
            if len(explanations) < _SONGS_SHOWN:
                explanations.append(explain(score, facts))

        if isinstance(self.source, SongStore):
            predictor = Predictor(scorer, facts, parts, stored_key, seen)
            self._predict_stored(self.source, predictor)
        else:
            predictor = Predictor(scorer, facts, parts, audio_key, seen)
            compute_audio(predictor, self.source, facts.spec, parts.folder / "features", self.config, self.progress)
        return predictor, explanations

    def _predict_stored(self, store: SongStore, predictor: Predictor) -> None:
        songs = stored_songs(store)
        todo = songs.filter(predictor.wanted(songs))
        n_songs, began_s = todo.num_rows, time.monotonic()
        told_s = began_s
        with (
            StopRequest(lambda line: self.progress.note(f"{line}. What is predicted is kept.")) as stop,
            stretch(self.progress, n_songs, "songs"),
            doing("songs are predicted"),
        ):
            for start in range(0, n_songs, SONGS_AT_ONCE):
                rows = todo.slice(start, SONGS_AT_ONCE)
                predictor.take(store, rows)
                done, now_s = start + rows.num_rows, time.monotonic()
                state = f"{done:,} of {counted(n_songs, 'song')}, {done / max(now_s - began_s, 1e-3):.1f} songs/s"
                due, told_s = (state, now_s) if now_s - told_s > _LINE_EVERY_S else (None, told_s)
                self.progress.advance(done, state, due)
                if stop.signal_number is not None and done < n_songs:
                    what = f"stopped by a signal with {done:,} of {counted(n_songs, 'song')} predicted"
                    raise Interrupted(stop.signal_number, what)


def _count(done: Predicted, table: pa.Table) -> None:
    """Count some rows of the table."""
    failed = table.filter(pc.is_null(table["predicted"]))
    done.n_songs += table.num_rows
    done.n_failed += failed.num_rows
    for song in failed.slice(0, _SONGS_SHOWN - len(done.failures)).to_pylist():
        done.failures.append(f"{plain_text(song['song_id'])}: {plain_text(song['error'] or str(song['error_code']))}")


def explain(score: SongScore, facts: RunFacts) -> str:
    """Return in one line the predicted class of a song, and the seconds with most evidence: weight times probability.

    If several classes are predicted, they count together; if none is, the most probable one counts. A baseline does not
    tell which seconds decided.
    """
    predicted = facts.song_task.predicted(score.probabilities[None])[0]
    best = np.flatnonzero(predicted).tolist() or [int(score.probabilities.argmax())]
    named = ", ".join(f"{plain_text(facts.classes[number])} {score.probabilities[number]:.2f}" for number in best)
    if not len(score.weights):
        return f"{plain_text(score.song_id)}: {named}"
    evidence = score.weights * score.window_probabilities[:, best].sum(axis=1)
    first = np.argsort(-evidence, kind="stable")[:_WINDOWS_SHOWN]
    starts, ends = window_times(len(score.weights), facts.spec)
    seconds = ", ".join(f"{starts[i]:.1f}-{ends[i]:.1f} s (weight {score.weights[i]:.2f})" for i in first)
    return f"{plain_text(score.song_id)}: {named}, by {seconds}"
