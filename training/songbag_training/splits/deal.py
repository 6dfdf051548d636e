"""Dividing songs into train, validation and test, or into folds: by lot and stratified, or as a column says."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_training.errors import LabelError, some
from songbag_training.songs.labels import Labels, known_values, require_columns, require_learnable
from songbag_training.splits.groups import find_units
from songbag_training.splits.split import (
    SUBSETS,
    Split,
    apply_split,
    balance,
    check_leaks,
    check_trainable,
    subset_order,
)
from songbag_training.types import Ints

SHARES: dict[str, Fraction] = {"test": Fraction(15, 100), "validation": Fraction(15, 100), "train": Fraction(70, 100)}
"""Of the songs; in the order in which songs are dealt."""

Signature = tuple[tuple[int, int], ...]
"""(class, number of songs) of a unit, by class: units of one signature can stand for each other."""


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
        If a class has too few units to be in every subset.
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
        raise UsageError(f"{n_folds} folds divide nothing", place="folds", remedy="Give 2 or more.")
    shares = {str(number): Fraction(1, n_folds) for number in range(1, n_folds + 1)}
    return _deal(labels, column, shares, seed=seed, group=group)


def given_split(labels: Labels, column: str, fold_column: str, *, group: Sequence[str] = ()) -> Split:
    """Take each song's fold, or its subset if these are train, validation and test, from a column of the index.

    Raises
    ------
    UsageError
        If there is no such column, it has one value only, or a song has none.
    LeakError
        If copies of a recording, or songs of a group, are on two sides.
    LabelError
        If of given subsets nothing can be learned.
    """
    require_columns(labels.songs.schema, (fold_column,), "fold_column")
    require_columns(labels.songs.schema, group, "group")
    values, known = known_values(labels.songs[fold_column].combine_chunks())
    ids: list[str] = labels.songs["song_id"].to_pylist()
    without = [ids[row] for row in np.flatnonzero(~known)]
    if without:
        what = f"{len(without)} labelled songs have no fold in {fold_column!r}: {some(without)}"
        raise UsageError(what, place="fold_column", remedy="Give them one, or leave them out with `where`.")
    names = np.array([*map(str, values.dictionary.to_pylist())], object)
    subsets = names[values.indices.to_numpy()].tolist()
    split = Split(tuple(ids), tuple(labels.names), tuple(subsets), tuple(group))
    if len(split.names) < 2:
        what = f"all songs have the same fold in {fold_column!r}: {split.subsets[0]!r}"
        raise UsageError(what, place="fold_column", remedy="It takes two folds or more.")
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
        raise UsageError(what, place="folds", remedy="Leave out one of the two.")
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
        If a class cannot be learned, or a subset has no song.
    LeakError, SplitMismatch
        If the saved split does not fit the store, see `songbag_training.splits.split.apply_split`.
    UsageError
        If the saved split consists of folds, or columns to group by are given beside it.
    """
    if split is None:
        return labels, split_songs(labels, column, seed=seed, group=group)
    if split.is_folds:
        what = f"the split consists of folds ({some(split.names)}), not of train, validation and test"
        raise UsageError(what, place="split", remedy="Use it with `songbag cross-validate`, or make one without folds.")
    if group:
        raise UsageError("the saved split has its groups already", place="group", remedy="Leave out one of the two.")
    labels, split = apply_split(split, labels, store.songs(columns=["song_id"], arrow=True))
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
    subsets = list(split.subsets)
    for row, subset in zip(rows, _deal(songs, column, shares, seed=seed, group=split.group).subsets, strict=True):
        subsets[row] = subset
    return dataclasses.replace(split, subsets=tuple(subsets))


def _deal(labels: Labels, column: str, shares: dict[str, Fraction], *, seed: int, group: Sequence[str]) -> Split:
    require_columns(labels.songs.schema, group, "group")
    units = find_units(labels.songs, group)
    members = labels.task.pairs(labels.names)
    _check_counts(labels, column, members, units, list(shares), group)
    ids: list[str] = labels.songs["song_id"].to_pylist()
    dealt = stratify(ids, members, units, list(shares.values()), seed=seed)
    subsets = np.array(list(shares), object)[dealt].tolist()
    split = Split(tuple(ids), tuple(labels.names), tuple(subsets), tuple(group))
    _require_every_subset(split, labels.classes, column, list(shares))
    check_leaks(split, labels.songs)
    return split


def _check_counts(
    labels: Labels, column: str, members: tuple[Ints, Ints], units: Ints, subsets: list[str], group: Sequence[str]
) -> None:
    """Refuse classes with fewer units than there are subsets."""
    rows, numbers = members
    n_units = int(units.max()) + 1
    # Counted too, for then they are sorted: without, numpy 2.4 hashes them, in thirty times the time.
    pairs, _ = np.unique(numbers * n_units + units[rows], return_counts=True)
    held = np.bincount(pairs // n_units, minlength=len(labels.classes))
    small = {name: n for name, n in zip(labels.classes, held.tolist(), strict=True) if n < len(subsets)}
    if not small:
        return
    named = ", ".join(f"{name!r} has {n}" for name, n in list(small.items())[:8])
    more = f" and {len(small) - 8} more classes too" if len(small) > 8 else ""
    thing = f"recordings that differ in {' and '.join(group)}" if group else "recordings"
    into = f"{len(subsets)} folds" if set(subsets).isdisjoint(SUBSETS) else ", ".join(sorted(subsets, key=subset_order))
    raise LabelError(
        column,
        f"too few {thing} in a class for {into}: {named}{more}",
        f"Each class needs {len(subsets)} different ones: add some, merge classes, or leave it out with `where`.",
    )


def _require_every_subset(split: Split, classes: Sequence[str], column: str, subsets: Sequence[str]) -> None:
    """Refuse a split in which a subset has no song of a class, with counts."""
    table = balance(split, classes)
    for name in classes:
        empty = [subset for subset in subsets if table[name].get(subset, 0) == 0]
        if empty:
            counts = ", ".join(f"{table[name].get(subset, 0)} in {subset}" for subset in subsets)
            raise LabelError(
                column,
                f"no song of the class {name!r} came into {empty[0]!r} ({counts})",
                "Its songs hang together in large groups: try another `seed`, group by less, or use fewer folds.",
            )


def stratify(
    song_ids: Sequence[str], members: tuple[Ints, Ints], units: Ints, shares: Sequence[Fraction], *, seed: int
) -> Ints:
    """Deal songs to subsets, whole units at a time, each subset with its share of each class.

    Units that stand for each other (the same number of songs of the same classes) are dealt by their shares, in an
    random order; what these shares leave over, and units unlike any other, go one by one to where the songs of
    their classes are wanted most, rare classes and large units first: the iterative stratification of K. Sechidis,
    G. Tsoumakas, I. Vlahavas, "On the stratification of multi-label data" (ECML PKDD 2011), for units instead of songs.
    A class with at least as many units as there are subsets comes into every subset, as far as units of several classes
    allow it. A million songs take a second; units unlike any other, some 20 seconds a million.

    Parameters
    ----------
    song_ids : sequence of str
        Ascending. The random order depends on them and the seed only.
    members : tuple of two int64 arrays
        Rows and classes, numbered from 0: every pair of a song and a class that it is of.
    units : int64, shape (n,)
        See `songbag_training.splits.groups.find_units`.
    shares : sequence of Fraction
        Of each subset; they sum to 1.
    seed : int
        Another seed gives another order.

    Returns
    -------
    subsets : int64, shape (n,)
        Number of each song's subset.
    """
    kinds, signatures = _kinds_of_units(members, units)
    dealer = _Dealer(signatures, np.bincount(kinds), shares)
    subset_of = np.empty(len(kinds), np.int64)
    left: list[int] = []
    for same in _by_kind(kinds, np.argsort(_lots(seed, song_ids, units), kind="stable")):
        start = 0
        for subset, count in enumerate(dealer.take_floors(signatures[kinds[same[0]]], len(same))):
            subset_of[same[start : start + count]] = subset
            start += count
        left += same[start:].tolist()
    left.sort(key=lambda unit: dealer.precedence(signatures[kinds[unit]]))
    for unit in left:
        subset_of[unit] = dealer.take_one(signatures[kinds[unit]])
    return subset_of[units]


def _lots(seed: int, song_ids: Sequence[str], units: Ints) -> npt.NDArray[np.uint64]:
    """Return a random number for each unit, made from the seed and its first song's id."""
    _, first = np.unique(units, return_index=True)
    digests = [hashlib.sha256(f"{seed}:{song_ids[row]}".encode()).digest() for row in first.tolist()]
    return np.frombuffer(b"".join(digests), ">u8")[::4].astype(np.uint64)


def _by_kind(kinds: Ints, order: Ints) -> Iterator[Ints]:
    """Yield the units of each kind in their order; the kind of the first unit first."""
    ordered = kinds[order]
    _, first, ranks = np.unique(ordered, return_index=True, return_inverse=True)
    grouped = order[np.argsort(first[ranks], kind="stable")]
    yield from np.split(grouped, np.cumsum(np.bincount(ranks)[np.argsort(first)])[:-1])


def _kinds_of_units(members: tuple[Ints, Ints], units: Ints) -> tuple[Ints, list[Signature]]:
    """Return the kind of each unit, and the signature of each kind.

    Songs without a class count as of a class of their own.
    """
    rows, numbers = members
    n_classes = int(numbers.max(initial=-1)) + 1
    none = np.flatnonzero(np.bincount(rows, minlength=len(units)) == 0)
    owners = np.concatenate([units[rows], units[none]])
    pairs = owners * (n_classes + 1) + np.concatenate([numbers, np.full(len(none), n_classes)])
    pairs, counts = np.unique(pairs, return_counts=True)
    owners, numbers = np.divmod(pairs, n_classes + 1)
    entries, codes = np.unique(counts * (n_classes + 1) + numbers, return_inverse=True)
    lengths = np.bincount(owners)
    starts = np.cumsum(lengths) - lengths
    kinds, signatures = np.empty(len(lengths), np.int64), list[Signature]()
    for length in np.unique(lengths).tolist():
        own = np.flatnonzero(lengths == length)
        table = codes[starts[own][:, None] + np.arange(length)]
        first, inverse = _distinct_rows(table)
        kinds[own] = len(signatures) + inverse
        for row in entries[table[first]].tolist():
            signatures.append(tuple((entry % (n_classes + 1), entry // (n_classes + 1)) for entry in row))
    return kinds, signatures


def _distinct_rows(table: Ints) -> tuple[Ints, Ints]:
    """Return where each different row stands first, and the number of each row among these."""
    numbers = np.zeros(len(table), np.int64)
    for column in table.T:
        _, first, numbers = np.unique(
            numbers * (int(column.max()) + 1) + column, return_index=True, return_inverse=True
        )
    return first, numbers


class _Dealer:
    """Keeps what every subset still wants of every class, and gives it."""

    def __init__(self, signatures: Sequence[Signature], n_units: Ints, shares: Sequence[Fraction]) -> None:
        n_classes = 1 + max(number for signature in signatures for number, _ in signature)
        self._songs_of = [0] * n_classes
        self._units_left = [0] * n_classes
        for signature, n in zip(signatures, n_units.tolist(), strict=True):
            for number, n_songs in signature:
                self._songs_of[number] += n_songs * n
                self._units_left[number] += n
        self._shares = [_shares_of_class(n_units, shares) for n_units in self._units_left]
        self._subsets = range(len(shares))
        self._wanted = [
            [float(own[subset] * n_songs) for own, n_songs in zip(self._shares, self._songs_of, strict=True)]
            for subset in self._subsets
        ]
        self._total = sum(self._songs_of)
        self._wanted_in_all = [float(share * self._total) for share in shares]
        self._present = [[False] * n_classes for _ in self._subsets]

    def precedence(self, signature: Signature) -> tuple[int, int]:
        """Return by what units are ordered: rare classes first, then large units."""
        return min(self._songs_of[number] for number, _ in signature), -sum(n_songs for _, n_songs in signature)

    def take_floors(self, signature: Signature, n_units: int) -> list[int]:
        """Give each subset what it is to have of equal units whatever else comes; return how many."""
        rarest = min(signature, key=lambda pair: self._songs_of[pair[0]])[0]
        counts = [share.numerator * n_units // share.denominator for share in self._shares[rarest]]
        for subset, count in enumerate(counts):
            if count:
                self._take(signature, subset, count)
        return counts

    def take_one(self, signature: Signature) -> int:
        """Give one unit to the subset that wants it most; before that, to one that would else lack a class."""
        candidates = self._urgent(signature) or self._subsets
        # Rounded, so that subsets that want the same are equal on every machine, and the first of them is taken.
        subset = max(candidates, key=lambda subset: round(self._desire(signature, subset), 9))
        self._take(signature, subset, 1)
        return subset

    def _desire(self, signature: Signature, subset: int) -> float:
        wanted, songs_of = self._wanted[subset], self._songs_of
        own = sum(n_songs * wanted[number] / songs_of[number] for number, n_songs in signature)
        return own + sum(n_songs for _, n_songs in signature) * self._wanted_in_all[subset] / self._total

    def _urgent(self, signature: Signature) -> list[int]:
        """Return the subsets that lack a class of which no more units are left than subsets that lack it."""
        urgent: list[int] = []
        for number, _ in signature:
            lacking = [subset for subset in self._subsets if not self._present[subset][number]]
            if lacking and self._units_left[number] <= len(lacking):
                urgent += lacking
        return urgent

    def _take(self, signature: Signature, subset: int, n_units: int) -> None:
        for number, n_songs in signature:
            self._wanted[subset][number] -= n_songs * n_units
            self._wanted_in_all[subset] -= n_songs * n_units
            self._units_left[number] -= n_units
            self._present[subset][number] = True


def _shares_of_class(n_units: int, shares: Sequence[Fraction]) -> list[Fraction]:
    """Return the share of each subset in a class: at least one unit, where there are as many units as subsets."""
    if n_units < len(shares):
        return list(shares)
    own = [max(share, Fraction(1, n_units)) for share in shares]
    own[own.index(max(own))] -= sum(own) - 1
    return own
