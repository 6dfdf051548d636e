"""Checks of an index that was read from disk, and of long columns of texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.errors import DamagedStore
from songbag_store.format.index import OWN_FIELDS
from songbag_store.format.sealed import Sealed
from songbag_store.types import Ints

_FARTHEST_ROW = 1 << 48
_ROWS_AT_ONCE = 1 << 13

Pieces = Callable[[], Iterable[pa.ChunkedArray]]
"""Returns an iterator over a column, a few thousand rows at a time; it is called a second time if two hashes agree."""


def check_index(index: Sealed, *, key: str, place: str) -> None:
    """Validate an index that was read from disk.

    Its digest shows that it has not changed, but not that songbag made it. Checked are the names and types of songbag's
    columns, that no song is there twice, and that the windows of every song have a valid place that no other song has.
    The length of an array is checked when it is read (docs/decisions/0021).

    Raises
    ------
    DamagedStore
        With the first songs that are wrong.
    """

    def damage(what: str, song_ids: list[str] | None = None) -> DamagedStore:
        return DamagedStore(what, key=key, place=place, song_ids=song_ids or [])

    for field in OWN_FIELDS:
        position = index.schema.get_field_index(field.name)
        if position < 0 or index.schema.field(position).type != field.type:
            raise damage(f"is not an index: the column {field.name!r} is not there once, as {field.type}")
    twice = repeated(lambda: (piece["song_id"] for piece in index.pieces(["song_id"])))
    if twice:
        raise damage("has two rows of one song", list(twice)[:6])
    in_order, last = True, np.empty((4, 0), np.int64)
    for places in _places(index):
        rows, _, starts, stops = places
        nowhere = (starts < 0) | (starts > _FARTHEST_ROW) | (stops <= starts)
        if nowhere.any():
            raise damage("points at windows that cannot be", _ids(index, rows[nowhere]))
        in_order = in_order and _in_order(np.concatenate([last, places], axis=1))
        last = places[:, -1:] if len(rows) else last
    # A run writes the rows in the order of their windows; then there is no need to hold and sort them.
    clash = np.empty(0, np.int64) if in_order else _overlapping(np.concatenate(list(_places(index)), axis=1))
    if len(clash):
        raise damage("gives the same windows to two songs", _ids(index, clash))


def _places(index: Sealed) -> Iterator[Ints]:
    """Yield arrays of shape (4, songs) for ok songs: row, number of the fragment, first window, end of the windows."""
    numbers: dict[str | None, int] = {}
    first = 0
    for piece in index.pieces(["status", "fragment", "row_start", "n_windows"]):
        ok = np.asarray(pc.fill_null(pc.equal(piece["status"], "ok"), False))
        names = piece["fragment"].combine_chunks().dictionary_encode()
        codes = [numbers.setdefault(name, len(numbers)) for name in names.dictionary.to_pylist()]
        fragments = np.array([*codes, -1])[np.asarray(names.indices.fill_null(-1))]
        starts, counts = (np.asarray(pc.fill_null(piece[name], -1)) for name in ("row_start", "n_windows"))
        rows = np.arange(first, first + piece.num_rows)
        yield np.stack([rows, fragments, starts, starts + counts])[:, ok]
        first += piece.num_rows


def _ids(index: Sealed, rows: Ints) -> list[str]:
    return list(index.read(["song_id"])["song_id"].take(pa.array(rows[:6])).to_pylist())


def _in_order(places: Ints) -> bool:
    """Return whether the windows of every song come after those of the song before it, or in a later fragment."""
    _, fragments, starts, stops = places
    same = fragments[:-1] == fragments[1:]
    return bool(((fragments[:-1] < fragments[1:]) | (same & (stops[:-1] <= starts[1:]))).all())


def _overlapping(places: Ints) -> Ints:
    """Return the rows of the first two songs of one fragment whose windows overlap, or none."""
    rows, fragments, starts, stops = places
    ordered = np.lexsort((starts, fragments))
    before, after = ordered[:-1], ordered[1:]
    clash = np.flatnonzero((fragments[before] == fragments[after]) & (starts[after] < stops[before]))
    return rows[ordered[clash[0] : clash[0] + 2]] if len(clash) else clash


def repeated(pieces: Pieces, hash_of: Callable[[str], int] = hash) -> Counter[str]:
    """Count the texts that are there more than once, in their order; nulls do not count.

    Memory holds the hash of every text, twice during the sort, and the texts with a common hash: a tenth of a table of
    all texts. Python's hash has a random key in every process, so texts that collide cannot be prepared.
    """
    hashes = np.concatenate([np.empty(0, np.int64), *(_hashes(texts, hash_of) for texts in _texts(pieces))])
    hashes.sort()
    alike = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    if not len(alike):
        return Counter()
    # Different texts may have one hash by chance, so the texts themselves are counted.
    counts: Counter[str] = Counter()
    for texts in _texts(pieces):
        counts.update(texts[row] for row in np.flatnonzero(np.isin(_hashes(texts, hash_of), alike)))
    return Counter({text: count for text, count in counts.items() if count > 1})


def _texts(pieces: Pieces) -> Iterable[list[str]]:
    for piece in pieces():
        for start in range(0, len(piece), _ROWS_AT_ONCE):
            yield piece.slice(start, _ROWS_AT_ONCE).drop_null().to_pylist()


def _hashes(texts: list[str], hash_of: Callable[[str], int]) -> Ints:
    return np.fromiter(map(hash_of, texts), np.int64, len(texts))
