from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import read_part
from songbag_store.errors import DamagedStore
from songbag_store.format.array import UnencodableFeatures, decode, encode
from songbag_store.windows.reader import FragmentReader
from songbag_store.windows.spans import Spans
from songbag_store.windows.spill import WindowSpill
from songbag_store.windows.writer import SHARD_BYTES
from songbag_store.writer import commit_parts
from tests.support.stores import MakeStore, fill, sixteenths

SPEC = FeatureSpec()
EXACT = FeatureSpec(encoding="float32")
SONGS = {"short": 1, "middle": 7, "long": 40, "album/./../x": 7}


@pytest.fixture
def store(make_store: MakeStore, rng: np.random.Generator) -> SongStore:
    return make_store({name: sixteenths(rng, n, SPEC.window_shape) for name, n in SONGS.items()})


def shard_of(store: SongStore) -> Path:
    (shard,) = (Path(store.address) / "features.zarr").glob("*/c/0/0/0")
    return shard


@given(hnp.arrays(np.float32, (2, 3, 4), elements=st.floats(-2000, 2000, width=32)))
def test_the_int16_encoding_errs_by_half_a_step_at_most(windows: np.ndarray) -> None:
    assert np.abs(decode(encode(windows, SPEC), SPEC) - windows).max() <= 1 / 32


@given(hnp.arrays(np.float32, (2, 3, 4), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_the_float32_encoding_is_exact(windows: np.ndarray) -> None:
    np.testing.assert_array_equal(decode(encode(windows, EXACT), EXACT), windows)


@pytest.mark.parametrize("value", [np.nan, np.inf, 2048.0, -2048.1])
def test_what_int16_cannot_hold_is_refused(value: float) -> None:
    with pytest.raises(UnencodableFeatures, match=r"not finite|beyond"):
        encode(np.full((1, 1, 1), value, np.float32), SPEC)


@pytest.mark.parametrize("spec", [SPEC, EXACT, FeatureSpec(kind="logmel", n_mels=32, window_s=1.0)])
def test_windows_come_back_as_they_were_written(
    make_store: MakeStore, rng: np.random.Generator, spec: FeatureSpec
) -> None:
    songs = {name: sixteenths(rng, n, spec.window_shape) for name, n in SONGS.items()}
    store = make_store(songs, spec=spec)
    for name, windows in songs.items():
        np.testing.assert_array_equal(store.windows(name), windows)


def test_windows_that_are_all_zero_are_stored_and_not_left_out(make_store: MakeStore) -> None:
    store = make_store({"silent": np.zeros((3, *SPEC.window_shape), np.float32)})
    assert shard_of(store).stat().st_size > 0
    assert not store.windows("silent").any()


def test_a_song_that_failed_halfway_leaves_no_window(rng: np.random.Generator) -> None:
    first, third = (encode(sixteenths(rng, n, SPEC.window_shape), SPEC) for n in (2, 3))
    with WindowSpill(SPEC) as spill:
        spill.append(first)
        spill.end_song()
        spill.append(np.ones_like(third))
        spill.drop_song()
        spill.append(third)
        spill.end_song()
        np.testing.assert_array_equal(spill.windows(), np.concatenate([first, third]))
        assert spill.songs == [2, 3]


def test_a_fragment_of_more_than_a_shard_is_written_in_several(make_store: MakeStore, rng: np.random.Generator) -> None:
    per_shard = SHARD_BYTES // SPEC.window_bytes
    windows = np.tile(sixteenths(rng, 100, SPEC.window_shape), (per_shard // 100 + 2, 1, 1))
    store = make_store({"hours": windows})
    shards = list((Path(store.address) / "features.zarr").glob("*/c/*/0/0"))
    assert len(shards) == 2
    np.testing.assert_array_equal(store.windows("hours"), windows)


@pytest.mark.fault(63)
def test_sixty_random_bit_flips_in_a_shard_are_all_found(store: SongStore, rng: np.random.Generator) -> None:
    shard = shard_of(store)
    whole = shard.read_bytes()
    for position in rng.integers(0, len(whole) * 8, 60):
        flipped = bytearray(whole)
        flipped[position // 8] ^= 1 << (position % 8)
        shard.write_bytes(flipped)
        reader = SongStore.open(store.address)
        with pytest.raises(DamagedStore, match="songs hit"):
            reader.inside.reader.read_all(Spans.of(reader.songs(arrow=True)))
    shard.write_bytes(whole)
    assert len(SongStore.open(store.address).windows("long")) == 40


@pytest.mark.fault(60, 61, 62)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut off"])
def test_a_shard_that_is_missing_empty_or_cut_off_is_an_error_and_never_zeros(store: SongStore, damage: str) -> None:
    shard = shard_of(store)
    if damage == "missing":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[: 0 if damage == "empty" else 1000])
    with pytest.raises(DamagedStore, match="middle"):
        SongStore.open(store.address).windows("middle")


def test_a_fragment_that_is_gone_is_an_error_with_the_song(store: SongStore) -> None:
    (shard_of(store).parents[3] / "zarr.json").unlink()
    with pytest.raises(DamagedStore, match="short"):
        SongStore.open(store.address).windows("short")


def test_a_fragment_of_another_shape_than_the_spec_is_refused(store: SongStore, make_store: MakeStore) -> None:
    spec = FeatureSpec(n_mfcc=5)
    other = make_store({"x": np.zeros((1, *spec.window_shape), np.float32)}, spec=spec, name="other")
    mine, theirs = shard_of(store).parents[3], shard_of(other).parents[3]
    (mine / "zarr.json").write_bytes((theirs / "zarr.json").read_bytes())
    with pytest.raises(DamagedStore, match="instead of the spec's"):
        SongStore.open(store.address).windows("long")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), bag_size=st.integers(1, 30))
def test_any_windows_of_any_songs_come_in_one_go(store: SongStore, seed: int, bag_size: int) -> None:
    songs = store.songs(arrow=True)
    drawn = np.stack([np.random.default_rng(seed).integers(0, n, bag_size) for n in songs["n_windows"].to_pylist()])
    bags = store.inside.reader.read_bags(Spans.of(songs), drawn).result()
    for song_id, windows, bag in zip(songs["song_id"].to_pylist(), drawn, bags, strict=True):
        np.testing.assert_array_equal(decode(bag, store.spec), store.windows(song_id)[windows])


def test_a_window_outside_its_song_is_refused(store: SongStore) -> None:
    spans = Spans.of(store.songs(arrow=True))[:1]
    for outside in (-1, next(iter(spans)).n_windows):
        with pytest.raises(IndexError, match="outside"):
            store.inside.reader.read_bags(spans, np.array([[outside]]))


def test_more_shards_than_are_kept_open_are_read_and_closed(make_store: MakeStore, rng: np.random.Generator) -> None:
    store = make_store({"0": sixteenths(rng, 2, SPEC.window_shape)})
    for name in "123456":
        fragment = fill(store, {name: sixteenths(rng, 2, SPEC.window_shape)})
        store = commit_parts(store, {fragment: read_part(store.inside.storage, store.uuid, SPEC, fragment)})
    expected = {song_id: SongStore.open(store.address).windows(song_id) for song_id in "0123456"}
    reader = FragmentReader(store.inside.storage, SPEC, open_arrays=2, open_shards=2)
    spans = Spans.of(store.songs(arrow=True))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        for span in spans:
            np.testing.assert_array_equal(decode(reader.read(span).result(), SPEC), expected[span.song_id])
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_a_reader_serves_many_threads(store: SongStore) -> None:
    expected = {song_id: store.windows(song_id) for song_id in SONGS}
    opened = SongStore.open(store.address)
    with ThreadPoolExecutor(16) as threads:
        for song_id, windows in zip([*SONGS] * 20, threads.map(opened.windows, [*SONGS] * 20), strict=True):
            np.testing.assert_array_equal(windows, expected[song_id])


def test_a_chunk_of_very_long_songs_is_a_part_of_one(make_store: MakeStore) -> None:
    spec = FeatureSpec(window_s=0.5, window_hop_s=0.25, n_mfcc=40, n_mels=64, encoding="float32")
    windows = np.arange(1500 * 40 * 22, dtype=np.float32).reshape(1500, *spec.window_shape)
    store = make_store({"long": windows}, spec=spec)
    (metadata,) = (Path(store.address) / "features.zarr").glob("*/zarr.json")
    chunk = json.loads(metadata.read_bytes())["codecs"][0]["configuration"]["chunk_shape"][0]
    assert chunk * spec.window_bytes <= 4 << 20 < (chunk + 1) * spec.window_bytes
    np.testing.assert_array_equal(store.windows("long"), windows)
