"""Stores for the benchmarks of reading: songs of 23 windows (13, 216), whose MFCC are of synthesised music.

A song is two of the demo's songs mixed at levels, offsets and with a noise of its own, a minute long, so that its
features vary, and pack, like those of music: `python -m benchmarks.peers` measures how well they do.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import adopt_part, write_part
from songbag_store.format.array import encode
from songbag_store.format.index import REPLACES, index_schema
from songbag_store.windows.spill import WindowSpill
from songbag_store.windows.writer import write_fragment
from songbag_store.writer import commit_parts, open_for_writing

SPEC = FeatureSpec()
SONGS_PER_FRAGMENT = 500
CLASSES = 10

Windows = npt.NDArray[np.float32]


def music_windows(n_songs: int) -> Iterator[Windows]:
    """Yield the features of songs, float32, shape (23, 13, 216)."""
    from songbag_pipeline import window_features

    rng = np.random.default_rng(0)
    minutes = [_minute(number) for number in range(40)]
    for _ in range(n_songs):
        first, second = rng.choice(len(minutes), 2, replace=False)
        mix = 10 ** rng.uniform(-1.5, 0) * np.roll(minutes[first], rng.integers(60 * SPEC.sample_rate_hz))
        mix += 10 ** rng.uniform(-1.5, 0) * np.roll(minutes[second], rng.integers(60 * SPEC.sample_rate_hz))
        mix += 10 ** rng.uniform(-4, -2) * rng.standard_normal(len(mix), np.float32)
        yield window_features(mix.astype(np.float32), SPEC)


def _minute(number: int) -> Windows:
    from songbag_pipeline.demo.genres import GENRES, synthesise

    genre, rng = GENRES[number % len(GENRES)], np.random.default_rng(number)
    rendered = synthesise(genre, duration_s=60, sample_rate_hz=SPEC.sample_rate_hz, channels=1, rng=rng)
    return np.ascontiguousarray(rendered[: 60 * SPEC.sample_rate_hz, 0])


def write_store(folder: Path, songs: Iterator[Windows]) -> SongStore:
    """Write songs into a new store as extraction does, with the column ``label``, one of ten classes."""
    store = open_for_writing(folder, SPEC)
    parts = {}
    for number, some in enumerate(iter(lambda: list(islice(songs, SONGS_PER_FRAGMENT)), [])):
        fragment = _write_fragment(store, number * SONGS_PER_FRAGMENT, some)
        parts[fragment] = adopt_part(store.inside.storage, store.uuid, SPEC, fragment)
    return commit_parts(store, parts)


def _write_fragment(store: SongStore, first: int, songs: list[Windows]) -> str:
    fragment = uuid.uuid4().hex
    rows = []
    with WindowSpill(SPEC) as spill:
        for number, windows in enumerate(songs, first):
            rows.append(_row(number, fragment, spill.n_windows, windows))
            spill.append(encode(windows, SPEC))
            spill.end_song()
        objects = write_fragment(store.inside.storage, fragment, SPEC, spill)
    table = pa.Table.from_pylist(rows, schema=index_schema([pa.field("label", pa.int32())]))
    part = table.append_column(REPLACES, pa.nulls(len(rows), pa.string()))
    write_part(store.inside.storage, store.uuid, SPEC, fragment, part, objects)
    return fragment


def _row(number: int, fragment: str, row_start: int, windows: Windows) -> dict[str, object]:
    return {
        "song_id": f"artist {number // 100:03}/{number:06} song.mp3",
        "path": f"/music/{number:06}.mp3",
        "label": number % CLASSES,
        "status": "ok",
        "duration_s": 60.0,
        "fragment": fragment,
        "row_start": row_start,
        "n_windows": len(windows),
        "feature_sum": windows.sum(axis=(0, 2), dtype=np.float64).tolist(),
        "feature_sumsq": np.square(windows, dtype=np.float64).sum(axis=(0, 2)).tolist(),
        "run_id": "benchmark",
    }
