"""Is what was read what songbag would write? Asked of an index and of an array's metadata before either is trusted.

A digest tells a changed file from a whole one, not a foreign or a hand-made one from songbag's.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.errors import DamagedStore
from songbag_store.index import OWN_FIELDS
from songbag_store.sealed import Sealed
from songbag_store.spec import FeatureSpec

_CODECS = ["bytes", "blosc", "crc32c"]
_INDEX_CODECS = ["bytes", "crc32c"]
_FIELDS = frozenset(
    {"shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs", "attributes"}
    | {"dimension_names", "zarr_format", "node_type", "storage_transformers"}
)
_LARGEST_METADATA_BYTES = 1 << 20
_LARGEST_SHARD_BYTES = 1 << 30
_FARTHEST_ROW = 1 << 48


def check_index(index: Sealed, *, key: str, where: str) -> None:
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
        return DamagedStore(what, key=key, where=where, song_ids=song_ids or [])

    for field in OWN_FIELDS:
        position = index.schema.get_field_index(field.name)
        if position < 0 or index.schema.field(position).type != field.type:
            raise damage(f"is not an index: the column {field.name!r} is not there once, as {field.type}")
    # One after the other: together they would take the memory that a commit has to do with.
    song_ids = index.read(["song_id"])["song_id"]
    if pc.count_distinct(song_ids).as_py() != len(song_ids):
        raise damage("has two rows of one song", _twice(song_ids))
    del song_ids
    rows = index.read(["status", "fragment", "row_start", "n_windows"], repetitive=["status", "fragment"])
    ok = _numbers(pc.equal(rows["status"], "ok"), False)
    starts, counts = _numbers(rows["row_start"], -1), _numbers(rows["n_windows"], 0)
    nowhere = ok & ((starts < 0) | (starts > _FARTHEST_ROW) | (counts < 1))
    if nowhere.any():
        raise damage("points at windows that cannot be", _ids(index, np.flatnonzero(nowhere)))
    fragments = rows["fragment"].combine_chunks().indices.fill_null(-1).to_numpy()
    clash = _overlapping(np.flatnonzero(ok), fragments, starts, starts + counts)
    if len(clash):
        raise damage("gives the same windows to two songs", _ids(index, clash))


def _numbers(column: pa.ChunkedArray, absent: float) -> npt.NDArray[Any]:
    return np.asarray(pc.fill_null(column, absent))


def _twice(song_ids: pa.ChunkedArray) -> list[str]:
    counts = pa.table({"song_id": song_ids}).group_by("song_id").aggregate([([], "count_all")])
    return list(counts.filter(pc.field("count_all") > 1)["song_id"].slice(0, 6).to_pylist())


def _ids(index: Sealed, rows: npt.NDArray[np.int64]) -> list[str]:
    return list(index.read(["song_id"])["song_id"].take(pa.array(rows[:6])).to_pylist())


def _overlapping(
    rows: npt.NDArray[np.int64],
    fragments: npt.NDArray[np.int32],
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Return the first two rows of one fragment whose windows overlap, or none."""
    ordered = rows[np.lexsort((starts[rows], fragments[rows]))]
    before, after = ordered[:-1], ordered[1:]
    clash = np.flatnonzero((fragments[before] == fragments[after]) & (starts[after] < stops[before]))
    return ordered[clash[0] : clash[0] + 2] if len(clash) else clash


def check_array_metadata(text: bytes, spec: FeatureSpec) -> None:
    """Refuse metadata that are not those of an array of songbag, before any reader acts on them.

    Codecs, chunk grid and fields are compared with an allow-list, and a shard's size has a bound: whoever made the
    metadata can neither have another codec run nor a read take any amount of memory.

    Parameters
    ----------
    text : bytes
        An array's ``zarr.json``.

    Raises
    ------
    ValueError
        With the reason.
    """
    if len(text) > _LARGEST_METADATA_BYTES:
        raise ValueError(f"its metadata take {len(text):,} bytes")
    try:
        metadata = json.loads(text)
        unknown = sorted(set(metadata) - _FIELDS)
        (sharding,) = metadata["codecs"]
        inner = sharding["configuration"]
        names = [[codec["name"] for codec in inner[part]] for part in ("codecs", "index_codecs")]
        shard = [int(n) for n in metadata["chunk_grid"]["configuration"]["chunk_shape"]]
        chunk = [int(n) for n in inner["chunk_shape"]]
        fixed = (metadata["zarr_format"], metadata["node_type"], metadata["chunk_grid"]["name"], sharding["name"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("its metadata are not those of an array of songbag") from error
    if unknown:
        raise ValueError(f"its metadata have fields that songbag does not know: {', '.join(unknown)[:100]}")
    if fixed != (3, "array", "regular", "sharding_indexed") or names != [_CODECS, _INDEX_CODECS]:
        raise ValueError(f"it uses codecs that songbag does not write: {names}"[:200])
    if metadata["data_type"] not in ("int16", "float32") or metadata.get("storage_transformers"):
        raise ValueError(f"it holds {str(metadata['data_type'])[:100]!r} instead of int16 or float32")
    if min(*shard, *chunk) < 1 or 4 * math.prod(shard) > max(_LARGEST_SHARD_BYTES, 4 * spec.window_bytes):
        raise ValueError(f"its shards of {shard} windows are larger than songbag's"[:200])
