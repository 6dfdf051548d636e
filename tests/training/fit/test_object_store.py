"""Bags read from a bucket of a real S3 server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import adopt_part
from songbag_store.storage.location import Location
from songbag_store.writer import commit_parts, open_for_writing
from songbag_training.cli import commands
from songbag_training.songs.bags import BagDataset
from tests.support import objects
from tests.support.faulty_proxy import FaultyProxy
from tests.support.stores import Windows, fill, sixteenths
from tests.support.watched import WatchedPlace

SPEC = FeatureSpec(window_s=0.5, n_mels=40)


def filled(place: str, options: dict[str, str], songs: dict[str, Windows]) -> SongStore:
    store = open_for_writing(Location(place, options), SPEC)
    fragment = fill(store, songs)
    return commit_parts(store, {fragment: adopt_part(store.inside.storage, store.uuid, SPEC, fragment)})


def test_bags_from_a_bucket_are_those_from_a_folder(
    tmp_path: Path, s3_url: str, s3_endpoint: str, rng: np.random.Generator
) -> None:
    songs = {f"{n:02}": sixteenths(rng, 1 + n % 7, SPEC.window_shape) for n in range(20)}
    stores = [filled(str(tmp_path / "store"), {}, songs), filled(s3_url, objects.options(s3_endpoint), songs)]
    bags = [BagDataset(store, sorted(songs), [0, 1] * 10, bag_size=4, batch_size=6) for store in stores]
    pairs = zip(*(one.batches(stop_epoch=2) for one in bags), strict=True)
    for mine, theirs in pairs:
        np.testing.assert_array_equal(mine.windows, theirs.windows)
        np.testing.assert_array_equal(mine.mask, theirs.mask)
        np.testing.assert_array_equal(mine.labels, theirs.labels)


def test_a_store_that_remembers_asks_the_bucket_for_a_song_once(
    s3_url: str, s3_endpoint: str, rng: np.random.Generator
) -> None:
    songs = {f"{n:02}": sixteenths(rng, 1 + n % 7, SPEC.window_shape) for n in range(20)}
    filled(s3_url, objects.options(s3_endpoint), songs)
    requests: list[str] = []

    def noting(operation: str, key: str) -> None:
        if operation == "read_range":
            requests.append(key)

    place = WatchedPlace(s3_url, objects.options(s3_endpoint), before=noting)
    store = SongStore.open(place).remembering(10**8)
    bags = BagDataset(store, sorted(songs), [0, 1] * 10, bag_size=7, batch_size=6)
    first = [batch.windows for batch in bags.batches(stop_epoch=1)]
    assert requests
    requests.clear()
    again = [batch.windows for batch in bags.batches(stop_epoch=1)]
    assert requests == []
    for mine, theirs in zip(first, again, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_commands_that_share_a_cache_read_every_shard_of_a_bucket_once(
    tmp_path: Path, s3_url: str, s3_endpoint: str, rng: np.random.Generator
) -> None:
    songs = {f"{n:02}": sixteenths(rng, 1 + n % 3, SPEC.window_shape) for n in range(20)}
    store = open_for_writing(Location(s3_url, objects.options(s3_endpoint)), SPEC)
    fragment = fill(store, songs, {"label": ["a", "b"] * 10})
    commit_parts(store, {fragment: adopt_part(store.inside.storage, store.uuid, SPEC, fragment)})
    run = tmp_path / "run"
    training = ["--label", "label", "-o", run, "--epochs", 2, "--bag-size", 2, "--encoder", "dense"]
    fetched: list[int] = []
    with FaultyProxy(s3_endpoint) as proxy:
        options = [f"--storage-option={key}={value}" for key, value in objects.options(proxy.url).items()]
        for command in (
            ["train", s3_url, *training],
            ["evaluate", run],
            ["evaluate", run, s3_url, "-o", tmp_path / "again"],
            ["predict", run, s3_url, "-o", tmp_path / "out.csv"],
        ):
            arguments = [*map(str, command), *options, "--cache-dir", str(tmp_path / "cache"), "--cache-size", "1GB"]
            done = CliRunner().invoke(commands, arguments, catch_exceptions=False)
            assert done.exit_code == 0, done.output
            fetched.append(sum(n_bytes for _, path, n_bytes in proxy.requests if "/c/" in path))
            proxy.requests.clear()
    (shard,) = (path for path in (tmp_path / "cache").iterdir() if path.name != "lock")
    assert fetched == [shard.stat().st_size, 0, 0, 0]
