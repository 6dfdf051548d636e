"""Is what was read what songbag would write? Asked of an index before it is trusted.

A digest tells a changed file from a whole one, not a foreign or a hand-made one from songbag's.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.errors import DamagedStore
from songbag_store.format.index import OWN_FIELDS
from songbag_store.format.repeats import repeated
from songbag_store.format.sealed import Sealed

_FARTHEST_ROW = 1 << 48


def check_index(index: Sealed, *, key: str, place: str) -> None:
    """Refuse an index whose columns or rows cannot be songbag's.

    Checked are names and types of songbag's columns, that no song stands there twice, and that the windows of every
    song lie at a place that can be and that no other song claims. Whether an array is as long as the rows say is
    checked when it is read (docs/decisions/0021).

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
    # A run leaves them in order, fragment after fragment, and then nothing needs to be held.
    clash = np.empty(0, np.int64) if in_order else _overlapping(np.concatenate(list(_places(index)), axis=1))
    if len(clash):
        raise damage("gives the same windows to two songs", _ids(index, clash))


Integers = npt.NDArray[np.int64]


def _places(index: Sealed) -> Iterator[Integers]:
    """Yield of ok songs: rows, fragments numbered in the order they come in, first windows, those behind the last."""
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


def _ids(index: Sealed, rows: Integers) -> list[str]:
    return list(index.read(["song_id"])["song_id"].take(pa.array(rows[:6])).to_pylist())


def _in_order(places: Integers) -> bool:
    """Tell whether every song's windows lie behind those of the song before it, or in a fragment that comes later."""
    _, fragments, starts, stops = places
    same = fragments[:-1] == fragments[1:]
    return bool(((fragments[:-1] < fragments[1:]) | (same & (stops[:-1] <= starts[1:]))).all())


def _overlapping(places: Integers) -> Integers:
    """Return the rows of the first two songs of one fragment whose windows overlap, or none."""
    rows, fragments, starts, stops = places
    ordered = np.lexsort((starts, fragments))
    before, after = ordered[:-1], ordered[1:]
    clash = np.flatnonzero((fragments[before] == fragments[after]) & (starts[after] < stops[before]))
    return rows[ordered[clash[0] : clash[0] + 2]] if len(clash) else clash
