"""The doubtful labels of a cross-validation, beside the labels that the store has now. Neither Keras nor TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.format.index import PLACE_COLUMNS
from songbag_store.progress import Progress
from songbag_store.storage.location import Location
from songbag_store.store import StoreLike
from songbag_store.words import counted
from songbag_training.comparison.judged import Judged
from songbag_training.evaluation.doubt import doubtful, doubtful_members
from songbag_training.evaluation.predictions import probability_names
from songbag_training.runs.facts import RunFacts
from songbag_training.songs.columns import is_list, known_values, whole_values
from songbag_training.songs.labels import fitting, read_labels, require_columns
from songbag_training.songs.task import classes_of
from songbag_training.types import Bools, Floats, Ints, Label

_ANOTHER = "Give the store that was cross-validated. For songs to label next, give a run, such as one of its folds."
_NO_LISTS = "Write it as Parquet: end the name in .parquet, or use `format`."


def doubtful_labels(
    folder: Path, store: StoreLike | None, k: int | None, where: str | None, flat: bool, progress: Progress
) -> pa.Table:
    """Return the table of `songbag_training.review.review.review` of a cross-validation."""
    judged = Judged.read(folder, folder.name)
    facts = judged.facts
    if judged.part == "validation":
        remedy = "Cross-validate with its options, or test the sweep's winner: that one judges every song."
        raise UsageError("a point of a sweep has tested no song", place=str(folder), remedy=remedy)
    opened = SongStore.open(Location.of(facts.store_location) if store is None else store)
    if opened.uuid != facts.store_uuid:
        raise UsageError("another store was cross-validated", place=opened.address, remedy=_ANOTHER)
    column = _Column.read(opened, facts, where)
    refuse_lists(column.kind, facts.label, flat)
    found, n_odd = _judge(judged)
    kept = [one for one in found if one.given == column.given(one.song_id, facts.classes)]
    there = [one for one in found if one.song_id in column.labels]
    if changed := len(there) - len(kept):
        was = "was" if changed == 1 else "were"
        progress.note(f"{counted(changed, 'doubtful song')} {was} given another label since, and left out")
    if where is None and (gone := len(found) - len(there)):
        has = "has" if gone == 1 else "have"
        progress.note(f"{counted(gone, 'doubtful song')} {has} no label in the store any more, and left out")
    if n_odd:
        progress.note(f"{counted(n_odd, 'song')} without probabilities left out")
    return _table(kept[:k], column, facts)


def refuse_lists(kind: pa.DataType, label: str, flat: bool) -> None:
    """Refuse to write a label of lists as CSV: `relabel` could not take it."""
    if flat and is_list(kind):
        raise UsageError(
            f"the label {label!r} is a column of lists, which a CSV cannot hold", place="review", remedy=_NO_LISTS
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Doubt:
    """A label that is probably wrong."""

    song_id: str
    given: frozenset[str]
    likely: frozenset[str]
    p_given: float
    p_likely: float
    fold: str


def _judge(judged: Judged) -> tuple[list[_Doubt], int]:
    """Return the doubtful labels, the worst first, and how many songs have no probabilities."""
    task, table = judged.facts.song_task.plain, judged.tested
    shares = np.stack([table[name].to_numpy() for name in probability_names(task.classes)], axis=1).astype(np.float64)
    members = task.members(task.encode(judged.labels))
    rows, likely, of_given, of_likely = (_several if task.several else _single)(members, shares)
    ids, folds = table["song_id"].to_pylist(), table["fold"].to_pylist()
    names = np.array(task.classes, object)

    def named(own: Bools) -> frozenset[str]:
        return frozenset(names[own].tolist())

    doubts = [
        _Doubt(ids[row], named(members[row]), named(own), float(p_given), float(p_likely), folds[row])
        for row, own, p_given, p_likely in zip(rows.tolist(), likely, of_given, of_likely, strict=True)
    ]
    return doubts, int((~np.isfinite(shares)).any(axis=1).sum())


Doubts = tuple[Ints, Bools, Floats, Floats]
"""Rows, the likely classes of each as booleans, and how probable the given and the likely label are."""


def _single(members: Bools, shares: Floats) -> Doubts:
    given = members.argmax(axis=1)
    rows = doubtful(given, shares)
    likely = shares[rows].argmax(axis=1)
    return rows, likely[:, None] == np.arange(shares.shape[1]), shares[rows, given[rows]], shares[rows].max(axis=1)


def _several(members: Bools, shares: Floats) -> Doubts:
    doubted = doubtful_members(members, shares)
    rows = np.flatnonzero(doubted.any(axis=1))
    # How probable it is that the song has the class, if it is given it, or has it not.
    own = np.where(members, shares, 1 - shares)[rows]
    worst = np.where(doubted[rows], own, np.inf).min(axis=1)
    order = np.argsort(worst, kind="stable")
    rows, worst = rows[order], worst[order]
    return rows, members[rows] ^ doubted[rows], worst, 1 - worst


@dataclasses.dataclass(frozen=True, slots=True)
class _Column:
    """The column of the labels in the store, as it is now.

    Attributes
    ----------
    kind : pyarrow.DataType
    separator : str or None
        Between the classes of a song, in text.
    labels : mapping of str to Label
        Of the songs that have one.
    paths : mapping of str to str
    values : mapping of str to object
        What stands for each class.
    """

    kind: pa.DataType
    separator: str | None
    labels: Mapping[str, Label]
    paths: Mapping[str, str | None]
    values: Mapping[str, Any]

    @classmethod
    def read(cls, store: SongStore, facts: RunFacts, where: str | None) -> _Column:
        schema = store.inside.state.content.schema
        require_columns(schema, (facts.label,), "label")
        songs = store.songs(where, columns=[*PLACE_COLUMNS, "path", facts.label], arrow=True)
        kind, reading = songs.schema.field(facts.label).type, fitting(facts.config.reading, schema, facts.label)
        given = songs[facts.label].combine_chunks()
        if given.null_count == len(given) if is_list(kind) else not known_values(given)[1].any():
            return cls(kind, reading.label_separator, {}, {}, {})
        found = read_labels(songs, facts.label, reading)
        ids = found.songs["song_id"].to_pylist()
        paths = dict(zip(ids, found.songs["path"].to_pylist(), strict=True))
        labels = dict(zip(ids, found.names, strict=True))
        if reading.label_separator is not None:
            return cls(kind, reading.label_separator, labels, paths, {})
        # A likely class may be one of songs that `where` leaves out, or of none that is still there.
        column = store.songs(columns=[facts.label], arrow=True)[facts.label].combine_chunks()
        codes, _ = known_values(pc.list_flatten(column) if is_list(kind) else column)
        texts = [str(one) for one in whole_values(codes.dictionary)]
        values = dict(zip(texts, codes.dictionary.to_pylist(), strict=True))
        own = kind.value_type if is_list(kind) else kind
        gone = {name: pa.scalar(name).cast(own).as_py() for name in facts.classes if name not in values}
        return cls(kind, None, labels, paths, values | gone)

    def given(self, song_id: str, classes: Sequence[str]) -> frozenset[str] | None:
        """Return the classes of a song among those that were learned; None if it has no label or is not there."""
        own = self.labels.get(song_id)
        return None if own is None else frozenset(classes_of(own)).intersection(classes)

    def value(self, doubt: _Doubt) -> Any:
        """Return the likely label as a value of the column. Classes of the song that were not learned stay."""
        if not is_list(self.kind) and self.separator is None:
            return self.values.get(*doubt.likely, *doubt.likely)
        own = classes_of(self.labels[doubt.song_id])
        left = [name for name in own if name not in doubt.given or name in doubt.likely]
        names = [*left, *sorted(doubt.likely.difference(own))]
        return [self.values.get(name, name) for name in names] if self.separator is None else self.separator.join(names)


def _table(doubts: Sequence[_Doubt], column: _Column, facts: RunFacts) -> pa.Table:
    several = facts.task == "multi-label"
    given = [sorted(one.given) if several else next(iter(one.given)) for one in doubts]
    made = {
        "song_id": pa.array([one.song_id for one in doubts], pa.string()),
        "path": pa.array([column.paths[one.song_id] for one in doubts], pa.string()),
        facts.label: pa.array([column.value(one) for one in doubts], column.kind),
        "review_given": pa.array(given, pa.list_(pa.string()) if several else pa.string()),
        "review_p_given": pa.array([one.p_given for one in doubts], pa.float64()),
        "review_p_likely": pa.array([one.p_likely for one in doubts], pa.float64()),
        "review_fold": pa.array([one.fold for one in doubts], pa.string()),
    }
    return pa.table(made)
