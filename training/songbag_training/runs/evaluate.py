"""Evaluation: every window of every song is scored, and judged by the songs' labels."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.format.index import PLACE_COLUMNS
from songbag_store.progress import Progress, shown_on
from songbag_store.sql.shown import Shown
from songbag_store.storage.files import claim_folder, replacing, write_whole
from songbag_store.storage.location import Location
from songbag_store.store import StoreLike
from songbag_training.errors import DamagedRun, LabelError
from songbag_training.evaluation.display import draw_confusion
from songbag_training.evaluation.intervals import bootstrap_intervals
from songbag_training.evaluation.metrics import class_metrics, confident_mistakes, confusion_matrix, song_metrics
from songbag_training.evaluation.predictions import probability_columns, writing_windows
from songbag_training.evaluation.score import SongScorer, stored_pieces
from songbag_training.evaluation.window_metrics import WindowMetrics
from songbag_training.runs.run import Run, RunLike
from songbag_training.runs.store import open_store, refuse_other_spec
from songbag_training.songs.labels import Labels, read_labels
from songbag_training.songs.task import Task, classes_of
from songbag_training.splits.split import SUBSETS
from songbag_training.types import Floats, Ints, Label, Targets


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Evaluation(Shown):
    """How well a run does.

    Attributes
    ----------
    metrics : dict
        The content of `metrics.json`. Of each subset, train, validation and test, or of all songs of another store:
        ``song`` and ``window``, see `song_metrics` (a window is right if it says the song's
        label); ``intervals``, see `evaluation.intervals`; ``classes``, precision, recall and F1 of each; and
        ``mistakes``, the surest first. And ``snapshot``, what was judged by: uuid of the store, number and digest.
    judged : str
        The subset of songs that the model does not know.
    confusion : int64, shape (n_classes, n_classes), or None
        Of these songs: row the true class, column the predicted one. None where a song may have several.
    """

    metrics: dict[str, dict[str, Any]]
    judged: str
    confusion: Ints | None

    def _facts(self) -> Iterator[tuple[str, object]]:
        yield "judged", self.judged
        for kind in ("song", "window"):
            for name, value in self.metrics[self.judged][kind].items():
                yield f"{kind} {name}", value


@dataclasses.dataclass(frozen=True, slots=True)
class _Subject:
    """What is judged: songs in order of their ids, with labels and subsets."""

    task: Task
    true: Targets
    song_ids: Sequence[str]
    labels: Sequence[Label]
    subsets: Sequence[str]
    names: Sequence[str]
    judged: str


def evaluate(
    run: RunLike,
    store: StoreLike | None = None,
    output: str | Path | None = None,
    *,
    label: str | None = None,
    encoder: str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Judge a run: by the songs of its split, or with `output` by the labelled songs of any store.

    By its split, the songs, labels and subsets come from `split.parquet`, the windows from the snapshot that was
    trained on: the same run always gets the same metrics, whatever changes in the store. Metrics, predictions, windows
    and confusion matrix in the run's folder are written again. Memory holds one probability a song and class, and sums
    over the windows.

    Parameters
    ----------
    run : Run, str or pathlib.Path
        A finished run.
    store : SongStore, Location, str or pathlib.Path, optional
        Where the run's store lies now, by default where it lay at training; with `output` any store with the same
        features.
    output : str or pathlib.Path, optional
        Folder, new or empty: judge by all labelled songs of `store`, and write metrics.json, predictions.parquet,
        windows.parquet and confusion.png there.
    label : str, optional
        With `output`: the column with the labels, where it is not called as at training.
    encoder : str, optional
        The run's encoder, to allow it, where it is a function outside songbag: see `Run.allow_encoder`.
    progress : Progress, optional
        Where to show how many songs are left out, because the run does not know their classes; by default standard
        output.

    Raises
    ------
    UsageError
        If the store is another one than the run was trained on, and no `output` is given.
    SpecMismatch
        If it holds other features.
    LabelError
        If it has no such column, or no song of a class that the run knows.
    """
    run = Run.open(run).allow_encoder(encoder)
    if output is None:
        if label is not None or (isinstance(store, Location) and store.snapshot is not None):
            what = "the songs, labels and snapshot of a run are its own"
            raise UsageError(what, place="evaluate", remedy="Give `store` and `output` to judge it by other songs.")
        return judge_split(run, open_store(run.facts, store), run.load_model())
    if store is None:
        raise UsageError("no store is given to judge by", place="output", remedy="Give `store` as well.")
    return _judge_elsewhere(run, SongStore.open(store), Path(output), label, progress or shown_on(sys.stdout))


def judge_split(run: Run, store: SongStore, model: keras.Model) -> Evaluation:
    """Judge a run by the songs of its split, with its model at hand; see `evaluate`."""
    split, task = run.split(), run.facts.song_task
    try:
        true = task.encode(split.labels)
    except KeyError as error:
        what = f"the split has the class {error.args[0]!r}, which the model does not know"
        raise DamagedRun(what, place=str(run.folder)) from error
    subject = _Subject(task, true, split.song_ids, split.labels, split.subsets, SUBSETS, "test")
    return _judge(run, store, subject, model, run.folder)


def _judge_elsewhere(run: Run, store: SongStore, output: Path, label: str | None, progress: Progress) -> Evaluation:
    refuse_other_spec(run.facts, store)
    column = label or run.facts.label
    labels = read_labels(store.songs(arrow=True), column)
    rows, names = _known(run, labels, column, progress)
    ids = labels.songs["song_id"].to_pylist()
    task = Task(tuple(run.facts.classes), labels.task.several)
    own = [ids[row] for row in rows]
    subject = _Subject(task, task.encode(names), own, names, ["all"] * len(rows), ("all",), "all")
    claim_folder(output)
    return _judge(run, store, subject, run.load_model(), output)


def _known(run: Run, labels: Labels, column: str, progress: Progress) -> tuple[list[int], list[Label]]:
    """Return the songs that can be judged, with those of their classes that the run knows."""
    known = set(run.facts.classes)
    strange = {name: 0 for name in labels.classes if name not in known}
    rows: list[int] = []
    names: list[Label] = []
    for row, label in enumerate(labels.names):
        own = classes_of(label)
        for name in own:
            if name in strange:
                strange[name] += 1
        kept = tuple(name for name in own if name in known)
        if kept or not own:
            rows.append(row)
            names.append(kept[0] if isinstance(label, str) else kept)
    told = ", ".join(f"{name!r} ({n} songs)" for name, n in list(strange.items())[:8])
    if not rows:
        raise LabelError(column, f"the run knows none of the classes: {told}", f"It knows {', '.join(sorted(known))}.")
    if strange:
        progress.note(
            f"{len(labels.names) - len(rows)} songs are left out, of classes that the run does not know: {told}"
        )
    return rows, names


def _judge(run: Run, store: SongStore, subject: _Subject, model: keras.Model, folder: Path) -> Evaluation:
    """Score the songs and write what comes of it into a folder."""
    task, true = subject.task, subject.true
    rows_of = {name: [row for row, subset in enumerate(subject.subsets) if subset == name] for name in subject.names}
    probabilities, windows = _score(run, store, subject, model, folder)
    metrics: dict[str, dict[str, Any]] = {}
    for subset, rows in rows_of.items():
        own, shares = true[rows], probabilities[rows]
        metrics[subset] = {
            "song": song_metrics(task, own, shares),
            "window": windows[subset].metrics(),
            "intervals": bootstrap_intervals(task, own, shares) if rows else {},
            "classes": class_metrics(task, own, shares),
            "mistakes": confident_mistakes(
                task, [subject.song_ids[row] for row in rows], [subject.labels[row] for row in rows], shares
            ),
        }
    _write_predictions(folder, subject, probabilities)
    confusion = None
    rows = rows_of[subject.judged]
    if not task.several:
        confusion = confusion_matrix(task, true[rows], probabilities[rows])
        draw_confusion(confusion, task.classes, folder / "confusion.png", title=f"{len(rows)} songs ({subject.judged})")
        metrics[subject.judged]["confusion"] = confusion.tolist()
    metrics["snapshot"] = {"store_uuid": store.uuid, "number": store.snapshot, "sha256": store.inside.state.sha256}
    write_whole(folder / "metrics.json", json.dumps(metrics, indent=2).encode())
    return Evaluation(metrics, subject.judged, confusion)


def _score(
    run: Run, store: SongStore, subject: _Subject, model: keras.Model, folder: Path
) -> tuple[Floats, dict[str, WindowMetrics]]:
    """Score all songs and write their windows; return probabilities, and the metrics of the windows of each subset."""
    scorer = SongScorer(model, run.facts.song_task)
    probabilities = np.empty((len(subject.song_ids), len(subject.task.classes)))
    windows = {name: WindowMetrics(subject.task) for name in subject.names}
    pieces = stored_pieces(
        store, store.songs(ids=subject.song_ids, columns=PLACE_COLUMNS, arrow=True), scorer.chunk_windows
    )
    with writing_windows(folder / "windows.parquet", store.spec, subject.task.classes) as writer:
        for row, score in enumerate(scorer.score(pieces)):
            probabilities[row] = score.probabilities
            windows[subject.subsets[row]].add(subject.true[row : row + 1], score.window_probabilities)
            writer.add(score)
    return probabilities, windows


def _write_predictions(folder: Path, subject: _Subject, probabilities: Floats) -> None:
    """Write `predictions.parquet`: song_id, label, predicted, part, p_<class>..."""
    task = subject.task
    columns = {
        "song_id": pa.array(subject.song_ids, pa.string()),
        "label": pa.array(subject.labels, task.label_type),
        "predicted": task.labels(task.predicted(probabilities)),
        "part": pa.array(subject.subsets, pa.string()),
    }
    table = pa.table(columns | probability_columns(task.classes, probabilities))
    with replacing(folder / "predictions.parquet") as temporary:
        pq.write_table(table, temporary, compression="zstd")
