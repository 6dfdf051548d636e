"""Dividing songs into parts or folds: by lot, or as a column of the index says."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_training.errors import LabelError, some
from songbag_training.songs.labels import Labels, known_values, require_columns, require_learnable
from songbag_training.splits.groups import find_units
from songbag_training.splits.split import PARTS, Split, apply_split, balance, check_leaks, check_trainable, part_order
from songbag_training.splits.stratify import stratify
from songbag_training.types import Ints

SHARES: dict[str, Fraction] = {"test": Fraction(15, 100), "validation": Fraction(15, 100), "train": Fraction(70, 100)}
"""Of the songs; in the order in which songs are dealt."""


def split_songs(labels: Labels, column: str, *, seed: int, group: Sequence[str] = ()) -> Split:
    """Divide songs into train (70 %), validation (15 %) and test (15 %), each with its share of every class.

    Byte-identical recordings, and songs with a value in common in one of the columns of `group`, stay together. Which
    songs go where depends on the seed and on their own song ids, not on the order of the rows.

    Parameters
    ----------
    labels : Labels
        The songs and their classes.
    column : str
        Where the labels came from, for messages.
    seed : int
        Another seed gives another split.
    group : sequence of str
        Columns of the index, such as artist or album.

    Raises
    ------
    LabelError
        If a class has too few units to be in every part.
    UsageError
        If there is no such column to group by.
    """
    return _deal(labels, column, SHARES, seed=seed, group=group)


def make_folds(labels: Labels, column: str, n_folds: int, *, seed: int, group: Sequence[str] = ()) -> Split:
    """Divide songs into folds 1 to `n_folds` of the same size, each with its share of every class; see `split_songs`.

    Raises
    ------
    LabelError
        If a class has fewer units than there are folds.
    UsageError
        If there are fewer than two folds, or no such column to group by.
    """
    if n_folds < 2:
        raise UsageError(f"{n_folds} folds divide nothing", place="--folds", remedy="Give 2 or more.")
    shares = {str(number): Fraction(1, n_folds) for number in range(1, n_folds + 1)}
    return _deal(labels, column, shares, seed=seed, group=group)


def given_split(labels: Labels, column: str, fold_column: str, *, group: Sequence[str] = ()) -> Split:
    """Take each song's fold, or its part if these are train, validation and test, from a column of the index.

    Raises
    ------
    UsageError
        If there is no such column, it has one value only, or a song has none.
    LeakError
        If copies of a recording, or songs of a group, are on two sides.
    LabelError
        If of given parts nothing can be learned.
    """
    require_columns(labels.songs.schema, (fold_column,), "--fold-column")
    require_columns(labels.songs.schema, group, "--group")
    values, known = known_values(labels.songs[fold_column].combine_chunks())
    ids: list[str] = labels.songs["song_id"].to_pylist()
    without = [ids[row] for row in np.flatnonzero(~known)]
    if without:
        what = f"{len(without)} labelled songs have no fold in {fold_column!r}: {some(without)}"
        raise UsageError(what, place="--fold-column", remedy="Give them one, or leave them out with --where.")
    names = np.array([*map(str, values.dictionary.to_pylist())], object)
    parts = names[values.indices.to_numpy()].tolist()
    split = Split(tuple(ids), tuple(labels.names), tuple(parts), tuple(group))
    if len(split.names) < 2:
        what = f"all songs have the same fold in {fold_column!r}: {split.parts[0]!r}"
        raise UsageError(what, place="--fold-column", remedy="It takes two folds or more.")
    check_leaks(split, labels.songs)
    if not split.is_folds:
        check_trainable(split, labels.classes, column)
    return split


def make_split(
    labels: Labels,
    column: str,
    *,
    folds: int | None = None,
    fold_column: str | None = None,
    group: Sequence[str] = (),
    seed: int = 0,
) -> Split:
    """Divide songs as `songbag split` does: into folds, as a column says, or into train, validation and test.

    Raises
    ------
    UsageError
        If both folds are asked for and given.
    """
    if folds is not None and fold_column is not None:
        what = f"{folds} folds are asked for, and the folds of the column {fold_column!r} given"
        raise UsageError(what, place="--folds", remedy="Leave out one of the two.")
    if fold_column is not None:
        return given_split(labels, column, fold_column, group=group)
    if folds is not None:
        return make_folds(labels, column, folds, seed=seed, group=group)
    return split_songs(labels, column, seed=seed, group=group)


def choose_split(
    store: SongStore, labels: Labels, column: str, split: Split | None, *, group: Sequence[str], seed: int
) -> tuple[Labels, Split]:
    """Return the songs to train on and their split: the saved one where there is one, else a new one.

    Raises
    ------
    LabelError
        If a class cannot be learned, or a part has no song.
    LeakError, SplitMismatch
        If the saved split does not fit the store, see `songbag_training.splits.split.apply_split`.
    UsageError
        If the saved split consists of folds, or columns to group by are given beside it.
    """
    if split is None:
        return labels, split_songs(labels, column, seed=seed, group=group)
    if split.is_folds:
        what = f"the split consists of folds ({some(split.names)}), not of train, validation and test"
        raise UsageError(
            what, place="--split", remedy="Use it with `songbag cross-validate`, or make one without folds."
        )
    if group:
        raise UsageError("the saved split has its groups already", place="--group", remedy="Leave out one of the two.")
    labels, split = apply_split(split, labels, store.select_songs(columns=["song_id"]))
    require_learnable(labels, column)
    check_trainable(split, labels.classes, column)
    return labels, split


def carve_validation(split: Split, labels: Labels, column: str, *, seed: int) -> Split:
    """Move 15 % of the training songs to validation, whole units, each class with its share.

    Raises
    ------
    LabelError
        If a class has fewer than two units among the training songs.
    """
    rows = split.rows_of("train")
    songs = labels.take(rows)
    shares = {"validation": Fraction(15, 100), "train": Fraction(85, 100)}
    parts = list(split.parts)
    for row, part in zip(rows, _deal(songs, column, shares, seed=seed, group=split.group).parts, strict=True):
        parts[row] = part
    return dataclasses.replace(split, parts=tuple(parts))


def _deal(labels: Labels, column: str, shares: dict[str, Fraction], *, seed: int, group: Sequence[str]) -> Split:
    require_columns(labels.songs.schema, group, "--group")
    units = find_units(labels.songs, group)
    members = labels.members()
    _check_counts(labels, column, members, units, list(shares), group)
    ids: list[str] = labels.songs["song_id"].to_pylist()
    dealt = stratify(ids, members, units, list(shares.values()), seed=seed)
    parts = np.array(list(shares), object)[dealt].tolist()
    split = Split(tuple(ids), tuple(labels.names), tuple(parts), tuple(group))
    _require_every_part(split, labels.classes, column, list(shares))
    check_leaks(split, labels.songs)
    return split


def _check_counts(
    labels: Labels, column: str, members: tuple[Ints, Ints], units: Ints, parts: list[str], group: Sequence[str]
) -> None:
    """Refuse classes with fewer units than there are parts."""
    rows, numbers = members
    n_units = int(units.max()) + 1
    # Counted too, for then they are sorted: without, numpy 2.4 hashes them, in thirty times the time.
    pairs, _ = np.unique(numbers * n_units + units[rows], return_counts=True)
    held = np.bincount(pairs // n_units, minlength=len(labels.classes))
    small = {name: n for name, n in zip(labels.classes, held.tolist(), strict=True) if n < len(parts)}
    if not small:
        return
    named = ", ".join(f"{name!r} has {n}" for name, n in list(small.items())[:8])
    more = f" and {len(small) - 8} more classes too" if len(small) > 8 else ""
    thing = f"recordings that differ in {' and '.join(group)}" if group else "recordings"
    into = f"{len(parts)} folds" if set(parts).isdisjoint(PARTS) else ", ".join(sorted(parts, key=part_order))
    raise LabelError(
        column,
        f"too few {thing} in a class for {into}: {named}{more}",
        f"Each class needs {len(parts)} different ones or more: add some, merge classes, or leave it out with --where.",
    )


def _require_every_part(split: Split, classes: Sequence[str], column: str, parts: Sequence[str]) -> None:
    """Refuse a split in which a part has no song of a class.

    Raises
    ------
    LabelError
        Naming class and part, with counts.
    """
    table = balance(split, classes)
    for name in classes:
        empty = [part for part in parts if table[name].get(part, 0) == 0]
        if empty:
            counts = ", ".join(f"{table[name].get(part, 0)} in {part}" for part in parts)
            raise LabelError(
                column,
                f"no song of the class {name!r} came into {empty[0]!r} ({counts})",
                "Its songs hang together in large groups: try another --seed, group by less, or use fewer folds.",
            )
