"""Labels: what each song is, read from a column of the index, and as the numbers that a network learns from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.format.index import CONTENT, PLACE_COLUMNS, is_ascending, keep_rows, user_fields
from songbag_training.errors import LabelError
from songbag_training.songs.task import Task
from songbag_training.types import Bools, Label, Targets


@dataclasses.dataclass(frozen=True, slots=True)
class Labels:
    """The songs that have a label, by song id.

    Attributes
    ----------
    songs : pyarrow.Table
        Their rows of the index, ordered by song id.
    names : list of Label
        The label of each row.
    task : Task
        Of several classes a song where the column holds lists. Classes are in order: numbers in the order of numbers,
        text in that of its code points.
    n_unlabelled : int
        Songs left out because their label is null or empty text.
    """

    songs: pa.Table
    names: list[Label]
    task: Task
    n_unlabelled: int

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the task."""
        return self.task.classes

    def take(self, rows: Sequence[int]) -> Labels:
        """Return some of the songs, with the classes that occur among them."""
        names = [self.names[row] for row in rows]
        held = np.bincount(self.task.pairs(names)[1], minlength=len(self.classes))
        task = Task(tuple(name for name, n in zip(self.classes, held, strict=True) if n), self.task.several)
        return Labels(self.songs.take(pa.array(rows, pa.int64())), names, task, self.n_unlabelled)

    def targets(self, rows: Sequence[int]) -> Targets:
        """Return the labels of some of the songs as numbers."""
        return self.task.encode([self.names[row] for row in rows])


def labelled_songs(
    store: SongStore, label: str, where: str | None, also: Mapping[str, Sequence[str]] | None = None
) -> Labels:
    """Return the songs of a store that can be trained on; of the index only the columns that this takes.

    Parameters
    ----------
    store : SongStore
        The store.
    label : str
        Column with the labels.
    where : str or None
        SQL expression over the index; only these songs.
    also : mapping of str to sequence of str, optional
        Further columns that are wanted of these songs, by the option that names them.

    Raises
    ------
    UsageError
        If there are no songs, or no such further column.
    LabelError
        If the labels cannot be learned.
    """
    further = [column for columns in (also or {}).values() for column in columns]
    names = dict.fromkeys([*PLACE_COLUMNS, CONTENT, label, *further])
    wanted = [name for name in names if name in store.inside.state.schema.names]
    songs = store.songs(where, columns=wanted, arrow=True)
    if songs.num_rows == 0:
        remedy = "Change `where`." if where else "`songbag failures STORE` tells why songs failed."
        raise UsageError("no song with features is left to train on", place=store.address, remedy=remedy)
    _require_label(store.inside.state.schema, label)
    for option, columns in (also or {}).items():
        require_columns(store.inside.state.schema, columns, option)
    labels = read_labels(songs, label)
    require_learnable(labels, label)
    return labels


def require_columns(schema: pa.Schema, columns: Sequence[str], option: str) -> None:
    """Refuse columns that the songs do not have.

    Raises
    ------
    UsageError
        Naming the option and the columns that there are.
    """
    for column in columns:
        if column not in schema.names:
            own = ", ".join(field.name for field in user_fields(schema)) or "none"
            raise UsageError(
                f"there is no column {column!r}; the columns that came with the songs are: {own}",
                place=option,
                remedy="Give one of them, or bring columns in with `songbag relabel STORE LABELS`.",
            )


def _require_label(schema: pa.Schema, column: str) -> None:
    if column not in schema.names:
        own = ", ".join(field.name for field in user_fields(schema)) or "none"
        raise LabelError(
            column,
            f"there is no such column; the columns that came with the songs are: {own}",
            "Give one of them, or bring labels in with `songbag relabel STORE LABELS`.",
        )


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
    _require_label(songs.schema, column)
    several = _holds_lists(column, songs.schema.field(column).type)
    ordered = _ordered(songs)
    values = ordered[column].combine_chunks()
    codes, known = (None, values.is_valid().to_numpy(False)) if several else known_values(values)
    if not known.any():
        raise LabelError(column, f"none of the {len(known)} songs has a label", "Fill the column, or change `where`.")
    labelled, n_unlabelled = keep_rows(ordered, pa.chunked_array([pa.array(known)])), int((~known).sum())
    if codes is None:
        of_songs, classes = _classes_of_lists(labelled[column].to_pylist())
        return Labels(labelled, of_songs, Task(classes, several=True), n_unlabelled)
    dictionary = codes.dictionary.to_pylist()
    numbers = codes.indices.to_numpy(zero_copy_only=False)[known].astype(np.int64)
    classes = tuple(str(value) for value in sorted({dictionary[number] for number in np.unique(numbers).tolist()}))
    names = np.array([str(value) for value in dictionary], object)[numbers].tolist()
    return Labels(labelled, names, Task(classes), n_unlabelled)


def _ordered(songs: pa.Table) -> pa.Table:
    """Return songs by song id; the text that all of them share, or that is only compared, as numbers."""
    for name in {CONTENT, "fragment"}.intersection(songs.column_names):
        position = songs.column_names.index(name)
        songs = songs.set_column(position, name, encoded(songs[name].combine_chunks()))
    ids = songs["song_id"].combine_chunks()
    return songs if is_ascending(ids) else songs.take(pc.sort_indices(ids))


def encoded(values: pa.Array) -> pa.DictionaryArray:
    """Return values as numbers into a dictionary of them."""
    return values if pa.types.is_dictionary(values.type) else values.dictionary_encode()


def known_values(values: pa.Array) -> tuple[pa.DictionaryArray, Bools]:
    """Return values as numbers into a dictionary of them, and which of them are not blank."""
    codes = encoded(values)
    # One more for null, whose number is -1.
    blank = np.append(_blank(codes.dictionary), True)
    return codes, ~blank[codes.indices.fill_null(-1).to_numpy(zero_copy_only=False)]


def _blank(values: pa.Array) -> Bools:
    """Tell which values say nothing; see `is_empty`."""
    blank: Bools = values.is_null().to_numpy(zero_copy_only=False)
    if not is_text(values.type):
        return blank
    if pa.types.is_string_view(values.type):
        values = values.cast(pa.large_string())  # of views Arrow compares nothing
    # Looked at one by one are only those without any visible character of ASCII.
    visible = pc.fill_null(pc.match_substring_regex(values, "[!-~]"), False).to_numpy(zero_copy_only=False)
    rest = np.flatnonzero(~visible)
    blank[rest] = [is_empty(value) for value in values.take(pa.array(rest)).to_pylist()]
    return blank


def require_learnable(labels: Labels, column: str) -> None:
    """Refuse labels that leave nothing to learn.

    Raises
    ------
    LabelError
        If there are not two classes, or every song is of one.
    """
    n, classes = len(labels.names), labels.classes
    if not labels.task.several:
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


def is_empty(value: object) -> bool:
    """Tell whether a value of a column says nothing: null, or text without a letter."""
    return value is None or (isinstance(value, str) and value.strip() == "")


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a column of this type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_list(kind: pa.DataType) -> bool:
    """Tell whether a column of this type holds lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _holds_lists(column: str, kind: pa.DataType) -> bool:
    """Return whether a column of this type holds lists of classes; refuse one that holds no classes."""
    lists = is_list(kind)
    if lists:
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        what = f"the column holds fractional numbers ({kind}), not classes"
        raise LabelError(column, what, "Turn them into whole numbers or text in the manifest.")
    if not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        remedy = "A label is text, a whole number, a boolean or a list of these; add such a column to the manifest."
        raise LabelError(column, f"a column of type {kind} holds no classes", remedy)
    return lists


def _classes_of_lists(values: list[list[Any]]) -> tuple[list[Label], tuple[str, ...]]:
    """Return the classes of each song, each once and in order, and all classes; empty entries are none."""
    sets = [{value for value in of_song if not is_empty(value)} for of_song in values]
    known = sorted(set().union(*sets))
    return [tuple(str(value) for value in sorted(of_song)) for of_song in sets], tuple(str(value) for value in known)
