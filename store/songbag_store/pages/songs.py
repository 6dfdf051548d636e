"""The songs of a collection for its page: columns to colour by, places on the map, pictures."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.errors import StoreError
from songbag_store.format.index import PLACE_COLUMNS, START, user_fields
from songbag_store.likeness.points import SongPoints
from songbag_store.likeness.statistics import Points
from songbag_store.pages.pictures import song_picture
from songbag_store.pages.sound import audio_address
from songbag_store.store import SongStore
from songbag_store.upkeep.classes import class_counts, class_of
from songbag_store.upkeep.comparable import comparable_texts, times_as_texts

MOST_ON_MAP = 3_000
"""Songs of the map; of a larger collection they are spread evenly over the index."""

MOST_PICTURES = 6
_LONGEST_PICTURED = 500
_MOST_COLUMNS = 16
_GROUPS = 7
_LONGEST = 200
_SUBSPACE, _ITERATIONS = 12, 30
_OWN = ("source_format", "source_sample_rate_hz", "channels", "duration_s", "sample_peak", "silent_share", "highest_hz")

Floats = npt.NDArray[np.float64]
VectorsOf = Callable[[pa.Array], Points]
"""Returns vectors of songs, given by their ids: (n, E)."""


@dataclasses.dataclass(frozen=True, slots=True)
class SongMap:
    """Songs as dots.

    Attributes
    ----------
    song_ids : list of str
    places : float64, shape (n, 2)
        The first two principal components of what the index says of the features, or of vectors.
    share : float
        What they hold of the variance, from 0 to 1.
    n_songs : int
        Songs that could be on the map.
    columns : list of dict
        Columns to colour by: `name`, `groups` (names of at most 7) and `of`, the group of each song, -1 for none.
    details : list of list of str
        A text for each song and each column of `titles`.
    titles : list of str
    audio : list of str or None
        The address of the file of each song, where this machine reaches it.
    starts : list of float
        Where the song begins in its file.
    """

    song_ids: list[str]
    places: Floats
    share: float
    n_songs: int
    columns: list[dict[str, Any]]
    details: list[list[str]]
    titles: list[str]
    audio: list[str | None]
    starts: list[float]


def song_map(store: SongStore, vectors_of: VectorsOf | None = None) -> SongMap | None:
    """Return the map of a collection, by the statistics of the index or by vectors of songs.

    None if fewer than three songs have such numbers. Memory holds the statistics of all songs, as `songbag similar`
    does, and all columns of the songs of the map. Vectors are asked for of these alone.
    """
    if vectors_of is None:
        points = SongPoints.read(store.inside.state.content, store.spec)
        n_songs, chosen = len(points.song_ids), _spread(len(points.song_ids))
        ids, values = points.song_ids.take(pa.array(chosen)), points.points[chosen]
    else:
        all_ids = store.inside.places["song_id"].combine_chunks()
        n_songs, ids = len(all_ids), all_ids.take(pa.array(_spread(len(all_ids))))
        values = SongPoints.of_vectors(ids, vectors_of(ids)).points if len(ids) else np.zeros((0, 2), np.float32)
        known = np.isfinite(values).all(axis=1)
        ids, values = ids.filter(pa.array(known)), values[known]
    if len(ids) < 3:
        return None
    places, share = _components(values.astype(np.float64))
    schema = store.inside.state.content.schema
    own = [field.name for field in user_fields(schema)]
    names = [*own, *(name for name in _OWN if name in schema.names)]
    rows = _rows_of(store, ids, list(dict.fromkeys(["song_id", "path", START, *names])))
    titles = names[:_MOST_COLUMNS]
    columns = [found for name in names if (found := _groups(name, rows[name])) is not None][:_MOST_COLUMNS]
    details = list(map(list, zip(*(_texts(rows[name]) for name in titles), strict=True))) if titles else []
    return SongMap(
        [_short(one) for one in rows["song_id"].to_pylist()],
        places,
        share,
        n_songs,
        columns,
        details or [[] for _ in range(len(ids))],
        [name.replace("_", " ") if name in _OWN else name for name in titles],
        [audio_address(path) for path in rows["path"].to_pylist()],
        [start or 0.0 for start in rows[START].to_pylist()],
    )


def _spread(n_songs: int) -> npt.NDArray[np.int64]:
    """Return the rows of songs that are on the map."""
    return np.unique(np.linspace(0, n_songs - 1, min(n_songs, MOST_ON_MAP)).round().astype(np.int64))


def _rows_of(store: SongStore, ids: pa.Array, names: list[str]) -> pa.Table:
    """Return columns of some songs in their order, reading the index a group of rows at a time."""
    found = [
        piece.filter(pc.is_in(piece["song_id"], value_set=ids)) for piece in store.inside.state.content.pieces(names)
    ]
    rows = pa.concat_tables(found)
    return rows.take(pc.index_in(ids, value_set=rows["song_id"].combine_chunks()))


def _components(points: Floats) -> tuple[Floats, float]:
    """Return the first two principal components of points, and their share of the variance."""
    centred = points - points.mean(axis=0)
    axes = np.random.default_rng(0).normal(size=(centred.shape[1], min(_SUBSPACE, *centred.shape)))
    # Vectors may have thousands of numbers, of which two directions are wanted: subspace iteration finds these alone.
    for _ in range(_ITERATIONS):
        axes, _ = np.linalg.qr(centred.T @ (centred @ axes))
    left, values, _ = np.linalg.svd(centred @ axes, full_matrices=False)
    places = (left * values)[:, :2]
    if places.shape[1] < 2:
        places = np.concatenate([places, np.zeros((len(places), 1))], axis=1)
    total = float((centred**2).sum())
    return places, float((values[:2] ** 2).sum() / total) if total > 0 else 0.0


def _groups(name: str, column: pa.ChunkedArray) -> dict[str, Any] | None:
    """Return a column as at most 7 groups of songs; None if it does not divide them."""
    is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    classes = class_counts(column)
    if len(classes) > 1 and pa.types.is_nested(column.type):
        # A song of several classes has the colour of the most common of them.
        names = [one for one, _ in Counter(classes).most_common(_GROUPS)]
        own = [{str(class_of(value)) for value in one or ()} for one in column.to_pylist()]
        return {"name": name, "groups": names, "of": [_first(names, classes_of) for classes_of in own]}
    if 1 < len(classes) <= (_GROUPS if is_number else len(classes)):
        texts = _texts(column)
        names = [one for one, _ in Counter(sorted(filter(None, texts))).most_common(_GROUPS)]
        return {"name": name, "groups": names, "of": [names.index(one) if one in names else -1 for one in texts]}
    if is_number:
        # Numbers of 64 bits may be rounded: they are only put into groups.
        values = column.cast(pa.float64(), safe=False).to_numpy()
        known = values[np.isfinite(values)]
        if len(np.unique(known)) < 2:
            return None
        ends = np.unique(np.quantile(known, np.linspace(0, 1, _GROUPS + 1)))
        groups = np.clip(np.searchsorted(ends, values, side="right") - 1, 0, len(ends) - 2)
        names = [f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(ends)]
        return {"name": name, "groups": names, "of": np.where(np.isfinite(values), groups, -1).tolist()}
    return None


def _first(names: Sequence[str], own: Collection[str]) -> int:
    return next((number for number, name in enumerate(names) if name in own), -1)


def _texts(column: pa.ChunkedArray) -> list[str]:
    """Return values as short texts; an empty one for null."""
    if pa.types.is_duration(column.type):
        column = pc.binary_join_element_wise(comparable_texts("", column), "s", " ")
    column = times_as_texts(column)
    return [
        "" if one is None else _short(f"{one:.6g}" if isinstance(one, float) else one) for one in column.to_pylist()
    ]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def pictures(store: SongStore) -> list[tuple[str, str]]:
    """Return song ids and pictures of the features of at most six songs, spread over the collection.

    Songs of more than 500 windows are left out: a picture is made of all windows of a song. So is a song whose windows
    cannot be read, which `songbag verify` names.
    """
    songs = store.inside.songs(PLACE_COLUMNS)
    songs = songs.filter((pc.field("n_windows") > 0) & (pc.field("n_windows") <= _LONGEST_PICTURED))
    if not songs.num_rows:
        return []
    rows = np.unique(np.linspace(0, songs.num_rows - 1, min(MOST_PICTURES, songs.num_rows)).round().astype(np.int64))
    found = []
    for song_id in songs["song_id"].take(pa.array(rows)).to_pylist():
        try:
            found.append((_short(song_id), song_picture(store.windows(song_id), store.spec)))
        except StoreError:
            continue
    return found


def shown_values(values: Sequence[Any]) -> list[str]:
    """Return values of a column as short texts for a table."""
    return ["" if one is None else _short(one) for one in values]
