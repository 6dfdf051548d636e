"""Labels of songs: read from a column of the index, and encoded as numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import chain

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
        Of several classes for each song if the column holds lists. Classes are sorted: numbers by value, text by code
        points.
    n_unlabelled : int
        Number of songs left out because their label is null or empty text.
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
    """Return the songs of a store that can be trained on, with the columns that training needs.

    Parameters
    ----------
    store : SongStore
        The store.
    label : str
        Column with the labels.
    where : str or None
        SQL expression over the index; only these songs.
    also : mapping of str to sequence of str, optional
        Further columns to read, by the option that names them.

    Raises
    ------
    UsageError
        If there are no songs, or no such further column.
    LabelError
        If the labels cannot be learned.
    """
    options, schema = {"label": (label,), **(also or {})}, store.inside.state.content.schema
    names = dict.fromkeys(chain(PLACE_COLUMNS, (CONTENT,), *options.values()))
    songs = store.songs(where, columns=[name for name in names if name in schema.names], arrow=True)
    if songs.num_rows == 0:
        remedy = "Change `where`." if where else "`songbag failures STORE` tells why songs failed."
        raise UsageError("no song with features is left to train on", place=store.address, remedy=remedy)
    for option, columns in options.items():
        require_columns(schema, columns, option)
    labels = read_labels(songs, label)
    require_learnable(labels, label)
    return labels


def require_columns(schema: pa.Schema, columns: Sequence[str], option: str) -> None:
    """Refuse columns that the songs do not have.

    Raises
    ------
    LabelError
        If the option is "label".
    UsageError
        If it is another one. Both name the columns that exist.
    """
    for column in columns:
        if column not in schema.names:
            own = ", ".join(field.name for field in user_fields(schema)) or "none"
            there = f"the columns that came with the songs are: {own}"
            remedy = "Give one of them, or bring columns in with `songbag relabel STORE LABELS`."
            if option == "label":
                raise LabelError(column, f"there is no such column; {there}", remedy)
            raise UsageError(f"there is no column {column!r}; {there}", place=option, remedy=remedy)


def read_labels(songs: pa.Table, column: str) -> Labels:
    """Read the label of each song from a column of the index.

    Parameters
    ----------
    songs : pyarrow.Table
        Rows of the index.
    column : str
        A column of text, whole numbers or booleans, or of lists of these. Songs with null or empty text have no label
        and are left out. An empty list is a label: the song is of none of the classes.

    Raises
    ------
    LabelError
        If there is no such column, its type holds no classes, or no song has a label.
    """
    require_columns(songs.schema, (column,), "label")
    several = _holds_lists(column, songs.schema.field(column).type)
    # Columns that are only compared, or have few values, become dictionaries.
    for name in {CONTENT, "fragment"}.intersection(songs.column_names):
        position = songs.column_names.index(name)
        songs = songs.set_column(position, name, encoded(songs[name].combine_chunks()))
    ids = songs["song_id"].combine_chunks()
    ordered = songs if is_ascending(ids) else songs.take(pc.sort_indices(ids))
    values = ordered[column].combine_chunks()
    known = values.is_valid().to_numpy(False)
    if not several:
        values, known = known_values(values)
    if not known.any():
        raise LabelError(column, f"none of the {len(known)} songs has a label", "Fill the column, or change `where`.")
    labelled, n_unlabelled = keep_rows(ordered, pa.chunked_array([pa.array(known)])), int((~known).sum())
    if several:
        rows = labelled[column].to_pylist()
        lists = [{value for value in own if value is not None and str(value).strip()} for own in rows]
        names: list[Label] = [tuple(map(str, sorted(own))) for own in lists]
        found = set().union(*lists)
    else:
        dictionary = values.dictionary.to_pylist()
        numbers = values.indices.to_numpy(zero_copy_only=False)[known].astype(np.int64)
        names = np.array([*map(str, dictionary)], object)[numbers].tolist()
        found = {dictionary[number] for number in np.unique(numbers).tolist()}
    return Labels(labelled, names, Task(tuple(map(str, sorted(found))), several), n_unlabelled)


def encoded(values: pa.Array) -> pa.DictionaryArray:
    """Return values as an Arrow dictionary array."""
    return values if pa.types.is_dictionary(values.type) else values.dictionary_encode()


def known_values(values: pa.Array) -> tuple[pa.DictionaryArray, Bools]:
    """Return values as a dictionary array, and which of them are neither null nor blank text."""
    codes = encoded(values)
    known = codes.dictionary.is_valid()
    if is_text(codes.dictionary.type):
        # Cast, because Arrow has no such function for views of text. It strips what Python's `str.strip` strips.
        texts = pc.utf8_trim_whitespace(codes.dictionary.cast(pa.large_string()))
        known = pc.fill_null(pc.not_equal(texts, ""), False)
    # Position -1, which stands for null, is that of the appended False.
    of_codes = np.append(known.to_numpy(zero_copy_only=False), False)
    return codes, of_codes[codes.indices.fill_null(-1).to_numpy(zero_copy_only=False)]


def require_learnable(labels: Labels, column: str) -> None:
    """Refuse labels from which nothing can be learned.

    Raises
    ------
    LabelError
        If there are fewer than two classes, or every song is of the same one.
    """
    n, classes = len(labels.names), labels.classes
    if labels.task.several:
        if len(classes) < 2:
            named = f"one class, {classes[0]!r}" if classes else "no class"
            remedy = "Learning takes two classes or more; for a single yes or no, give a column of booleans."
            raise LabelError(column, f"the lists of {n} songs name {named}", remedy)
        constant = set(classes).intersection(*labels.names)
        if constant:
            remedy = "There is nothing to learn about it: leave it out of the lists, or add songs without it."
            raise LabelError(column, f"all {n} songs are of the class {min(constant)!r}", remedy)
    elif len(classes) == 1:
        what = f"all {n} songs are of the class {classes[0]!r}"
        raise LabelError(column, what, "Learning takes two classes or more; choose another column or more songs.")


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_list(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _holds_lists(column: str, kind: pa.DataType) -> bool:
    """Return whether a column of this type holds lists of classes. Refuse a type that holds no classes."""
    lists = is_list(kind)
    kind = kind.value_type if lists else kind
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        what = f"the column holds fractional numbers ({kind}), not classes"
        raise LabelError(column, what, "Turn them into whole numbers or text in the manifest.")
    if not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        remedy = "A label is text, a whole number, a boolean or a list of these; add such a column to the manifest."
        raise LabelError(column, f"a column of type {kind} holds no classes", remedy)
    return lists
