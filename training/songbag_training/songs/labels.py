"""Labels of songs: read from a column of the index, and encoded as numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence, Set
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.format.index import CONTENT, END, PLACE_COLUMNS, START, is_ascending, keep_rows, user_fields
from songbag_store.progress import Progress, Silent
from songbag_store.words import counted, did_you_mean
from songbag_training.config import AS_THEY_ARE, LabelConfig
from songbag_training.errors import LabelError
from songbag_training.songs.columns import encoded, is_list, is_nameable, is_text, known_values, whole_values
from songbag_training.songs.spelling import doubtful_names, likely_lists, told
from songbag_training.songs.task import Task
from songbag_training.types import Bools, Ints, Label, Targets


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
        Number of songs left out because their label is null, NaN or empty text.
    unsplit : bool
        Whether lists were to be made by a separator that no label holds.
    """

    songs: pa.Table
    names: list[Label]
    task: Task
    n_unlabelled: int
    unsplit: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the task."""
        return self.task.classes

    def take(self, rows: Sequence[int]) -> Labels:
        """Return some of the songs, with the classes that occur among them."""
        return self._of([self.names[row] for row in rows], rows)

    def counts(self) -> dict[str, int]:
        """Return the number of songs of each class."""
        held = np.bincount(self.task.pairs(self.names)[1], minlength=len(self.classes))
        return dict(zip(self.classes, held.tolist(), strict=True))

    def without(self, classes: Set[str]) -> Labels:
        """Return the songs that are of another class too, without these classes; and those that never had one."""
        if not self.task.several:
            return self.take([row for row, name in enumerate(self.names) if name not in classes])
        left = [tuple(name for name in own if name not in classes) for own in self.names]
        rows = [row for row, own in enumerate(left) if own or not self.names[row]]
        return self._of([left[row] for row in rows], rows)

    def _of(self, names: list[Label], rows: Sequence[int]) -> Labels:
        """Return some of the songs with these labels, and the classes that occur in them."""
        held = np.bincount(self.task.pairs(names)[1], minlength=len(self.classes))
        task = Task(tuple(name for name, n in zip(self.classes, held, strict=True) if n), self.task.several)
        return dataclasses.replace(self, songs=self.songs.take(pa.array(rows, pa.int64())), names=names, task=task)

    def targets(self, rows: Sequence[int]) -> Targets:
        """Return the labels of some of the songs as numbers."""
        return self.task.encode([self.names[row] for row in rows])


def labelled_songs(
    store: SongStore,
    label: str,
    where: str | None,
    also: Mapping[str, Sequence[str]] | None = None,
    reading: LabelConfig = AS_THEY_ARE,
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
    reading : LabelConfig
        How their column is read.

    Raises
    ------
    UsageError
        If there are no songs, or no such further column.
    LabelError
        If the labels cannot be learned.
    """
    options, schema = {"label": (label,), **(also or {})}, store.inside.state.content.schema
    names = dict.fromkeys(chain(PLACE_COLUMNS, (CONTENT, START, END), *options.values()))
    songs = store.songs(where, columns=[name for name in names if name in schema.names], arrow=True)
    if songs.num_rows == 0:
        remedy = "Change `where`." if where else "`songbag failures STORE` tells why songs failed."
        raise UsageError("no song with features is left to train on", place=store.address, remedy=remedy)
    for option, columns in options.items():
        require_columns(schema, columns, option)
    return read_labels(songs, label, reading)


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
            remedy = f"{did_you_mean(column, [field.name for field in user_fields(schema)])} {remedy}".strip()
            if option == "label":
                raise LabelError(column, f"there is no such column; {there}", remedy)
            raise UsageError(f"there is no column {column!r}; {there}", place=option, remedy=remedy)


def read_labels(songs: pa.Table, column: str, reading: LabelConfig = AS_THEY_ARE) -> Labels:
    """Read the label of each song from a column of the index.

    Parameters
    ----------
    songs : pyarrow.Table
        Rows of the index.
    column : str
        A column of text, whole numbers (also as floats or decimals) or booleans, or of lists of these. Songs with null,
        NaN or blank text have no label and are left out. An empty list is a label: the song is of none of the classes.
    reading : LabelConfig
        With a separator, text is cut into a list: spaces around a piece, empty pieces and repetitions do not count,
        and text without any piece is no label. Its `min_songs` is the business of `settled`.

    Raises
    ------
    LabelError
        If there is no such column, its type holds no classes, it holds lists and there is a separator, or no song has
        a label.
    """
    require_columns(songs.schema, (column,), "label")
    separator = reading.label_separator
    lists = _holds_lists(column, songs.schema.field(column).type, separator)
    # Columns that are only compared, or have few values, become dictionaries.
    for name in {CONTENT, "fragment"}.intersection(songs.column_names):
        position = songs.column_names.index(name)
        songs = songs.set_column(position, name, encoded(songs[name].combine_chunks()))
    ids = songs["song_id"].combine_chunks()
    ordered = songs if is_ascending(ids) else songs.take(pc.sort_indices(ids))
    values = ordered[column].combine_chunks()
    unsplit = False
    try:
        if lists:
            known = values.is_valid().to_numpy(False)
            of_lists, classes = _classes_of_lists(values.drop_null())
            names: list[Label] = [*of_lists]
        elif separator is None:
            names, known, classes = _classes_of_values(values)
        else:
            names, known, classes, unsplit = _classes_of_pieces(values, separator)
    except ValueError as error:
        remedy = "Turn them into whole numbers or text in the manifest."
        raise LabelError(column, f"the column holds {error}, not classes", remedy) from error
    if not known.any():
        what = f"none of the {counted(len(known), 'song')} has a label"
        raise LabelError(column, what, "Fill the column, or change `where`.")
    labelled = keep_rows(ordered, pa.chunked_array([pa.array(known)]))
    task = Task(tuple(map(str, classes)), lists or separator is not None)
    return Labels(labelled, names, task, int((~known).sum()), unsplit)


def _classes_of_values(values: pa.Array) -> tuple[list[Label], Bools, list[Any]]:
    """Return the class of each value that is known, which these are, and all classes in order."""
    codes, known = known_values(values)
    numbers = codes.indices.fill_null(-1).to_numpy(zero_copy_only=False)[known].astype(np.int64)
    of_codes = whole_values(codes.dictionary)
    names = np.array([*map(str, of_codes)], object)[numbers].tolist()
    return names, known, sorted({of_codes[number] for number in _distinct(numbers)})


def _classes_of_lists(lists: pa.Array) -> tuple[list[tuple[str, ...]], list[Any]]:
    """Return the classes that each list names, once and in order, and all classes in order."""
    owners = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    codes, known = known_values(pc.list_flatten(lists))
    numbers = codes.indices.fill_null(-1).to_numpy(zero_copy_only=False)[known].astype(np.int64)
    of_codes = whole_values(codes.dictionary)
    classes = sorted({of_codes[number] for number in _distinct(numbers)})
    position = {value: number for number, value in enumerate(classes)}
    ranks = np.array([position.get(value, -1) for value in of_codes], np.int64)
    pairs = _distinct(owners[known] * max(len(classes), 1) + ranks[numbers]) if len(numbers) else numbers
    owners, ranks = np.divmod(pairs, max(len(classes), 1))
    flat = np.array([*map(str, classes)], object)[ranks].tolist()
    ends = np.cumsum(np.bincount(owners, minlength=len(lists))).tolist()
    return [tuple(flat[start:end]) for start, end in pairwise([0, *ends])], classes


def _classes_of_pieces(values: pa.Array, separator: str) -> tuple[list[Label], Bools, list[Any], bool]:
    """Return the classes that each known value names, which values are known, all classes, and if none was cut."""
    codes, known = known_values(values)
    numbers = codes.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    if not is_text(codes.dictionary.type):
        single, known, classes = _classes_of_values(codes)
        return [(str(name),) for name in single], known, classes, True
    # Each different text is cut once, not that of each song.
    texts = codes.dictionary.cast(pa.large_string())
    cut = pc.split_pattern(texts.fill_null(""), separator)
    pieces = pc.utf8_trim_whitespace(cut.values)
    of_texts, classes = _classes_of_lists(pa.LargeListArray.from_arrays(cut.offsets.cast(pa.int64()), pieces))
    known &= np.array([*map(bool, of_texts), False])[numbers]
    used = np.zeros(len(of_texts) + 1, np.bool_)
    used[numbers[known]] = True
    if not used[:-1].all():
        present = set(chain.from_iterable(own for own, there in zip(of_texts, used, strict=False) if there))
        classes = [name for name in classes if name in present]
    held = np.empty(len(of_texts), object)
    held[:] = of_texts
    whole = not pc.any(pc.match_substring(texts, separator).filter(pa.array(used[:-1])), min_count=0).as_py()
    return held[numbers[known]].tolist(), known, classes, whole


def _distinct(numbers: Ints) -> Ints:
    """Return the different ones of some numbers, in order."""
    # Asking for counts makes numpy sort. Without, numpy 2.4 hashes the values, which takes thirty times as long.
    return np.unique(numbers, return_counts=True)[0]


def settled(labels: Labels, column: str, min_songs: int, progress: Progress | None) -> Labels:
    """Return the labels to learn: without rare classes, and after a note for each thing that looks like a mistake.

    Parameters
    ----------
    labels : Labels
    column : str
        Their column.
    min_songs : int
        Classes with fewer songs are left out. A song that is of no other class goes with them.
    progress : Progress, optional
        Where the notes go.

    Raises
    ------
    LabelError
        If nothing can be learned from what is left.
    """
    counts, progress = labels.counts(), progress or Silent()
    if labels.n_unlabelled:
        n, out = labels.n_unlabelled, "is left out" if labels.n_unlabelled == 1 else "are left out"
        progress.note(f"{counted(n, 'song')} without a label in {column!r} {out}")
    if labels.unsplit:
        what = f"no label in {column!r} holds the separator, so each song is of one class; there may still be several"
        progress.note(f"note: {what}. Without `label_separator`, exactly one class is learned for each song")
    lists = [] if labels.task.several else likely_lists(counts, column)
    for note in (*lists, *doubtful_names(counts, column)):
        progress.note(f"note: {note}")
    rare = {name: n for name, n in counts.items() if n < min_songs}
    kept = labels
    if rare:
        if len(counts) - len(rare) < 2:
            n_kept, n_classes = len(counts) - len(rare), counted(len(counts), "class")
            has = "has" if n_kept == 1 else "have"
            what = f"{n_kept} of the {n_classes} {has} {counted(min_songs, 'song')} or more"
            raise LabelError(column, f"{what}: {told(counts)}", "Lower `min_songs`: learning takes two classes.")
        kept = labels.without(rare.keys())
        n_gone = len(labels.names) - len(kept.names)
        left = f"{counted(len(rare), 'class')} with fewer than {counted(min_songs, 'song')}"
        out = f"{'is' if len(rare) == 1 else 'are'} left out, and {counted(n_gone, 'song')} of no other class"
        progress.note(f"{left} {out}: {told(rare)}")
    require_learnable(kept, column)
    return kept


def require_learnable(labels: Labels, column: str) -> None:
    """Refuse labels from which nothing can be learned.

    Raises
    ------
    LabelError
        If there are fewer than two classes, or every song is of the same one.
    """
    n, classes = len(labels.names), labels.classes
    every = "the only song is" if n == 1 else f"all {counted(n, 'song')} are"
    if labels.task.several:
        if len(classes) < 2:
            named = f"one class, {classes[0]!r}" if classes else "no class"
            remedy = "Learning takes two classes or more; for a single yes or no, give a column of booleans."
            lists = "list" if n == 1 else "lists"
            raise LabelError(column, f"the {lists} of {counted(n, 'song names', 'songs name')} {named}", remedy)
        constant = set(classes).intersection(*labels.names)
        if constant:
            remedy = "There is nothing to learn about it: leave it out of the lists, or add songs without it."
            raise LabelError(column, f"{every} of the class {min(constant)!r}", remedy)
    elif len(classes) == 1:
        what = f"{every} of the class {classes[0]!r}"
        raise LabelError(column, what, "Learning takes two classes or more; choose another column or more songs.")


def _holds_lists(column: str, kind: pa.DataType, separator: str | None) -> bool:
    """Return whether a column of this type holds lists of classes. Refuse a type that holds no classes."""
    lists = is_list(kind)
    if not is_nameable(kind.value_type if lists else kind):
        remedy = "A label is text, a whole number, a boolean or a list of these; add such a column to the manifest."
        raise LabelError(column, f"a column of type {kind} holds no classes", remedy)
    if lists and separator is not None:
        remedy = "Leave out `label_separator`: it makes lists of text."
        raise LabelError(column, f"the column holds lists already ({kind})", remedy)
    return lists


def fitting(reading: LabelConfig, schema: pa.Schema, column: str) -> LabelConfig:
    """Return how a column is read as another one was: a separator is for text, and means nothing where lists are."""
    if column in schema.names and is_list(schema.field(column).type):
        return dataclasses.replace(reading, label_separator=None)
    return reading
