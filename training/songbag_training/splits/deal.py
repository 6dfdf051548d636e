"""Dividing songs into train, validation and test, or into folds: at random and stratified, or as a column says."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pyarrow as pa

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.format.declaration import whole_number
from songbag_store.likeness.alike import are_comparable
from songbag_store.progress import Progress
from songbag_store.words import counted
from songbag_training.config import AS_THEY_ARE, LabelConfig
from songbag_training.errors import LabelError, some
from songbag_training.songs.labels import Labels, fitting, labelled_songs, require_columns, settled
from songbag_training.splits.copies import Copies, with_copies
from songbag_training.splits.dealer import stratify
from songbag_training.splits.folds import folds_of
from songbag_training.splits.groups import find_units, likely_groups
from songbag_training.splits.notes import split_notes
from songbag_training.splits.split import (
    SUBSETS,
    Split,
    SplitLike,
    apply_split,
    balance,
    check_leaks,
    check_trainable,
    subset_order,
)
from songbag_training.types import Ints

SHARES: dict[str, Fraction] = {"test": Fraction(15, 100), "validation": Fraction(15, 100), "train": Fraction(70, 100)}
"""Share of the songs in each subset, in the order in which songs are dealt."""


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """The songs to train on.

    Attributes
    ----------
    labels : Labels
        The songs of the split.
    split : Split
        In the same order.
    notes : list of str
        What is to be said about it, see `songbag_training.splits.notes`.
    """

    labels: Labels
    split: Split
    notes: list[str]


def make_split(
    labels: Labels,
    column: str,
    *,
    folds: int | None = None,
    fold_column: str | None = None,
    group: Sequence[str] = (),
    seed: int = 0,
    copies: Copies | None = None,
) -> Split:
    """Divide songs into train (70 %), validation (15 %) and test (15 %), or into folds.

    Every subset gets its share of every class. Copies of one recording, and songs with a common value in one of the
    columns of `group`, stay together. The result depends on the seed and on the song ids, not on the order of the rows.

    Parameters
    ----------
    labels : Labels
        The songs and their classes.
    column : str
        Column of the labels, for messages.
    folds : int, optional
        Make this many folds of the same size, named 1, 2, ...
    fold_column : str, optional
        Take each song's fold from this column of the index; or its subset, if the values are train, validation and
        test.
    group : sequence of str
        Columns of the index, such as artist or album.
    seed : int
        Another seed gives another split.
    copies : Copies, optional
        Which songs are copies of others. Without, only byte-identical recordings are.

    Raises
    ------
    LabelError
        If a class has too few units to be in every subset, or nothing can be learned from given subsets.
    LeakError
        If given folds separate copies of a recording, or songs of a group.
    UsageError
        If there is no such column, a song has no given fold, there are fewer than two folds, or folds are both asked
        for and given.
    """
    _check_folds(labels, folds, fold_column)
    copies = copies or Copies.unknown()
    if fold_column is not None:
        return _given_split(labels, column, fold_column, group, copies)
    shares = SHARES if folds is None else {str(number): Fraction(1, folds) for number in range(1, folds + 1)}
    return _deal(labels, column, shares, seed=seed, group=group, copies=copies)


def _check_folds(labels: Labels, folds: int | None, fold_column: str | None) -> None:
    """Refuse folds that cannot be made, before anything that takes long."""
    if folds is not None and fold_column is not None:
        what = f"{counted(folds, 'fold is', 'folds are')} asked for, and the folds of the column {fold_column!r} given"
        raise UsageError(what, place="folds", remedy="Leave out one of the two.")
    if folds is not None:
        folds = whole_number(folds, "folds", 0)
    if folds is not None and folds < 2:
        what = counted(folds, "fold divides", "folds divide")
        raise UsageError(f"{what} nothing", place="folds", remedy="Give 2 or more.")
    if folds is not None and folds > len(labels.names):
        are = "is" if len(labels.names) == 1 else "are"
        what = f"there {are} {counted(len(labels.names), 'labelled song')} for {counted(folds, 'fold')}"
        raise UsageError(what, place="folds", remedy="Give fewer folds.")


def _given_split(labels: Labels, column: str, fold_column: str, group: Sequence[str], copies: Copies) -> Split:
    require_columns(labels.songs.schema, (fold_column,), "fold_column")
    require_columns(labels.songs.schema, group, "group")
    subsets, ids = folds_of(labels.songs, fold_column), labels.songs["song_id"].to_pylist()
    split = copies.joined(Split(tuple(ids), tuple(labels.names), subsets, tuple(group)))
    if len(split.names) < 2:
        what = f"all songs have the same fold in {fold_column!r}: {split.subsets[0]!r}"
        raise UsageError(what, place="fold_column", remedy="It takes two folds or more.")
    check_leaks(split, labels.songs)
    if not split.is_folds:
        check_trainable(split, labels.classes, column)
    return split


def choose_split(
    store: SongStore,
    column: str,
    where: str | None,
    split: SplitLike | None = None,
    *,
    folds: int | None = None,
    fold_column: str | None = None,
    group: Sequence[str] = (),
    seed: int,
    as_folds: bool | None = None,
    copies: Copies | None = None,
    reading: LabelConfig = AS_THEY_ARE,
    progress: Progress | None = None,
) -> Choice:
    """Return the songs to train on and their split: the saved one if it is given, else a new one, see `make_split`.

    `as_folds` says whether the split must consist of folds, or must not; None allows both. The copies that a new split
    keeps together are found, unless they are given. What `reading` leaves open is read as for the saved split, if that
    is of the same column; the split that is returned says how. `progress` shows what looks like a mistake in the
    labels, see `songbag_training.songs.labels.settled`, and the search for copies.

    Raises
    ------
    LabelError
        If a class cannot be learned, or a subset has no song.
    LeakError, SplitMismatch
        If the saved split does not fit the store, see `songbag_training.splits.split.apply_split`.
    UsageError
        If there are no songs or no such column, folds or columns to group by are given beside the saved split, or the
        split is of the other kind.
    """
    # One column alone would otherwise be taken for its letters.
    group = (group,) if isinstance(group, str) else group
    saved = None if split is None else Split.read(split)
    beside = {"folds": folds, "fold_column": fold_column, "group": group or None}
    given = ", ".join(f"`{name}`" for name, value in beside.items() if value is not None)
    if saved and given:
        what = "the saved split has its subsets and groups already"
        raise UsageError(what, place="split", remedy=f"Leave out {given}.")
    also = {"fold_column": [fold_column] if fold_column else [], "group": group}
    kept = {
        "group of the split": saved.group if saved else (),
        "groups": likely_groups(store.inside.state.content.schema),
    }
    reading = _reading(store, saved, column, reading)
    labels = labelled_songs(store, column, where, also | kept, reading)
    if saved is not None:
        _require_kind(saved, as_folds)
        return _saved_choice(dataclasses.replace(saved, column=column, reading=reading), labels, store, progress)
    labels = settled(labels, column, reading.min_songs, progress)
    _check_folds(labels, folds, fold_column)
    copies = copies or Copies.find(store, progress)
    made = make_split(labels, column, folds=folds, fold_column=fold_column, group=group, seed=seed, copies=copies)
    _require_kind(made, as_folds)
    made = dataclasses.replace(made, column=column, reading=reading)
    notes = split_notes(made, labels, copies.seconds, alike=are_comparable(store.spec))
    return Choice(labels, made, [*notes, *copies.notes])


def _require_kind(split: Split, as_folds: bool | None) -> None:
    """Refuse a split that is not of folds, or is, where the other kind is needed."""
    if as_folds is not None and split.is_folds != as_folds:
        what, remedy = "train, validation and test, not of folds", "`songbag train` takes it; make folds with `folds`."
        if split.is_folds:
            what = f"folds ({some(split.names)}), not of train, validation and test"
            remedy = "Use it with `songbag cross-validate`, or make one without folds."
        raise UsageError(f"the split consists of {what}", place="split", remedy=remedy)


def _reading(store: SongStore, saved: Split | None, column: str, asked: LabelConfig) -> LabelConfig:
    """Return how the labels are read: as asked, and else as those of the saved split, if they are of this column."""
    if saved is None or saved.column != column:
        return asked
    own = fitting(saved.reading, store.inside.state.content.schema, column)
    return dataclasses.replace(own, **asked.to_dict())


def _saved_choice(saved: Split, labels: Labels, store: SongStore, progress: Progress | None) -> Choice:
    """Return the songs of a saved split that is to be used for these labels, read as it says."""
    column, least = str(saved.column), saved.reading.min_songs
    every_song = store.songs(columns=["song_id"], arrow=True)
    own, applied = apply_split(saved, labels, every_song)
    settled_own = settled(own, column, least, progress)
    if settled_own is not own:
        own, applied = apply_split(saved, settled_own, every_song)
    if not saved.is_folds:
        check_trainable(applied, own.classes, column)
    # Songs that were left out with their rare classes are no later songs.
    rare = set(labels.classes).difference(own.classes) if least > 1 else set()
    notes = split_notes(applied, own, alike=are_comparable(store.spec))
    n_later = len(labels.without(rare).names) - len(own.names)
    if n_later:
        what = counted(n_later, "labelled song is", "labelled songs are")
        out = "it is left out, and was" if n_later == 1 else "they are left out, and were"
        notes.append(f"note: {what} not in the split: {out} not compared with its songs")
    return Choice(own, applied, notes)


def carve_validation(split: Split, labels: Labels, column: str, *, seed: int) -> Split:
    """Move 15 % of the training songs to validation, as whole units, each class with its share.

    Raises
    ------
    LabelError
        If a class has fewer than two units among the training songs.
    """
    rows = split.rows_of("train")
    shares = {"validation": Fraction(15, 100), "train": Fraction(85, 100)}
    subsets, copies = np.array(split.subsets, object), Copies.saved(split)
    subsets[rows] = _deal(labels.take(rows), column, shares, seed=seed, group=split.group, copies=copies).subsets
    return dataclasses.replace(split, subsets=tuple(subsets.tolist()))


def _deal(
    labels: Labels, column: str, shares: dict[str, Fraction], *, seed: int, group: Sequence[str], copies: Copies
) -> Split:
    require_columns(labels.songs.schema, group, "group")
    found = copies.among(labels.songs["song_id"].combine_chunks())
    units = find_units(labels.songs, group, [pa.chunked_array([own]) for own in found.values()])
    members = labels.task.pairs(labels.names)
    _check_counts(labels, column, members, units, list(shares), group)
    ids: list[str] = labels.songs["song_id"].to_pylist()
    dealt = stratify(ids, members, units, list(shares.values()), seed=seed)
    subsets = np.array(list(shares), object)[dealt].tolist()
    split = with_copies(Split(tuple(ids), tuple(labels.names), tuple(subsets), tuple(group)), found)
    for name, own in balance(split, labels.classes).items():
        empty = next((subset for subset in shares if not own[subset]), None)
        if empty is not None:
            counts = ", ".join(f"{own[subset]} in {subset}" for subset in shares)
            remedy = "Its songs hang together in large groups: try another `seed`, group by less, or use fewer folds."
            raise LabelError(column, f"no song of the class {name!r} came into {empty!r} ({counts})", remedy)
    check_leaks(split, labels.songs)
    return split


def _check_counts(
    labels: Labels, column: str, members: tuple[Ints, Ints], units: Ints, subsets: list[str], group: Sequence[str]
) -> None:
    """Refuse classes with fewer units than there are subsets."""
    rows, numbers = members
    n_units = int(units.max()) + 1
    # Asking for counts makes numpy sort. Without, numpy 2.4 hashes the values, which takes thirty times as long.
    pairs, _ = np.unique(numbers * n_units + units[rows], return_counts=True)
    held = np.bincount(pairs // n_units, minlength=len(labels.classes)).tolist()
    n_songs = np.bincount(numbers, minlength=len(labels.classes)).tolist()
    small = [
        f"{name!r} has {n}" + (f" (of {counted(own, 'song')})" if own > n else "")
        for name, n, own in zip(labels.classes, held, n_songs, strict=True)
        if n < len(subsets)
    ]
    if small:
        more = f" and {counted(len(small) - 8, 'more class')} too" if len(small) > 8 else ""
        thing = f"recordings that differ in {' and '.join(group)}" if group else "recordings"
        named = ", ".join(sorted(subsets, key=subset_order))
        into = counted(len(subsets), "fold") if set(subsets).isdisjoint(SUBSETS) else named
        once = ", copies counted once" if sum(n_songs) > sum(held) and not group else ""
        what = f"too few {thing} in a class for {into}{once}: {', '.join(small[:8])}{more}"
        remedy = (
            f"Each class needs {len(subsets)} different ones: add some, merge classes, or leave rare ones out with "
            "`min_songs` or `where`."
        )
        raise LabelError(column, what, remedy)
