"""Dealing units of songs to parts so that every part has its share of every class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from songbag_training.types import Ints

Signature = tuple[tuple[int, int], ...]
"""(class, number of songs) of a unit, by class: units of one signature can stand for each other."""


def stratify(
    song_ids: Sequence[str], members: tuple[Ints, Ints], units: Ints, shares: Sequence[Fraction], *, seed: int
) -> Ints:
    """Deal songs to parts, whole units at a time, each part with its share of each class.

    Units that stand for each other (the same number of songs of the same classes) are dealt by their shares, in an
    order drawn by lot; what these shares leave over, and units unlike any other, go one by one to where the songs of
    their classes are wanted most, rare classes and large units first: the iterative stratification of K. Sechidis,
    G. Tsoumakas, I. Vlahavas, "On the stratification of multi-label data" (ECML PKDD 2011), for units instead of songs.
    A class with at least as many units as there are parts comes into every part, as far as units of several classes
    allow it. A million songs take a second; units unlike any other, some 20 seconds a million.

    Parameters
    ----------
    song_ids : sequence of str
        Ascending. The lots depend on them and the seed alone.
    members : tuple of two int64 arrays
        Rows and classes, numbered from 0: every pair of a song and a class that it is of.
    units : int64, shape (n,)
        See `songbag_training.splits.groups.find_units`.
    shares : sequence of Fraction
        Of each part; they sum to 1.
    seed : int
        Another seed gives another order.

    Returns
    -------
    parts : int64, shape (n,)
        Number of each song's part.
    """
    kinds, signatures = _kinds_of_units(members, units)
    dealer = _Dealer(signatures, np.bincount(kinds), shares)
    part_of = np.empty(len(kinds), np.int64)
    left: list[int] = []
    for same in _by_kind(kinds, np.argsort(_lots(seed, song_ids, units), kind="stable")):
        start = 0
        for part, count in enumerate(dealer.take_floors(signatures[kinds[same[0]]], len(same))):
            part_of[same[start : start + count]] = part
            start += count
        left += same[start:].tolist()
    left.sort(key=lambda unit: dealer.precedence(signatures[kinds[unit]]))
    for unit in left:
        part_of[unit] = dealer.take_one(signatures[kinds[unit]])
    return part_of[units]


def _lots(seed: int, song_ids: Sequence[str], units: Ints) -> npt.NDArray[np.uint64]:
    """Return a number by lot for each unit: of the seed and its first song's id."""
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

    Songs without a class (multi-label) count as of a class of their own.
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
    """Keeps what every part still wants of every class, and gives it."""

    def __init__(self, signatures: Sequence[Signature], n_units: Ints, shares: Sequence[Fraction]) -> None:
        n_classes = 1 + max(number for signature in signatures for number, _ in signature)
        self._songs_of = [0] * n_classes
        self._units_left = [0] * n_classes
        for signature, n in zip(signatures, n_units.tolist(), strict=True):
            for number, n_songs in signature:
                self._songs_of[number] += n_songs * n
                self._units_left[number] += n
        self._shares = [_shares_of_class(n_units, shares) for n_units in self._units_left]
        self._parts = range(len(shares))
        self._wanted = [
            [float(own[part] * n_songs) for own, n_songs in zip(self._shares, self._songs_of, strict=True)]
            for part in self._parts
        ]
        self._total = sum(self._songs_of)
        self._wanted_in_all = [float(share * self._total) for share in shares]
        self._present = [[False] * n_classes for _ in self._parts]

    def precedence(self, signature: Signature) -> tuple[int, int]:
        """Return by what units are ordered: rare classes first, then large units."""
        return min(self._songs_of[number] for number, _ in signature), -sum(n_songs for _, n_songs in signature)

    def take_floors(self, signature: Signature, n_units: int) -> list[int]:
        """Give each part what it is to have of equal units whatever else comes; return how many."""
        rarest = min(signature, key=lambda pair: self._songs_of[pair[0]])[0]
        counts = [share.numerator * n_units // share.denominator for share in self._shares[rarest]]
        for part, count in enumerate(counts):
            if count:
                self._take(signature, part, count)
        return counts

    def take_one(self, signature: Signature) -> int:
        """Give one unit to the part that wants it most; before that, to one that would else lack a class."""
        candidates = self._urgent(signature) or self._parts
        # Rounded, so that parts that want the same are equal on every machine, and the first of them is taken.
        part = max(candidates, key=lambda part: round(self._desire(signature, part), 9))
        self._take(signature, part, 1)
        return part

    def _desire(self, signature: Signature, part: int) -> float:
        wanted, songs_of = self._wanted[part], self._songs_of
        own = sum(n_songs * wanted[number] / songs_of[number] for number, n_songs in signature)
        return own + sum(n_songs for _, n_songs in signature) * self._wanted_in_all[part] / self._total

    def _urgent(self, signature: Signature) -> list[int]:
        """Return the parts that lack a class of which no more units are left than parts that lack it."""
        urgent: list[int] = []
        for number, _ in signature:
            lacking = [part for part in self._parts if not self._present[part][number]]
            if lacking and self._units_left[number] <= len(lacking):
                urgent += lacking
        return urgent

    def _take(self, signature: Signature, part: int, n_units: int) -> None:
        for number, n_songs in signature:
            self._wanted[part][number] -= n_songs * n_units
            self._wanted_in_all[part] -= n_songs * n_units
            self._units_left[number] -= n_units
            self._present[part][number] = True


def _shares_of_class(n_units: int, shares: Sequence[Fraction]) -> list[Fraction]:
    """Return the share of each part in a class: at least one unit, where there are as many units as parts."""
    if n_units < len(shares):
        return list(shares)
    own = [max(share, Fraction(1, n_units)) for share in shares]
    own[own.index(max(own))] -= sum(own) - 1
    return own
