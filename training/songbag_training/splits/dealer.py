"""The dealing of whole units of songs to subsets, each subset with its share of each class."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from operator import itemgetter

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from songbag_training.types import Ints

Signature = tuple[tuple[int, int], ...]
"""(class, number of songs) of a unit, ordered by class: units with equal signatures can replace each other."""


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
