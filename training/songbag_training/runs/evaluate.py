"""Evaluation: every window of every song is scored, and judged by the label of its song."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import UsageError
from songbag_store.format.index import CONTENT, PLACE_COLUMNS
from songbag_store.progress import Progress, shown_on
from songbag_store.sql.output import writing_table
from songbag_store.sql.shown import Shown
from songbag_store.storage.files import claim_folder, file_digest, sync, write_whole
from songbag_store.storage.location import Location
from songbag_store.store import StoreLike
from songbag_store.terminal import spelled
from songbag_store.words import counted
from songbag_training.config import LabelConfig
from songbag_training.errors import DamagedRun, LabelError, some
from songbag_training.evaluation.intervals import class_intervals, song_intervals
from songbag_training.evaluation.leaks import in_words, without_suspects
from songbag_training.evaluation.learners import Learners, judge_learners
from songbag_training.evaluation.metrics import (
    class_metrics,
    confident_mistakes,
    confusion_matrix,
    pieces,
    room,
    song_metrics,
    taken,
)
from songbag_training.evaluation.picture import draw_confusion
from songbag_training.evaluation.predictions import (
    Scorer,
    SongScore,
    probability_columns,
    probability_names,
    windows_schema,
    windows_table,
)
from songbag_training.evaluation.window_labels import LABELLED, LabelledWindows
from songbag_training.evaluation.window_metrics import WindowMetrics
from songbag_training.partial.parts import PredictedParts, remove_parts
from songbag_training.partial.scores import Scores, keeping_scores
from songbag_training.runs.overlap import inherited_suspects, known_songs
from songbag_training.runs.run import Run, RunLike
from songbag_training.runs.store import open_store, refuse_other_spec
from songbag_training.songs.labels import Labels, fitting, read_labels, require_columns
from songbag_training.songs.spelling import respelled, told
from songbag_training.songs.task import Task, classes_of
from songbag_training.splits.groups import find_units, likely_groups
from songbag_training.splits.notes import suspected
from songbag_training.splits.split import Split
from songbag_training.summaries.predictor import LEARNERS
from songbag_training.types import Floats, Ints, Targets


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Evaluation(Shown):
    """How well a run does.

    Attributes
    ----------
    metrics : dict
        The content of `metrics.json`, for each subset (train, validation, test, or all songs of another store):
        ``song`` and ``window``, see `song_metrics` (a window is right if its answer is the label of the song), and, if
        there are segments, ``window_labels``, of the windows that these label; of a baseline ``learners`` instead of
        windows, and where predictions are a mean of several, ``learners`` too, one each;
        ``intervals``, see `evaluation.intervals`, and ``without_interval``, why a metric has none; ``classes``,
        precision, recall and F1 of each; ``mistakes``, the surest first; and, if there are any, ``suspected_leaks``,
        see `evaluation.leaks`. Also ``snapshot``: uuid of the store, number and digest of the snapshot.
    judged : str
        The subset of songs that the model was not trained on; ``validation`` of a point of a sweep that was not tested.
    confusion : int64, shape (n_classes, n_classes), or None
        Of these songs: a row for each true class, a column for each predicted one. None if a song may have several.
    """

    metrics: dict[str, dict[str, Any]]
    judged: str
    confusion: Ints | None

    def _facts(self) -> Iterator[tuple[str, object]]:
        yield "judged", self.judged
        for kind in ("song", "window", "window_labels"):
            for name, value in self.metrics[self.judged].get(kind, {}).items():
                yield f"{kind} {name}", value


def evaluate(
    run: RunLike,
    store: StoreLike | None = None,
    output: str | Path | None = None,
    *,
    label: str | None = None,
    label_separator: str | None = None,
    encoder: str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Judge a run: by the songs of its split, or with `output` by the labelled songs of any store.

    Without `output`, songs, labels and subsets are those of `split.parquet`, and windows those of the snapshot that the
    run was trained on. So a run always gets the same metrics, even if its store changes. Metrics, predictions, windows
    and confusion matrix in the run folder are written again.

    Scores are kept in parts of 1,024 songs, in a folder with the suffix ``.partial``: beside `output`, or
    ``evaluation.partial`` in the run folder. If the call is ended before it is finished, even by a crash, the same call
    goes on where it stopped. The folder is removed in the end.

    Memory holds some hundred bytes for each song and each of its labels; three bytes for each song and class, or seven
    if songs may be of several classes; the probabilities of one class, and sums over the windows. Of more than 64 MB of
    probabilities the others lie on disk.

    Parameters
    ----------
    run : Run, str or pathlib.Path
        A finished run.
    store : SongStore, Location, str or pathlib.Path, optional
        The run's store, by default at its address at training; with `output` any store with the same features.
    output : str or pathlib.Path, optional
        Folder, new or empty: judge by all labelled songs of `store`, and write metrics.json, predictions.parquet,
        windows.parquet and confusion.png there.
    label : str, optional
        With `output`: the column with the labels, by default the one of the training.
    label_separator : str, optional
        With `output`: the text between the classes of a song in a column of text, by default that of the training.
    encoder : str, optional
        The name of the run's encoder, to allow it, if it is a function outside songbag: see `Run.allow_encoder`.
    progress : Progress, optional
        Where to show how many songs are left out because the run does not know their classes; by default standard
        output.

    Raises
    ------
    UsageError
        If the store is another one than the run was trained on, and no `output` is given.
    SpecMismatch
        If it holds other features.
    LabelError
        If it has no such column, the column is of another task than the run has learned, or no song is of a class that
        the run knows.
    """
    run = Run.open(run).allow_encoder(encoder)
    if output is None:
        snapshot = store.snapshot if isinstance(store, Location) else None
        if (label, label_separator, snapshot) != (None, None, None):
            what = "the songs, labels and snapshot of a run are its own"
            raise UsageError(what, place="evaluate", remedy="Give `store` and `output` to judge it by other songs.")
        own, shown = open_store(run.facts, store), progress or shown_on(sys.stdout)
        with _keeping(run, own, run.facts.snapshot, run.folder / "evaluation", shown) as (parts, scores):
            result = judge_split(run, own, run.load_scorer(), scores=scores)
            remove_parts(parts)
        return result
    if store is None:
        raise UsageError("no store is given to judge by", place="output", remedy="Give `store` as well.")
    asked = LabelConfig(label_separator=label_separator)
    return _judge_elsewhere(run, SongStore.open(store), Path(output), label, asked, progress or shown_on(sys.stdout))


def _keeping(
    run: Run, store: SongStore, snapshot: int | None, target: Path, progress: Progress
) -> AbstractContextManager[tuple[PredictedParts, Scores]]:
    """Open the parts of an evaluation; see `keeping_scores`."""
    facts = run.facts
    asked = {"run": facts.run_id, "weights": file_digest(run.weights_path), "store": store.uuid, "snapshot": snapshot}
    if facts.is_baseline:
        return keeping_scores(target, asked, facts.classes, LEARNERS, progress, has_windows=False)
    return keeping_scores(target, asked, facts.classes, run.network.learners, progress)


def _scored(scorer: Scorer, store: SongStore, songs: pa.Table) -> Iterator[SongScore]:
    return scorer.of_store(store, songs)


def judge_split(
    run: Run, store: SongStore, scorer: Scorer, *, tested: bool = True, scores: Scores = _scored
) -> Evaluation:
    """Judge a run by the songs of its split, with what scores its songs at hand; see `evaluate`.

    Without `tested` its test songs are left out: they are not read, and the validation songs are what is judged.
    """
    with run.replacing_results() as folder:
        split = run.split()
        if not tested:
            return _judge(run, store, split.without("test"), scorer, folder, {}, scores)
        suspects = _suspects(split, store) | inherited_suspects(run, split)
        return _judge(run, store, split, scorer, folder, suspects, scores)


def _suspects(split: Split, store: SongStore) -> dict[str, Ints]:
    """Return the test songs that may be known from training, by what is suspected."""
    columns = ["song_id", *likely_groups(store.inside.state.content.schema)]
    songs = store.songs(ids=split.song_ids, columns=columns, arrow=True)
    found = suspected(split, songs, "test")
    return {in_words(what, "train or validation"): rows for what, rows in found.items()}


def _judge_elsewhere(
    run: Run, store: SongStore, output: Path, label: str | None, asked: LabelConfig, progress: Progress
) -> Evaluation:
    refuse_other_spec(run.facts, store)
    column = label or run.facts.label
    task = run.facts.song_task
    require_columns(store.inside.state.content.schema, (column,), "label")
    songs = store.songs(columns=["song_id", column], arrow=True)
    if asked.label_separator is None:
        asked = fitting(run.facts.config.reading, songs.schema, column)
    labels = read_labels(songs, column, asked)
    _refuse_other_task(labels, column, task)
    known = dataclasses.replace(_known(labels, column, task.classes, progress), group=run.split().group)
    suspects = known_songs(run, store, known, progress)
    output = output.absolute()
    claim_folder(output)
    with _keeping(run, store, store.location.snapshot, output, progress) as (parts, scores):
        # They take their place as a whole: what is half written there would be refused by the same call.
        results = parts.folder / "results"
        shutil.rmtree(results, ignore_errors=True)
        results.mkdir()
        result = _judge(run, store, known, run.load_scorer(), results, suspects, scores)
        os.rename(results, output)
        sync(output.parent)
        remove_parts(parts)
    return result


def _refuse_other_task(labels: Labels, column: str, task: Task) -> None:
    """Refuse labels of another task than a run has learned: its answers cannot be judged by them."""
    if labels.task.several == task.several:
        return
    of_a_song = {False: "one class for each song", True: "any number of classes for each song"}
    what = f"the run has learned {of_a_song[task.several]} ({task.name})"
    what += f", and the column holds {of_a_song[labels.task.several]} ({labels.task.name})"
    wanted = "a column with one value for each song, not lists"
    if task.several:
        wanted = "a column of lists, or by text with `label_separator`"
    raise LabelError(column, what, f"Judge the run by {wanted}.")


def _known(labels: Labels, column: str, classes: Sequence[str], progress: Progress) -> Split:
    """Return the songs that can be judged, as one subset, with those of their classes that the run knows."""
    known = set(classes)
    own = [classes_of(label) for label in labels.names]
    kept = [tuple(name for name in names if name in known) for names in own]
    counts = Counter(name for names in own for name in names)
    strange = [name for name in labels.classes if name not in known]
    unknown = told({name: counts[name] for name in strange})
    rows = [row for row, names in enumerate(own) if kept[row] or not names]
    near = ", ".join(f"{spelled(name)} ({spelled(its)} in the run)" for name, its in respelled(strange, classes)[:8])
    like = f"these differ from its classes only in case, spaces or Unicode form: {near}"
    if not rows:
        remedy = f"It knows {some(sorted(known))}" + (f"; {like}." if near else ".")
        raise LabelError(column, f"the run knows none of the classes: {unknown}", remedy)
    if strange:
        left_out = counted(len(own) - len(rows), "song is", "songs are")
        progress.note(f"{left_out} left out, of classes that the run does not know: {unknown}")
    if near:
        progress.note(f"note: {like}")
    ids = labels.songs["song_id"].take(pa.array(rows, pa.int64())).to_pylist()
    names = tuple(kept[row] if labels.task.several else kept[row][0] for row in rows)
    return Split(tuple(ids), names, ("all",) * len(rows))


def _metrics_of(task: Task, ids: list[str], true: Ints, shares: Floats, units: Ints) -> dict[str, Any]:
    """Return the metrics of some songs, with intervals over units of songs that belong together."""
    intervals, of_classes = song_intervals(task, true, shares, units), class_metrics(task, true, shares)
    for name, ends in class_intervals(task, true, shares, units).items():
        of_classes[name] |= ends
    return {
        "song": song_metrics(task, true, shares),
        "intervals": intervals.ends,
        "without_interval": intervals.reasons,
        "classes": of_classes,
        "mistakes": confident_mistakes(task, ids, true, shares),
    }


def _judge(
    run: Run,
    store: SongStore,
    songs: Split,
    scorer: Scorer,
    folder: Path,
    suspects: Mapping[str, Ints],
    scores_of: Scores,
) -> Evaluation:
    """Score songs, and write metrics, predictions, windows and confusion matrix into a folder.

    The suspects are rows of the songs of a split: see `songbag_training.evaluation.leaks`.
    """
    task = run.facts.song_task
    try:
        true = task.encode(songs.labels)
    except KeyError as error:
        raise DamagedRun(f"the split has the class {error}, unknown to the model", place=str(run.folder)) from error
    rows_of = {subset: songs.rows_of(subset) for subset in songs.counts()}
    if not rows_of.get("test", True):
        del rows_of["test"]  # they were left out
    probabilities = room(len(true), len(task.classes), folder)
    places, group = _places_of(store, songs)
    units = find_units(places, group, list(songs.copies().values()))
    scores = scores_of(scorer, store, places)
    if run.facts.is_baseline:
        further = judge_learners(task, true, rows_of, probabilities, scores, folder)
    else:
        members = Learners(probabilities.shape, folder)
        scores = members.noted(scores)
        further = _judge_windows(task, store.spec, songs, places, true, probabilities, scores, folder)
        further = {name: own | members.metrics(task, true, songs.rows_of(name)) for name, own in further.items()}
    _write_predictions(folder, task, songs, probabilities)
    metrics: dict[str, dict[str, Any]] = {}
    for subset, rows in rows_of.items():
        ids = [songs.song_ids[row] for row in rows]
        of_songs = _metrics_of(task, ids, true[rows], taken(probabilities, rows, folder), units[rows])
        metrics[subset] = of_songs | further[subset]
    judged = next(subset for subset in ("test", "all", "validation") if subset in rows_of)
    rows, confusion = rows_of[judged], None
    ids = [songs.song_ids[row] for row in rows]
    positions = {what: np.searchsorted(rows, own) for what, own in suspects.items()}
    shares = taken(probabilities, rows, folder)
    metrics[judged] |= without_suspects(task, true[rows], shares, ids, positions)
    if not task.several:
        confusion = confusion_matrix(task, true[rows], shares)
        title = f"{counted(len(rows), 'song')} ({judged})"
        draw_confusion(confusion, task.classes, folder / "confusion.png", title=title)
        metrics[judged]["confusion"] = confusion.tolist()
    if judged == "test" and run.facts.floor is not None:
        metrics[judged]["floor"] = dict(run.facts.floor)
    metrics["snapshot"] = {"store_uuid": store.uuid, "number": store.snapshot, "sha256": store.inside.state.sha256}
    write_whole(folder / "metrics.json", json.dumps(metrics, indent=2).encode())
    return Evaluation(metrics, judged, confusion)


def _judge_windows(
    task: Task,
    spec: FeatureSpec,
    songs: Split,
    places: pa.Table,
    true: Targets,
    probabilities: Floats,
    scores: Iterator[SongScore],
    folder: Path,
) -> dict[str, dict[str, Any]]:
    """Fill in the probabilities of songs and write their windows; return the metrics of windows of each subset."""
    windows = {subset: WindowMetrics(task) for subset in songs.counts()}
    labelled = LabelledWindows(task, spec, places)
    with writing_table(folder / "windows.parquet", windows_schema(task.classes)) as writer:
        for row, score in enumerate(scores):
            probabilities[row] = score.probabilities
            windows[songs.subsets[row]].add(true[row : row + 1], score.window_probabilities)
            labelled.add(row, songs.subsets[row], score.window_probabilities)
            writer.add(windows_table(score, spec, task.classes))
    return {subset: {"window": own.metrics(), **labelled.metrics(subset)} for subset, own in windows.items()}


def _places_of(store: SongStore, songs: Split) -> tuple[pa.Table, list[str]]:
    """Return the rows of songs with what judging them needs, and the columns that they are grouped by."""
    own_columns = store.inside.state.content.schema.names
    group = [name for name in songs.group if name in own_columns]
    columns = [*PLACE_COLUMNS, CONTENT, *group, *(name for name in LABELLED if name in own_columns)]
    return store.songs(ids=songs.song_ids, columns=list(dict.fromkeys(columns)), arrow=True), group


def _write_predictions(folder: Path, task: Task, songs: Split, probabilities: Floats) -> None:
    """Write `predictions.parquet`: song_id, label, predicted, part, p_<class>..."""
    texts = [(name, pa.string()) for name in ("song_id", "part")]
    fields = [texts[0], ("label", task.label_type), ("predicted", task.label_type), texts[1]]
    schema = pa.schema([*fields, *((name, pa.float64()) for name in probability_names(task.classes))])
    with writing_table(folder / "predictions.parquet", schema) as writer:
        for piece in pieces(len(songs.song_ids), len(task.classes)):
            shares = np.asarray(probabilities[piece])
            columns = {
                "song_id": pa.array(songs.song_ids[piece], pa.string()),
                "label": pa.array(songs.labels[piece], task.label_type),
                "predicted": task.labels(task.predicted(shares)),
                "part": pa.array(songs.subsets[piece], pa.string()),
            }
            writer.add(pa.table(columns | probability_columns(task.classes, shares), schema=schema))
