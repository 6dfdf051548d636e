"""Small stores, written as a worker and a coordinator write them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from songbag_store import SongStore
from songbag_store.commits.parts import write_part
from songbag_store.format.array import encode
from songbag_store.format.index import REPLACES, index_schema
from songbag_store.windows.spill import WindowSpill
from songbag_store.windows.writer import SHARD_BYTES, write_fragment

Windows = npt.NDArray[np.float32]
MakeStore = Callable[..., SongStore]


def fill(
    store: SongStore,
    songs: Mapping[str, Windows],
    columns: Mapping[str, list[Any]] | None = None,
    *,
    shard_bytes: int = SHARD_BYTES,
) -> str:
    """Write songs as one fragment with its part, as a worker does, without committing; return the fragment."""
    fragment = uuid.uuid4().hex
    rows, start = [], 0
    with WindowSpill(store.spec) as spill:
        for position, (song_id, windows) in enumerate(songs.items()):
            spill.append(encode(windows, store.spec))
            spill.end_song()
            user = {name: values[position] for name, values in (columns or {}).items()}
            rows.append(_row(song_id, fragment, start, windows) | user)
            start += len(windows)
        objects = write_fragment(store.inside.storage, fragment, store.spec, spill, shard_bytes=shard_bytes)
    fields = [pa.field(name, pa.array(values).type) for name, values in (columns or {}).items()]
    table = pa.Table.from_pylist(rows, schema=index_schema(fields))
    part = table.append_column(REPLACES, pa.nulls(len(rows), pa.string()))
    write_part(store.inside.storage, store.uuid, store.spec, fragment, part, objects)
    return fragment


def fail(store: SongStore, song_ids: list[str]) -> str:
    """Write the part of a batch whose songs all failed, without committing; return its fragment."""
    fragment = uuid.uuid4().hex
    failed = {
        "status": "failed",
        "error_code": "not-audio",
        "error": "it is text",
        "fragment": fragment,
        "n_windows": 0,
    }
    rows = [{"song_id": song_id, "path": f"/music/{song_id}", **failed, "run_id": "test"} for song_id in song_ids]
    table = pa.Table.from_pylist(rows, schema=index_schema([])).append_column(
        REPLACES, pa.nulls(len(rows), pa.string())
    )
    write_part(store.inside.storage, store.uuid, store.spec, fragment, table, {})
    return fragment


def _row(song_id: str, fragment: str, start: int, windows: Windows) -> dict[str, Any]:
    return {
        "song_id": song_id,
        "path": f"/music/{song_id}",
        "status": "ok",
        "duration_s": 2.5 + 2.5 * len(windows),
        "content_sha256": f"{abs(hash(song_id)):064x}",
        "fragment": fragment,
        "row_start": start,
        "n_windows": len(windows),
        "feature_sum": windows.sum(axis=(0, 2), dtype=np.float64).tolist(),
        "feature_sumsq": np.square(windows, dtype=np.float64).sum(axis=(0, 2)).tolist(),
        "run_id": "test",
    }


def sixteenths(rng: np.random.Generator, n_windows: int, shape: tuple[int, int]) -> Windows:
    """Windows of random multiples of 1/16, which the int16 encoding keeps exactly."""
    return (rng.integers(-800, 800, (n_windows, *shape)) / 16).astype(np.float32)


def part(fragment: str, songs: dict[str, str | None], **columns: Any) -> pa.Table:
    """Rows of a part: song id to the fragment it replaces."""
    rows = [{"song_id": s, "status": "ok", "fragment": fragment, "n_windows": 1, "run_id": "r"} for s in songs]
    table = pa.Table.from_pylist(rows, schema=index_schema([])).append_column(
        REPLACES, pa.array(list(songs.values()), pa.string())
    )
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    return table
