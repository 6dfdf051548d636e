"""Dividing songs into train, validation and test, or into folds: at random and stratified, or as a column says."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from fractions import Fraction
from operator import itemgetter

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_training.errors import LabelError, some
from songbag_training.songs.labels import Labels, known_values, labelled_songs, require_columns, require_learnable
from songbag_training.splits.groups import find_units, likely_groups
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

Signature = tuple[tuple[int, int], ...]
"""(class, number of songs) of a unit, ordered by class: units with equal signatures can replace each other."""


def make_split(
    labels: Labels,
    column: str,
    *,
    folds: int | None = None,
    fold_column: str | None = None,
    group: Sequence[str] = (),
    seed: int = 0,
) -> Split:
    """Divide songs into train (70 %), validation (15 %) and test (15 %), or into folds.

    Every subset gets its share of every class. Byte-identical recordings, and songs with a common value in one of the
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
    if fold_column is not None:
        if folds is not None:
            what = f"{folds} folds are asked for, and the folds of the column {fold_column!r} given"
            raise UsageError(what, place="folds", remedy="Leave out one of the two.")
        return _given_split(labels, column, fold_column, group)
    if folds is not None and folds < 2:
        raise UsageError(f"{folds} folds divide nothing", place="folds", remedy="Give 2 or more.")
    if folds is not None and folds > len(labels.names):
        what = f"there are {len(labels.names):,} labelled songs for {folds:,} folds"
        raise UsageError(what, place="folds", remedy="Give fewer folds.")
    shares = SHARES if folds is None else {str(number): Fraction(1, folds) for number in range(1, folds + 1)}
    return _deal(labels, column, shares, seed=seed, group=group)


def _given_split(labels: Labels, column: str, fold_column: str, group: Sequence[str]) -> Split:
    require_columns(labels.songs.schema, (fold_column,), "fold_column")
    require_columns(labels.songs.schema, group, "group")
    values, known = known_values(labels.songs[fold_column].combine_chunks())
    ids: list[str] = labels.songs["song_id"].to_pylist()
    without = [ids[row] for row in np.flatnonzero(~known)]
    if without:
        what = f"{len(without)} labelled songs have no fold in {fold_column!r}: {some(without)}"
        raise UsageError(what, place="fold_column", remedy="Give them one, or leave them out with `where`.")
    names = np.array([*map(str, values.dictionary.to_pylist())], object)
    split = Split(tuple(ids), tuple(labels.names), tuple(names[values.indices.to_numpy()].tolist()), tuple(group))
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
) -> tuple[Labels, Split]:
    """Return the songs to train on and their split: the saved one if it is given, else a new one, see `make_split`.

    `as_folds` says whether the split must consist of folds, or must not; None allows both.

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
    labels = labelled_songs(store, column, where, also | kept)
    made = saved or make_split(labels, column, folds=folds, fold_column=fold_column, group=group, seed=seed)
    if as_folds is not None and made.is_folds != as_folds:
        what, remedy = "train, validation and test, not of folds", "`songbag train` takes it; make folds with `folds`."
        if made.is_folds:
            what = f"folds ({some(made.names)}), not of train, validation and test"
            remedy = "Use it with `songbag cross-validate`, or make one without folds."
        raise UsageError(f"the split consists of {what}", place="split", remedy=remedy)
    if saved is None:
        return labels, made
    labels, applied = apply_split(saved, labels, store.songs(columns=["song_id"], arrow=True))
    require_learnable(labels, column)
    if not saved.is_folds:
        check_trainable(applied, labels.classes, column)
    return labels, applied


def carve_validation(split: Split, labels: Labels, column: str, *, seed: int) -> Split:
    """Move 15 % of the training songs to validation, as whole units, each class with its share.

    Raises
    ------
    LabelError
        If a class has fewer than two units among the training songs.
    """
    rows = split.rows_of("train")
    shares = {"validation": Fraction(15, 100), "train": Fraction(85, 100)}
    subsets = np.array(split.subsets, object)
    subsets[rows] = _deal(labels.take(rows), column, shares, seed=seed, group=split.group).subsets
    return dataclasses.replace(split, subsets=tuple(subsets.tolist()))


def _deal(labels: Labels, column: str, shares: dict[str, Fraction], *, seed: int, group: Sequence[str]) -> Split:
    require_columns(labels.songs.schema, group, "group")
    units = find_units(labels.songs, group)
    members = labels.task.pairs(labels.names)
    _check_counts(labels, column, members, units, list(shares), group)
    ids: list[str] = labels.songs["song_id"].to_pylist()
    dealt = stratify(ids, members, units, list(shares.values()), seed=seed)
    subsets = np.array(list(shares), object)[dealt].tolist()
    split = Split(tuple(ids), tuple(labels.names), tuple(subsets), tuple(group))
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
    small = [f"{name!r} has {n}" for name, n in zip(labels.classes, held, strict=True) if n < len(subsets)]
    if small:
        more = f" and {len(small) - 8} more classes too" if len(small) > 8 else ""
        thing = f"recordings that differ in {' and '.join(group)}" if group else "recordings"
        named = ", ".join(sorted(subsets, key=subset_order))
        into = f"{len(subsets)} folds" if set(subsets).isdisjoint(SUBSETS) else named
        what = f"too few {thing} in a class for {into}: {', '.join(small[:8])}{more}"
        remedy = (
            f"Each class needs {len(subsets)} different ones: add some, merge classes, or leave it out with `where`."
        )
        raise LabelError(column, what, remedy)


def stratify(
    song_ids: Sequence[str], members: tuple[Ints, Ints], units: Ints, shares: Sequence[Fraction], *, seed: int
) -> Ints:
    """Deal songs to subsets, whole units at a time, each subset with its share of each class.

    Units with the same number of songs of the same classes are dealt together, by their shares, in a random order.
    What is left over goes one by one to the subset that wants its classes most, rare classes and large units first.
    This is the iterative stratification of K. Sechidis, G. Tsoumakas, I. Vlahavas, "On the stratification of
    multi-label data" (ECML PKDD 2011), for units instead of songs. A class with at least as many units as there are
    subsets comes into every subset, as far as units of several classes allow it. A million songs take a second; if all
    units differ, a million takes some 20 seconds.

    Parameters
    ----------
    song_ids : sequence of str
        Ascending. The random order depends only on them and the seed.
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
    order = np.argsort(_lots(seed, song_ids, units), kind="stable")
    kinds, signatures = _kinds_of_units(members, units, order)
    n_units = np.bincount(kinds)
    dealer = _Dealer(signatures, n_units, shares)
    subset_of = np.empty(len(order), np.int64)
    left: list[tuple[tuple[int, int], int, Signature]] = []
    alike = np.split(order[np.argsort(kinds, kind="stable")], np.cumsum(n_units)[:-1])
    for signature, same in zip(signatures, alike, strict=True):
        counts = dealer.take_floors(signature, len(same))
        n_dealt = sum(counts)
        subset_of[same[:n_dealt]] = np.repeat(np.arange(len(shares)), counts)
        left += [(dealer.precedence(signature), unit, signature) for unit in same[n_dealt:].tolist()]
    for _, unit, signature in sorted(left, key=itemgetter(0)):
        subset_of[unit] = dealer.take_one(signature)
    return subset_of[units]


def _lots(seed: int, song_ids: Sequence[str], units: Ints) -> npt.NDArray[np.uint64]:
    """Return a random number for each unit, made from the seed and its first song's id."""
    _, first = np.unique(units, return_index=True)
    digests = [hashlib.sha256(f"{seed}:{song_ids[row]}".encode()).digest() for row in first.tolist()]
    return np.frombuffer(b"".join(digests), ">u8")[::4].astype(np.uint64)


def _kinds_of_units(members: tuple[Ints, Ints], units: Ints, order: Ints) -> tuple[Ints, list[Signature]]:
    """Return the kind of each unit in `order`, numbered in this order, and the signature of each kind.

    Songs without a class count as members of one more class.
    """
    rows, numbers = members
    none = np.flatnonzero(np.bincount(rows, minlength=len(units)) == 0)
    n_classes = int(numbers.max(initial=-1)) + 2
    owners = np.concatenate([units[rows], units[none]])
    numbers = np.concatenate([numbers, np.full(len(none), n_classes - 1)])
    pairs, counts = np.unique(owners * n_classes + numbers, return_counts=True)
    owners, numbers = np.divmod(pairs, n_classes)
    entries = np.stack([numbers, counts], axis=1)
    # As bytes, because Arrow finds equal byte strings of any length at once.
    ends = np.append(0, np.cumsum(np.bincount(owners))) * entries.itemsize * 2
    texts = pa.Array.from_buffers(pa.large_binary(), len(order), [None, pa.py_buffer(ends), pa.py_buffer(entries)])
    found = texts.take(pa.array(order)).dictionary_encode()
    tables = (np.frombuffer(text, np.int64).reshape(-1, 2).tolist() for text in found.dictionary.to_pylist())
    return found.indices.to_numpy().astype(np.int64), [tuple((number, n) for number, n in table) for table in tables]


class _Dealer:
    """Keeps how many songs of every class each subset still wants, and gives units to subsets."""

    def __init__(self, signatures: Sequence[Signature], n_units: Ints, shares: Sequence[Fraction]) -> None:
        kinds = zip(signatures, n_units.tolist(), strict=True)
        numbers, n_songs, n = np.array([(number, own * n, n) for kind, n in kinds for number, own in kind]).T
        self._songs_of: list[int] = np.bincount(numbers, n_songs).astype(int).tolist()
        self._units_left: list[int] = np.bincount(numbers, n).astype(int).tolist()
        self._shares = [_shares_of_class(n_units, shares) for n_units in self._units_left]
        self._subsets = range(len(shares))
        self._wanted: list[list[float]] = [
            [float(own[subset] * n_songs) for own, n_songs in zip(self._shares, self._songs_of, strict=True)]
            for subset in self._subsets
        ]
        self._total: int = sum(self._songs_of)
        self._wanted_in_all: list[float] = [float(share * self._total) for share in shares]
        self._present = [[False] * len(self._songs_of) for _ in self._subsets]

    def precedence(self, signature: Signature) -> tuple[int, int]:
        """Return the key that units are ordered by: rare classes first, then large units."""
        return min(self._songs_of[number] for number, _ in signature), -sum(n_songs for _, n_songs in signature)

    def take_floors(self, signature: Signature, n_units: int) -> list[int]:
        """Give each subset its share of equal units, rounded down; return how many each got."""
        rarest = min(signature, key=lambda pair: self._songs_of[pair[0]])[0]
        counts = [share.numerator * n_units // share.denominator for share in self._shares[rarest]]
        for subset, count in enumerate(counts):
            if count:
                self._take(signature, subset, count)
        return counts

    def take_one(self, signature: Signature) -> int:
        """Give one unit to the subset that wants it most, or first to one that would otherwise lack a class."""
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
        """Return the subsets that lack a class which has no more units left than subsets that lack it."""
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
    """Return the share of each subset in a class: at least one unit, if there are as many units as subsets."""
    if n_units < len(shares):
        return list(shares)
    own = [max(share, Fraction(1, n_units)) for share in shares]
    own[own.index(max(own))] -= sum(own) - 1
    return own
