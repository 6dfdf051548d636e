"""Dealing and grouping in columns, beside plain loops that do the same."""

from __future__ import annotations

import hashlib
from collections import Counter
from fractions import Fraction

import numpy as np
import pyarrow as pa
from hypothesis import given, settings, strategies as st

from songbag_training.splits.deal import SHARES
from songbag_training.splits.dealer import Signature, _Dealer, stratify
from songbag_training.splits.groups import find_units
from songbag_training.types import Ints


def _plainly(
    ids: list[str], classes: list[list[int]], units: list[int], shares: list[Fraction], seed: int
) -> list[int]:
    """Deal unit by unit."""
    n_classes = 1 + max((number for own in classes for number in own), default=-1)
    songs = [Counter[int]() for _ in range(max(units) + 1)]
    first: dict[int, str] = {}
    for song_id, own, unit in zip(ids, classes, units, strict=True):
        songs[unit].update(own or [n_classes])
        first.setdefault(unit, song_id)
    signatures: list[Signature] = [tuple(sorted(of_unit.items())) for of_unit in songs]
    dealer = _Dealer(signatures, np.ones(len(signatures), np.int64), shares)
    lots = [hashlib.sha256(f"{seed}:{first[unit]}".encode()).digest()[:8] for unit in range(len(songs))]
    alike: dict[Signature, list[int]] = {}
    for unit in sorted(range(len(songs)), key=lambda unit: lots[unit]):
        alike.setdefault(signatures[unit], []).append(unit)
    subset_of: dict[int, int] = {}
    left = []
    for signature, same in alike.items():
        waiting = iter(same)
        for subset, count in enumerate(dealer.take_floors(signature, len(same))):
            subset_of |= {next(waiting): subset for _ in range(count)}
        left += list(waiting)
    for unit in sorted(left, key=lambda unit: dealer.precedence(signatures[unit])):
        subset_of[unit] = dealer.take_one(signatures[unit])
    return [subset_of[unit] for unit in units]


def _members(classes: list[list[int]]) -> tuple[Ints, Ints]:
    pairs = [(row, number) for row, own in enumerate(classes) for number in own]
    rows, numbers = np.array(pairs, np.int64).reshape(-1, 2).T
    return rows, numbers


@settings(max_examples=100)
@given(st.data())
def test_songs_are_dealt_as_a_loop_over_units_deals_them(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 60))
    n_classes = data.draw(st.integers(1, 4))
    several = data.draw(st.booleans())
    one = st.integers(0, n_classes - 1)
    kinds = st.lists(one, unique=True, max_size=n_classes).map(sorted) if several else one.map(lambda number: [number])
    classes = data.draw(st.lists(kinds, min_size=n, max_size=n))
    chosen = data.draw(st.lists(st.integers(0, data.draw(st.integers(0, n))), min_size=n, max_size=n))
    units = np.unique(chosen, return_inverse=True)[1]
    ids = [f"song {row:03}" for row in range(n)]
    seed = data.draw(st.integers(0, 5))
    shares = data.draw(st.sampled_from([list(SHARES.values()), [Fraction(1, 4)] * 4]))
    dealt = stratify(ids, _members(classes), units, shares, seed=seed)
    assert dealt.tolist() == _plainly(ids, classes, units.tolist(), shares, seed)


@settings(max_examples=100)
@given(st.data())
def test_units_are_the_songs_that_values_in_common_chain_together(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 25))
    value = st.sampled_from([None, "", " \u2003", "x", "y", "z", "\u00e9"])
    contents = data.draw(st.lists(st.sampled_from([None, *"abcdefghij"]), min_size=n, max_size=n))
    albums = data.draw(st.lists(value, min_size=n, max_size=n))
    artists = data.draw(st.lists(st.none() | st.lists(value, max_size=3), min_size=n, max_size=n))
    columns = {"content_sha256": contents, "album": albums, "artists": artists}
    kinds = (pa.string(), pa.string(), pa.list_(pa.string()))
    songs = pa.table([pa.array(own, kind) for own, kind in zip(columns.values(), kinds, strict=True)], list(columns))
    keys = [
        {(name, one) for name, column in columns.items() for one in _each(column[row]) if one and one.strip()}
        for row in range(n)
    ]
    unit_of = list(range(n))
    for row in range(n):
        for other in range(row):
            if keys[row] & keys[other]:
                mine, theirs = unit_of[row], unit_of[other]
                unit_of = [theirs if unit == mine else unit for unit in unit_of]
    units = find_units(songs, ["album", "artists"])
    assert sorted(set(units.tolist())) == list(range(len(set(unit_of))))
    assert len({*zip(units.tolist(), unit_of, strict=True)}) == len(set(unit_of))


def test_structures_group_songs_by_their_values() -> None:
    """An artist with a name and a number: Arrow has no dictionary of such values."""
    artists = [{"name": "x", "id": 1}, {"name": "x", "id": 2}, {"name": "x", "id": 1}, None]
    songs = pa.table({"content_sha256": list("abcd"), "artist": artists, "artists": [[one] for one in artists]})
    for column in ("artist", "artists"):
        assert find_units(songs, [column]).tolist() == [0, 1, 0, 2]


def _each(value: object) -> list[str | None]:
    return value if isinstance(value, list) else [value]  # type: ignore[list-item]
