"""Labels: what each song is, read from a column of the index, and as the numbers that a network learns from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.index import user_fields
from songbag_training.errors import LabelError

Task = Literal["single-label", "multi-label"]
"""Whether a song is of exactly one class, or of any number of them."""

Label = str | tuple[str, ...]
"""Class of a song; of a multi-label task its classes, each once, in the order of the classes."""

Targets = npt.NDArray[Any]
"""Labels as numbers: see `encode_labels`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Labels:
    """The songs that have a label, by song id.

    Attributes
    ----------
    songs : pyarrow.Table
        Their rows of the index, ordered by song id.
    names : list of Label
        The label of each row.
    classes : tuple of str
        Every class once: numbers in the order of numbers, text in that of its code points.
    n_unlabelled : int
        Songs left out because their label is null or empty text.
    task : Task
        Multi-label where the column holds lists.
    """

    songs: pa.Table
    names: list[Label]
    classes: tuple[str, ...]
    n_unlabelled: int
    task: Task = "single-label"

    def take(self, rows: Sequence[int]) -> Labels:
        """Return some of the songs, with the classes that occur among them."""
        names = [self.names[row] for row in rows]
        found = {name for label in names for name in classes_of(label)}
        classes = tuple(name for name in self.classes if name in found)
        return Labels(self.songs.take(rows), names, classes, self.n_unlabelled, self.task)


def classes_of(label: Label) -> tuple[str, ...]:
    """Return the classes that a label names."""
    return (label,) if isinstance(label, str) else label


def labelled_songs(store: SongStore, label: str, where: str | None) -> Labels:
    """Return the songs of a store that can be trained on.

    Raises
    ------
    UsageError
        If there are none.
    LabelError
        If their labels cannot be learned.
    """
    songs = store.select_songs(where)
    if songs.num_rows == 0:
        remedy = "Change --where." if where else "`songbag failures STORE` tells why songs failed."
        raise UsageError("no song with features is left to train on", where=store.location, remedy=remedy)
    labels = read_labels(songs, label)
    require_learnable(labels, label)
    return labels


def read_labels(songs: pa.Table, column: str) -> Labels:
    """Take the label of each song from a column of the index.

    Parameters
    ----------
    songs : pyarrow.Table
        Rows of the index.
    column : str
        A column of text, whole numbers or booleans, or of lists of these. Null and empty text mean that a song has no
        label, and it is left out. An empty list is a label: the song is of none of the classes.

    Raises
    ------
    LabelError
        If there is no such column, its type holds no classes, or no song has a label.
    """
    if column not in songs.column_names:
        own = ", ".join(field.name for field in user_fields(songs.schema)) or "none"
        raise LabelError(
            column,
            f"there is no such column; the columns that came with the songs are: {own}",
            "Give one of them, or bring labels in with `songbag relabel STORE LABELS`.",
        )
    task = _task_of(column, songs.schema.field(column).type)
    ordered = songs.sort_by("song_id")
    values = ordered[column].to_pylist()
    known = [not is_empty(value) for value in values]
    if not any(known):
        raise LabelError(column, f"none of the {len(values)} songs has a label", "Fill the column, or change --where.")
    values = [value for value, there in zip(values, known, strict=True) if there]
    labelled, n_unlabelled = ordered.filter(pa.array(known)), known.count(False)
    if task == "multi-label":
        return Labels(labelled, *_classes_of_lists(values), n_unlabelled, task)
    classes = tuple(str(value) for value in sorted(set(values)))
    return Labels(labelled, [str(value) for value in values], classes, n_unlabelled, task)


def require_learnable(labels: Labels, column: str) -> None:
    """Refuse labels that leave nothing to learn.

    Raises
    ------
    LabelError
        If there are not two classes, or every song is of one.
    """
    n, classes = len(labels.names), labels.classes
    if labels.task == "single-label":
        if len(classes) == 1:
            what = f"all {n} songs are of the class {classes[0]!r}"
            raise LabelError(column, what, "Learning takes two classes or more; choose another column or more songs.")
        return
    if len(classes) < 2:
        named = f"one class, {classes[0]!r}" if classes else "no class"
        remedy = "Learning takes two classes or more; for a single yes or no, give a column of booleans."
        raise LabelError(column, f"the lists of {n} songs name {named}", remedy)
    constant = set(classes).intersection(*labels.names)
    if constant:
        remedy = "There is nothing to learn about it: leave it out of the lists, or add songs without it."
        raise LabelError(column, f"all {n} songs are of the class {min(constant)!r}", remedy)


def encode_labels(names: Sequence[Label], classes: Sequence[str], task: Task) -> Targets:
    """Return labels as a network learns them.

    Returns
    -------
    targets : int64, shape (n,), or float32, shape (n, n_classes)
        The number of each song's class; of a multi-label task 1 for each class that the song is of, else 0.

    Raises
    ------
    KeyError
        If a label is none of the classes.
    """
    number = {name: position for position, name in enumerate(classes)}
    if task == "single-label":
        return np.array([number[name] for name in names], np.int64)  # type: ignore[index]  # a str where single-label
    targets = np.zeros((len(names), len(classes)), np.float32)
    for row, own in enumerate(names):
        targets[row, [number[name] for name in own]] = 1
    return targets


def is_empty(value: object) -> bool:
    """Tell whether a value of a column says nothing: null, or text without a letter."""
    return value is None or (isinstance(value, str) and value.strip() == "")


def is_list(kind: pa.DataType) -> bool:
    """Tell whether a column of this type holds lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _task_of(column: str, kind: pa.DataType) -> Task:
    """Return the task that a column of this type sets; refuse one that holds no classes."""
    lists = is_list(kind)
    if lists:
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        what = f"the column holds fractional numbers ({kind}), not classes"
        raise LabelError(column, what, "Turn them into whole numbers or text in the manifest.")
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if not (text or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        remedy = "A label is text, a whole number, a boolean or a list of these; add such a column to the manifest."
        raise LabelError(column, f"a column of type {kind} holds no classes", remedy)
    return "multi-label" if lists else "single-label"


def _classes_of_lists(values: list[list[Any]]) -> tuple[list[Label], tuple[str, ...]]:
    """Return the classes of each song, each once and in order, and all classes; empty entries are none."""
    sets = [{value for value in of_song if not is_empty(value)} for of_song in values]
    known = sorted(set().union(*sets))
    return [tuple(str(value) for value in sorted(of_song)) for of_song in sets], tuple(str(value) for value in known)
