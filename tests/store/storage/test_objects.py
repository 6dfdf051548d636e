"""A store on a real S3 server process: the same behaviour as in a folder."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import read_part
from songbag_store.errors import BackendRefused, DamagedStore, StoreError, StoreInTheWay, StoreNotFound, UsageError
from songbag_store.format.sealed import Sealed
from songbag_store.storage.location import Location
from songbag_store.storage.objects import ObjectStorage
from songbag_store.storage.storage import KeyExists, probe
from songbag_store.windows.writer import SHARD_BYTES
from songbag_store.writer import commit_parts, open_for_writing
from tests.support import objects
from tests.support.faulty_proxy import FaultyProxy, times
from tests.support.long import LONG
from tests.support.stores import fill, sixteenths

SPEC = FeatureSpec(window_s=0.5, n_mels=40)
SHAPE = SPEC.window_shape


@pytest.fixture
def options(s3_endpoint: str) -> dict[str, str]:
    return objects.options(s3_endpoint)


@pytest.fixture
def storage(s3_url: str, options: dict[str, str]) -> ObjectStorage:
    return ObjectStorage(s3_url, options)


@pytest.fixture
def proxy(s3_endpoint: str) -> Iterator[FaultyProxy]:
    with FaultyProxy(s3_endpoint) as running:
        yield running


def add(store: SongStore, songs: dict[str, np.ndarray]) -> SongStore:
    fragment = fill(store, songs)
    return commit_parts(store, {fragment: read_part(store.inside.storage, store.uuid, store.spec, fragment)})


def make(url: str, options: dict[str, str], songs: dict[str, np.ndarray]) -> SongStore:
    return add(open_for_writing(Location(url, options), SPEC), songs)


def test_an_object_is_created_once_and_never_replaced(storage: ObjectStorage) -> None:
    storage.create("index/1", b"first")
    with pytest.raises(KeyExists):
        storage.create("index/1", b"second")
    assert storage.get("index/1") == b"first"


def test_listing_deleting_and_ranges_work_as_in_a_folder(storage: ObjectStorage) -> None:
    assert storage.entries("index") == []
    assert storage.top_level() == set()
    for key in ("index/1", "parts/a/b", "store.json"):
        storage.create(key, b"0123456789")
    assert [(entry.key, entry.n_bytes) for entry in storage.entries("index")] == [("index/1", 10)]
    assert len(storage.entries("")) == 3
    assert storage.top_level() == {"index", "parts", "store.json"}
    assert storage.read_range("index/1", 2, 5) == b"234"
    assert storage.read_range("index/1", -3, 0) == b"789"
    assert storage.read_range("index/1", 20, 30) == b""
    with pytest.raises(FileNotFoundError):
        storage.read_range("index/2", 2, 5)
    storage.delete("index/1")
    storage.delete("index/1")
    with pytest.raises(FileNotFoundError):
        storage.get("index/1")


def test_a_bucket_is_probed_and_nothing_is_left(storage: ObjectStorage) -> None:
    probe(storage)
    assert storage.entries("") == []


def test_songs_come_back_as_they_were_written(s3_url: str, options: dict[str, str], rng: np.random.Generator) -> None:
    songs = {name: sixteenths(rng, n, SHAPE) for name, n in {"a": 1, "b": 7, "c": 40}.items()}
    store = make(s3_url + "/", options, songs)
    assert (store.snapshot, store.address) == (1, s3_url)
    reader = SongStore.open(Location(s3_url, options))
    assert reader.sql("select sum(n_windows) n from songs")["n"].tolist() == [48]
    for name, windows in reader.iter_windows():
        np.testing.assert_array_equal(windows, songs[name])


def test_a_fragment_of_several_shards_is_read_across_their_border(
    s3_url: str, options: dict[str, str], rng: np.random.Generator
) -> None:
    per_shard = SHARD_BYTES // SPEC.window_bytes
    windows = np.tile(sixteenths(rng, 100, SHAPE), (per_shard // 100 + 2, 1, 1))
    store = make(s3_url, options, {"hours": windows})
    np.testing.assert_array_equal(store.windows("hours"), windows)


def test_a_part_holds_size_and_digest_of_what_lies_in_the_bucket(
    s3_url: str, options: dict[str, str], rng: np.random.Generator
) -> None:
    store = make(s3_url, options, {"a": sixteenths(rng, 30, SHAPE)})
    (part,) = store.inside.state.parts
    facts = Sealed(store.inside.storage.get(f"parts/{part}.parquet"), key="", place="").facts
    found = {entry.key: entry.n_bytes for entry in store.inside.storage.entries(f"features.zarr/{part}")}
    assert found == {key: one["bytes"] for key, one in facts["objects"].items()}
    for key, one in facts["objects"].items():
        assert hashlib.sha256(store.inside.storage.get(key)).hexdigest() == one["sha256"]


def test_one_song_is_read_by_its_chunks_and_not_by_its_fragment(
    s3_url: str, proxy: FaultyProxy, rng: np.random.Generator
) -> None:
    songs = {f"{n:03}": sixteenths(rng, 10, SHAPE) for n in range(200)}
    options = objects.options(proxy.url)
    store = make(s3_url, options, songs)
    n_bytes = sum(entry.n_bytes for entry in store.inside.storage.entries("features.zarr"))
    proxy.requests.clear()
    np.testing.assert_array_equal(store.windows("117"), songs["117"])
    # The array's metadata, the shard's list of chunks, the chunk.
    assert [method for method, _, _ in proxy.requests] == ["GET", "GET", "GET"]
    assert sum(size for _, _, size in proxy.requests) < n_bytes / 30
    proxy.requests.clear()
    np.testing.assert_array_equal(store.windows("003"), songs["003"])
    assert len(proxy.requests) == 1


def test_writing_reads_nothing_back(s3_url: str, proxy: FaultyProxy, rng: np.random.Generator) -> None:
    store = open_for_writing(Location(s3_url, objects.options(proxy.url)), SPEC)
    proxy.requests.clear()
    fill(store, {"a": sixteenths(rng, 100, SHAPE)})
    assert sum(size for method, _, size in proxy.requests if method == "GET" and "features.zarr" in _) < 5000


@pytest.mark.fault(50)
@pytest.mark.parametrize(("fault", "method"), [("cut", "GET"), ("drop", "PUT")])
def test_windows_are_written_over_broken_connections(
    s3_url: str, proxy: FaultyProxy, rng: np.random.Generator, fault: str, method: str
) -> None:
    store = open_for_writing(Location(s3_url, objects.options(proxy.url)), SPEC)
    proxy.rule = times(3, fault, method, "features.zarr/")
    windows = sixteenths(rng, 3, SHAPE)
    np.testing.assert_array_equal(add(store, {"a": windows}).windows("a"), windows)


@pytest.mark.parametrize("damage", ["missing", "empty", "cut off", "flipped"])
def test_a_damaged_shard_is_an_error_with_the_song_and_never_zeros(
    s3_url: str, options: dict[str, str], rng: np.random.Generator, damage: str
) -> None:
    store = make(s3_url, options, {"a": sixteenths(rng, 30, SHAPE)})
    (key,) = (entry.key for entry in store.inside.storage.entries("features.zarr") if "/c/" in entry.key)
    data = store.inside.storage.get(key)
    store.inside.storage.delete(key)
    flipped = bytes([data[0], data[1], data[2], data[3], data[100] ^ 4]) + data[5:]
    left = {"missing": None, "empty": b"", "cut off": data[:1000], "flipped": flipped}[damage]
    if left is not None:
        store.inside.storage.create(key, left)
    with pytest.raises(DamagedStore, match="songs hit: 'a'"):
        SongStore.open(Location(s3_url, options)).windows("a")


@pytest.mark.long
@pytest.mark.fault(63)
def test_random_bit_flips_in_a_shard_are_all_found(
    s3_url: str, options: dict[str, str], rng: np.random.Generator
) -> None:
    store = make(s3_url, options, {"a": sixteenths(rng, 5, SHAPE), "b": sixteenths(rng, 9, SHAPE)})
    (key,) = (entry.key for entry in store.inside.storage.entries("features.zarr") if "/c/" in entry.key)
    whole = store.inside.storage.get(key)
    for position in rng.integers(0, len(whole) * 8, 60 if LONG else 12):
        flipped = bytearray(whole)
        flipped[position // 8] ^= 1 << (position % 8)
        store.inside.storage.delete(key)
        store.inside.storage.create(key, bytes(flipped))
        again = SongStore.open(Location(s3_url, options))
        with pytest.raises(DamagedStore, match="songs hit"):
            dict(again.iter_windows())


def test_no_store_and_somebody_elses_objects_are_told_apart(s3_url: str, options: dict[str, str]) -> None:
    with pytest.raises(StoreNotFound, match=r"no store\.json"):
        SongStore.open(Location(s3_url, options))
    ObjectStorage(s3_url, options).create("thesis.tex", b"")
    with pytest.raises(StoreInTheWay, match=r"thesis\.tex"):
        open_for_writing(Location(s3_url, options), SPEC)


@pytest.mark.fault(53)
def test_a_server_without_put_if_absent_is_refused_with_the_reason(tmp_path: Path) -> None:
    with objects.rclone_server(tmp_path / "served") as endpoint:
        url = f"s3://{objects.BUCKET}/store"
        with pytest.raises(BackendRefused, match="no put-if-absent"):
            open_for_writing(Location(url, objects.options(endpoint)), SPEC)
        assert "store.json" not in ObjectStorage(url, objects.options(endpoint)).top_level()


@pytest.mark.parametrize("address", ["ftp://host/x", "s3://", "s3:///x", "s3://bucket/../x", "s3://bucket/a//b"])
def test_an_address_that_is_none_is_wrong_usage(address: str) -> None:
    with pytest.raises(UsageError, match=r"not an address|not a kind of place"):
        SongStore.open(address)


@pytest.mark.parametrize("url", ["gs://bucket/a/b", "az://container/a/b"])
def test_the_other_object_stores_are_reached_with_their_own_options(url: str) -> None:
    keys = {"skip_signature": "true"} if url[:2] == "gs" else {"account_name": "me", "account_key": "YQ=="}
    assert ObjectStorage(url, keys).address == url


def test_an_unknown_option_is_named(s3_url: str) -> None:
    with pytest.raises(StoreError, match="nonsense"):
        SongStore.open(Location(s3_url, {"nonsense": "x"}))


def test_a_name_that_looks_like_an_error_is_not_taken_for_one(storage: ObjectStorage) -> None:
    for key in ("NoSuchBucket", "AccessDenied/ExpiredToken", "503 SlowDown"):
        with pytest.raises(FileNotFoundError):
            storage.get(key)


@pytest.mark.skipif("SONGBAG_TEST_STORE_URL" not in os.environ, reason="SONGBAG_TEST_STORE_URL names no bucket")
def test_a_real_object_store_keeps_the_protocol(rng: np.random.Generator) -> None:
    """Opt-in: an address such as s3://bucket/prefix, gs:// or az://, with its credentials in the environment."""
    url = f"{os.environ['SONGBAG_TEST_STORE_URL'].rstrip('/')}/{uuid.uuid4().hex}"
    songs = {name: sixteenths(rng, 5, SHAPE) for name in "ab"}
    store = make(url, {}, {"a": songs["a"]})
    try:
        store = add(store, {"b": songs["b"]})
        for name, windows in SongStore.open(url).iter_windows():
            np.testing.assert_array_equal(windows, songs[name])
        assert store.snapshots() == [1, 2]
    finally:
        for entry in store.inside.storage.entries(""):
            store.inside.storage.delete(entry.key)


@pytest.mark.fault(58)
def test_a_listing_that_breaks_off_is_an_error_and_never_an_older_store(
    s3_url: str, options: dict[str, str], proxy: FaultyProxy, rng: np.random.Generator
) -> None:
    store = make(s3_url, options, {"a": sixteenths(rng, 1, SHAPE)})
    for number in range(objects.PAGE_NAMES + 5):
        store.inside.storage.create(f"index/0-{number:04}", b"")
    proxy.rule = times(1000, "503:SlowDown", "GET", "continuation-token")
    with pytest.raises(StoreError, match="does not answer"):
        SongStore.open(Location(s3_url, objects.options(proxy.url, patience_s="0.3")))
    proxy.rule = lambda method, path: None
    assert SongStore.open(Location(s3_url, objects.options(proxy.url))).snapshot == 1
