"""Evaluation: every window of every song of a run's split is scored, and the results go into the run folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from songbag_store import SongStore
from songbag_store.errors import SpecMismatch, StoreNotFound, UsageError
from songbag_training.errors import DamagedRun
from songbag_training.files import replacing, write_whole
from songbag_training.labels import encode_labels
from songbag_training.metrics import Floats, Ints, confusion_matrix, song_metrics
from songbag_training.results import probability_columns, writing_windows
from songbag_training.runs import Run, RunFacts
from songbag_training.scoring import SongScorer, stored_pieces
from songbag_training.splits import PARTS, Split


@dataclasses.dataclass(frozen=True, slots=True)
class Evaluation:
    """How well a run does.

    Attributes
    ----------
    metrics : dict
        Of each part: ``{"song": {"accuracy", "balanced_accuracy", "macro_f1", "log_loss", "n"}, "window": {"accuracy",
        "n"}}``. What a window predicts counts as right if it is the song's label.
    confusion : int64, shape (n_classes, n_classes)
        Of the songs of the test part: row the true class, column the predicted one.
    """

    metrics: dict[str, dict[str, dict[str, Any]]]
    confusion: Ints


def evaluate(
    run: Run | str | Path,
    store: SongStore | str | Path | None = None,
    *,
    storage_options: Mapping[str, str] | None = None,
    model: keras.Model | None = None,
) -> Evaluation:
    """Score the songs of a run's split and write metrics.json, predictions.parquet and windows.parquet anew.

    The songs, labels and parts are those of `split.parquet` and the windows those of the snapshot that was trained on,
    whatever has become of the store since: the same run always gets the same metrics.

    Parameters
    ----------
    run : Run, str or pathlib.Path
        A finished run.
    store : SongStore, str or pathlib.Path, optional
        Where the store lies now; by default where it lay at training.
    storage_options : mapping of str to str, optional
        Credentials and endpoint, where it lies in an object store.
    model : keras.Model, optional
        The run's model, where it is at hand.

    Raises
    ------
    UsageError
        If the store is another one than the run was trained on.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    store = store if isinstance(store, SongStore) else open_store(run.facts, store, storage_options)
    split = run.split()
    probabilities, window_hits, n_windows = _score(run, store, split, model or run.load_model())
    true = _class_numbers(run, split)
    metrics: dict[str, dict[str, dict[str, Any]]] = {}
    for part in PARTS:
        rows = split.rows_of(part)
        seen = int(n_windows[rows].sum())
        windows = {"accuracy": float(window_hits[rows].sum() / seen) if seen else None, "n": seen}
        metrics[part] = {"song": song_metrics(true[rows], probabilities[rows]), "window": windows}
    _write_predictions(run, split, probabilities)
    write_whole(run.folder / "metrics.json", json.dumps(metrics, indent=2).encode())
    test = split.rows_of("test")
    confusion = confusion_matrix(true[test], probabilities[test].argmax(axis=1), len(run.facts.classes))
    return Evaluation(metrics, confusion)


def open_store(
    facts: RunFacts, location: str | Path | None = None, storage_options: Mapping[str, str] | None = None
) -> SongStore:
    """Open the store of a run at the snapshot it was trained on.

    Parameters
    ----------
    facts : RunFacts
        What the run says of its store.
    location : str or pathlib.Path, optional
        Where the store lies now; by default where it lay at training.
    storage_options : mapping of str to str, optional
        Credentials and endpoint, where it lies in an object store.

    Raises
    ------
    UsageError
        If another store lies there.
    SpecMismatch
        If it holds features of another spec.
    """
    location = facts.store_location if location is None else location
    try:
        store = SongStore.open(location, snapshot=facts.snapshot, storage_options=storage_options)
    except StoreNotFound:
        if SongStore.open(location, storage_options=storage_options).uuid == facts.store_uuid:
            raise
        raise _another_store(location) from None
    refuse_other_spec(facts, store)
    if (store.uuid, store.snapshot_sha256) != (facts.store_uuid, facts.snapshot_sha256):
        raise _another_store(location)
    return store


def refuse_other_spec(facts: RunFacts, store: SongStore) -> None:
    """Refuse a store whose features are not those the model was trained on.

    Raises
    ------
    SpecMismatch
        Naming the fields that differ.
    """
    if store.spec.fingerprint != facts.fingerprint:
        raise SpecMismatch(
            "the store holds other features than the model was trained on; the model's against the store's",
            facts.feature_spec.differences(store.spec),
            where=store.location,
            remedy="Extract the songs with the model's spec (run.json), or give `songbag predict` the audio itself.",
        )


def _another_store(location: str | Path) -> UsageError:
    return UsageError(
        "this is not the store that the run was trained on",
        where=str(location),
        remedy="Give that store; `songbag predict` takes any store with the same features.",
    )


def _score(run: Run, store: SongStore, split: Split, model: keras.Model) -> tuple[Floats, Ints, Ints]:
    """Score all songs; return their probabilities, how many of their windows are right, and how many they have."""
    scorer = SongScorer(model)
    songs = store.select_ids(split.song_ids)
    true = _class_numbers(run, split)
    probabilities = np.empty((len(true), len(run.facts.classes)))
    hits, counts = np.zeros(len(true), np.int64), np.zeros(len(true), np.int64)
    pieces = stored_pieces(store, songs, scorer.chunk_windows)
    with writing_windows(run.folder / "windows.parquet", store.spec, run.facts.classes) as writer:
        for row, score in enumerate(scorer.score(pieces)):
            probabilities[row] = score.probabilities
            hits[row] = (score.window_probabilities.argmax(axis=1) == true[row]).sum()
            counts[row] = len(score.weights)
            writer.add(score)
    return probabilities, hits, counts


def _class_numbers(run: Run, split: Split) -> Ints:
    try:
        return encode_labels(split.labels, run.facts.classes, "single-label")
    except KeyError as error:
        what = f"the split has the class {error.args[0]!r}, which the model does not know"
        raise DamagedRun(what, where=str(run.folder)) from error


def _write_predictions(run: Run, split: Split, probabilities: Floats) -> None:
    """Write `predictions.parquet`: song_id, label, predicted, part, p_<class>..."""
    classes = run.facts.classes
    columns = {
        "song_id": pa.array(split.song_ids, pa.string()),
        "label": pa.array(split.labels, pa.string()),
        "predicted": pa.array([classes[number] for number in probabilities.argmax(axis=1)], pa.string()),
        "part": pa.array(split.parts, pa.string()),
    }
    table = pa.table(columns | probability_columns(classes, probabilities))
    with replacing(run.folder / "predictions.parquet") as temporary:
        pq.write_table(table, temporary, compression="zstd")
