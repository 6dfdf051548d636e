"""Dealing units of songs to parts so that every part has its share of every class."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from itertools import chain

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

Signature = tuple[tuple[int, int], ...]
"""(class, number of songs) of a unit, by class: units of one signature can stand for each other."""


def stratify(
    song_ids: Sequence[str], classes: Sequence[Sequence[int]], units: Ints, shares: Sequence[Fraction], *, seed: int
) -> Ints:
    """Deal songs to parts, whole units at a time, each part with its share of each class.

    Units that stand for each other (the same number of songs of the same classes) are dealt by their shares, in an
    order drawn by lot; what these shares leave over, and units unlike any other, go one by one to where the songs of
    their classes are wanted most, rare classes and large units first: the iterative stratification of K. Sechidis,
    G. Tsoumakas, I. Vlahavas, "On the stratification of multi-label data" (ECML PKDD 2011), for units instead of songs.
    A class with at least as many units as there are parts comes into every part, as far as units of several classes
    allow it. A million songs take some seconds.

    Parameters
    ----------
    song_ids : sequence of str
        Ascending. The lots depend on them and the seed alone.
    classes : sequence of sequence of int
        The classes of each song, numbered from 0: one, several or none.
    units : int64, shape (n,)
        See `songbag_training.grouping.find_units`.
    shares : sequence of Fraction
        Of each part; they sum to 1.
    seed : int
        Another seed gives another order.

    Returns
    -------
    parts : int64, shape (n,)
        Number of each song's part.
    """
    _, first = np.unique(units, return_index=True)
    lots = np.array([_lot(seed, song_ids[row]) for row in first.tolist()], np.uint64)
    signatures = _signatures(classes, units)
    dealer = _Dealer(signatures, 1 + max(number for signature in signatures for number, _ in signature), shares)
    by_signature: dict[Signature, list[int]] = defaultdict(list)
    for unit in np.argsort(lots, kind="stable").tolist():
        by_signature[signatures[unit]].append(unit)
    part_of = np.empty(len(signatures), np.int64)
    left: list[int] = []
    for signature, same in by_signature.items():
        start = 0
        for part, count in enumerate(dealer.take_floors(signature, len(same))):
            part_of[same[start : start + count]] = part
            start += count
        left += same[start:]
    left.sort(key=lambda unit: dealer.precedence(signatures[unit]))
    for unit in left:
        part_of[unit] = dealer.take_one(signatures[unit])
    return part_of[units]


def _lot(seed: int, song_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{song_id}".encode()).digest()[:8], "big")


def _signatures(classes: Sequence[Sequence[int]], units: Ints) -> list[Signature]:
    """Return the signature of each unit; songs without a class (multi-label) count as a class of their own."""
    lengths = np.fromiter(map(len, classes), np.int64, len(classes))
    numbers = np.fromiter(chain.from_iterable(classes), np.int64, int(lengths.sum()))
    n_classes = int(numbers.max(initial=-1)) + 1
    none = np.flatnonzero(lengths == 0)
    owners = np.concatenate([np.repeat(units, lengths), units[none]])
    pairs = owners * (n_classes + 1) + np.concatenate([numbers, np.full(len(none), n_classes)])
    pairs, counts = np.unique(pairs, return_counts=True)
    entries = zip(*(column.tolist() for column in (*np.divmod(pairs, n_classes + 1), counts)), strict=True)
    signatures: list[Signature] = [()] * (int(units.max()) + 1)
    for unit, number, count in entries:
        signatures[unit] = (*signatures[unit], (number, count))
    return signatures


class _Dealer:
    """Keeps what every part still wants of every class, and gives it."""

    def __init__(self, signatures: Sequence[Signature], n_classes: int, shares: Sequence[Fraction]) -> None:
        self._songs_of = [0] * n_classes
        self._units_left = [0] * n_classes
        for signature in signatures:
            for number, n_songs in signature:
                self._songs_of[number] += n_songs
                self._units_left[number] += 1
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
