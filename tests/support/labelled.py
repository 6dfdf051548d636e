"""Small stores of labelled songs that the reference network learns in seconds."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.snapshots import commit
from songbag_store.format.array import decode, encode
from songbag_store.format.index import REPLACES, apply_part, index_schema
from songbag_store.windows.spill import WindowSpill
from songbag_store.windows.writer import write_fragment
from songbag_store.writer import open_for_writing

Song = dict[str, Any]

SPEC = FeatureSpec(
    sample_rate_hz=8000, n_fft=256, hop_length=256, n_mels=20, n_mfcc=10, window_s=0.5, window_hop_s=0.25
)
"""Windows of (10, 16): large enough for the reference network, small enough to train in seconds."""


def write_store(
    folder: Path,
    songs: Sequence[Song],
    *,
    spec: FeatureSpec = SPEC,
    label_type: Any = None,
    further: Sequence[pa.Field] = (),
) -> SongStore:
    """Write songs (song_id, windows, label and any column) into a new store."""
    store = open_for_writing(folder, spec)
    fragment = uuid.uuid4().hex
    with WindowSpill(spec) as spill:
        rows = [_row(song, fragment, spill, spec) for song in songs]
        if spill.n_windows:
            write_fragment(store.inside.storage, fragment, spec, spill)
    schema = index_schema([pa.field("label", label_type or pa.string()), *further])
    part = pa.Table.from_pylist(rows, schema=schema).append_column(REPLACES, pa.nulls(len(rows), pa.string()))
    commit(store.inside.storage, store.uuid, lambda base: (apply_part(base.index, part), base.parts | {fragment}))
    return SongStore.open(folder)


def _row(song: Song, fragment: str, spill: WindowSpill, spec: FeatureSpec) -> Song:
    own = {"run_id": "test", "fragment": fragment, "path": f"/music/{song['song_id']}", "status": "ok", "n_windows": 0}
    own |= {name: value for name, value in song.items() if name != "windows"}
    if own["status"] == "ok":
        stored = encode(song["windows"], spec)
        own |= {"row_start": spill.n_windows, "n_windows": len(stored)}
        spill.append(stored)
        spill.end_song()
        values = decode(stored, spec).astype(np.float64)
        own |= {"feature_sum": values.sum((0, 2)).tolist(), "feature_sumsq": (values**2).sum((0, 2)).tolist()}
    return own


def songs_of_classes(counts: dict[str, int], *, seed: int = 0, spec: FeatureSpec = SPEC) -> list[Song]:
    """Make songs whose class is heard in one coefficient, with 1 to 12 windows each."""
    rng, own = np.random.default_rng(seed), np.random.default_rng((seed, 1))
    made = []
    for number, (label, count) in enumerate(counts.items()):
        for position in range(count):
            windows = rng.normal(0, 20, (int(rng.integers(1, 13)), *spec.window_shape)).astype(np.float32)
            windows += _sound_of_its_own(own, spec)
            windows[:, number] += 40
            made.append({"song_id": f"{label}/{position:02}", "label": label, "windows": windows})
    return made


def _sound_of_its_own(rng: np.random.Generator, spec: FeatureSpec) -> Any:
    """Return a level of each coefficient that tells no class: songs that sound alike are compared window by window."""
    levels = rng.normal(0, 30, (spec.window_shape[0], 1)).astype(np.float32)
    levels[:6] = 0
    return levels


TAGS = ("brass", "drums", "voice")


def tagged_songs(n_songs: int = 64, *, seed: int = 5) -> list[Song]:
    """Make songs with every set of `TAGS`, each heard in one coefficient of half the windows, and one unlabelled."""
    rng, sound = np.random.default_rng(seed), np.random.default_rng((seed, 1))
    songs = []
    for number in range(n_songs):
        own = [name for position, name in enumerate(TAGS) if number >> position & 1]
        windows = rng.normal(0, 20, (int(rng.integers(2, 9)), *SPEC.window_shape)).astype(np.float32)
        windows += _sound_of_its_own(sound, SPEC)
        for name in own:
            windows[: (len(windows) + 1) // 2, TAGS.index(name)] += 60
        songs.append({"song_id": f"{number:02}", "label": own, "windows": windows})
    return [*songs, dict(songs[0], song_id="unlabelled", label=None)]
