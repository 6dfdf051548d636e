"""Faults of disks, file systems, object stores and clocks, on real ones: what each must end in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from songbag_store import SongStore
from songbag_store.commits.parts import part_names, read_part
from songbag_store.errors import BackendRefused, StoreError, StoreUnavailable
from songbag_store.format.keys import snapshot_key
from songbag_store.format.sealed import Sealed, seal
from songbag_store.storage.location import Location
from songbag_store.storage.objects import ObjectStorage
from songbag_store.writer import commit_parts, open_for_writing
from tests.support import objects
from tests.support.faulty_proxy import FaultyProxy, times
from tests.support.patience import PATIENCE_S
from tests.support.songs import SPEC, windows_of
from tests.support.stores import fill, sixteenths
from tests.support.writers import begin, hold, start

ROOT = Path(__file__).parents[2]


def commit_all(store: SongStore) -> SongStore:
    """Take in every finished part that no snapshot has."""
    names = sorted(part_names(store.inside.storage) - store.inside.state.parts)
    return commit_parts(store, {name: read_part(store.inside.storage, store.uuid, store.spec, name) for name in names})


@pytest.fixture
def proxy(s3_endpoint: str) -> Iterator[FaultyProxy]:
    with FaultyProxy(s3_endpoint) as running:
        yield running


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB; skipped where this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mount is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.fault(38)
def test_a_full_disk_is_said_and_after_making_room_the_same_goes_on(small_disk: Path, rng: np.random.Generator) -> None:
    store = open_for_writing(small_disk / "store", SPEC)
    fill(store, {"first": windows_of("first")})
    store = commit_all(store)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 2_000_000)
    with pytest.raises(StoreError, match=r"(?i)no space left"):
        fill(store, {"large": sixteenths(rng, 3000, SPEC.window_shape)})
    ballast.write_bytes(b"")
    shutil.rmtree(max((small_disk / "store" / "features.zarr").glob("*/"), key=os.path.getmtime))
    ballast.write_bytes(b"x" * (shutil.disk_usage(small_disk).free - 4096))
    with pytest.raises(StoreError, match="no space left"):
        store.inside.storage.create("parts/x.parquet", b"x" * 100_000)
    assert SongStore.open(small_disk / "store").snapshot == 1
    assert not [name for name in os.listdir(small_disk / "store" / "parts") if name.startswith(".tmp")]
    ballast.unlink()
    fill(store, {"second": windows_of("second")})
    hold(commit_all(store), {"first", "second"}, {"first", "second"})


@pytest.mark.fault(39)
def test_a_read_only_disk_reads_and_refuses_to_be_written(small_disk: Path) -> None:
    store = open_for_writing(small_disk / "store", SPEC)
    fill(store, {"a": windows_of("a")})
    commit_all(store)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    hold(SongStore.open(small_disk / "store"), {"a"}, {"a"})
    with pytest.raises(StoreError, match=r"(?s)cannot be written.*Reading and training work"):
        open_for_writing(small_disk / "store", SPEC)


@pytest.mark.fault(39)
def test_a_bucket_without_write_permission_reads_and_refuses_to_be_written(s3_url: str, proxy: FaultyProxy) -> None:
    store = open_for_writing(Location(s3_url, objects.options(proxy.url)), SPEC)
    fill(store, {"a": windows_of("a")})
    commit_all(store)
    proxy.rule = lambda method, path: "403:AccessDenied" if method == "PUT" else None
    hold(SongStore.open(Location(s3_url, objects.options(proxy.url))), {"a"}, {"a"})
    with pytest.raises(StoreError, match="access is denied"):
        open_for_writing(Location(s3_url, objects.options(proxy.url)), SPEC)


@pytest.mark.fault(49)
@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_three_processes_that_commit_at_once_lose_nothing(
    kind: str, tmp_path: Path, s3_endpoint: str, s3_url: str
) -> None:
    place = (str(tmp_path / "store"), {}) if kind == "folder" else (s3_url, objects.options(s3_endpoint))
    writers = [start(place, seed, 40) for seed in range(3)]
    for writer in writers:
        begin(writer)
    for writer in writers:
        _, err = writer.communicate(timeout=PATIENCE_S)
        assert writer.returncode == 0, err
    everything = {f"song-{n:04}" for n in range(40)}
    store = SongStore.open(Location(place[0], place[1]))
    hold(store, everything, everything)
    assert store.index(arrow=True).num_rows == 40
    assert part_names(store.inside.storage) == store.inside.state.parts


@pytest.mark.fault(50)
def test_an_endpoint_that_is_down_for_a_while_is_waited_for(s3_url: str, proxy: FaultyProxy) -> None:
    storage = ObjectStorage(s3_url, objects.options(proxy.url, patience_s="30"))
    proxy.rule = lambda method, path: "refuse"
    threading.Timer(3, lambda: setattr(proxy, "rule", lambda method, path: None)).start()
    storage.create("index/1", b"data")
    assert storage.get("index/1") == b"data"


@pytest.mark.fault(50)
def test_an_endpoint_that_stays_down_is_an_error_after_a_bounded_time(s3_url: str) -> None:
    storage = ObjectStorage(s3_url, objects.options("http://127.0.0.1:9", patience_s="1"))
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"(?s)does not answer.*what was committed is safe"):
        storage.create("index/1", b"data")
    with pytest.raises(StoreUnavailable, match="does not answer"):
        storage.get("index/1")
    # Two requests of a second each, and not of the minute that is the default.
    assert time.monotonic() - started < 60


@pytest.mark.fault(50)
@pytest.mark.parametrize("fault", ["503:SlowDown", "500:InternalError", "refuse", "drop", "cut"])
def test_reading_gets_over_errors_of_the_server_and_broken_connections(
    s3_url: str, proxy: FaultyProxy, fault: str
) -> None:
    store = open_for_writing(Location(s3_url, objects.options(proxy.url)), SPEC)
    fill(store, {"a": windows_of("a")})
    commit_all(store)
    proxy.rule = times(2, fault, "GET", "")
    again = SongStore.open(Location(s3_url, objects.options(proxy.url)))
    proxy.rule = times(2, fault, "GET", "features.zarr")
    hold(again, {"a"}, {"a"})


LOST = ["drop", "500:InternalError:after", "503:SlowDown:after"]


@pytest.mark.fault(51)
@pytest.mark.parametrize("fault", [*LOST, "503:SlowDown", "refuse"])
@pytest.mark.parametrize("what", ["store.json", "zarr.json", "/parts/", "/index/", "/c/0"])
def test_a_put_whose_answer_is_lost_is_recognised_as_own(
    s3_url: str, proxy: FaultyProxy, fault: str, what: str
) -> None:
    proxy.rule = times(2, fault, "PUT", what)
    store = open_for_writing(Location(s3_url, objects.options(proxy.url)), SPEC)
    fragment = fill(store, {"a": windows_of("a")})
    part = {fragment: read_part(store.inside.storage, store.uuid, store.spec, fragment)}
    store = commit_parts(store, part)
    assert store.snapshots() == [1]
    hold(store.at(), {"a"}, {"a"})


@pytest.mark.fault(52)
def test_a_conflict_is_tried_again_and_not_taken_as_existing(s3_url: str, proxy: FaultyProxy) -> None:
    store = open_for_writing(Location(s3_url, objects.options(proxy.url)), SPEC)
    fill(store, {"a": windows_of("a")})
    proxy.rule = times(3, "409:ConditionalRequestConflict", "PUT", "/index/")
    store = commit_all(store)
    assert store.snapshots() == [1]


@pytest.mark.fault(53)
def test_a_server_that_does_not_know_conditional_requests_is_refused(s3_url: str, proxy: FaultyProxy) -> None:
    proxy.rule = lambda method, path: "501:NotImplemented" if method == "PUT" else None
    with pytest.raises(BackendRefused, match="put-if-absent"):
        open_for_writing(Location(s3_url, objects.options(proxy.url, patience_s="0.2")), SPEC)


@pytest.mark.fault(55)
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("400:ExpiredToken", "credentials have expired"),
        ("403:InvalidAccessKeyId", "credentials are not accepted"),
        ("403:SignatureDoesNotMatch", "credentials are not accepted"),
        ("403:AccessDenied", "access is denied"),
        ("301:PermanentRedirect", "another region"),
    ],
)
def test_what_is_wrong_with_access_is_told_apart(s3_url: str, proxy: FaultyProxy, fault: str, said: str) -> None:
    proxy.rule = lambda method, path: fault
    with pytest.raises(StoreError, match=said):
        SongStore.open(Location(s3_url, objects.options(proxy.url)))
    with pytest.raises(StoreError, match=said):
        open_for_writing(Location(s3_url, objects.options(proxy.url)), SPEC)


@pytest.mark.fault(55)
@pytest.mark.parametrize("method", ["get", "entries", "create"])
def test_a_missing_bucket_is_not_a_missing_store(s3_endpoint: str, method: str) -> None:
    storage = ObjectStorage("s3://no-such-bucket/store", objects.options(s3_endpoint))
    arguments = {"get": ["store.json"], "entries": ["index"], "create": ["store.json", b""]}[method]
    with pytest.raises(StoreError, match="bucket does not exist"):
        getattr(storage, method)(*arguments)


@pytest.mark.fault(56)
@pytest.mark.skipif(shutil.which("faketime") is None, reason="libfaketime is not installed")
@pytest.mark.parametrize("shift", ["-2d", "+2d"])
def test_a_clock_that_is_days_off_changes_nothing(tmp_path: Path, shift: str) -> None:
    store = open_for_writing(tmp_path / "store", SPEC)
    fill(store, {"song-0000": windows_of("song-0000")})
    commit_all(store)
    command = [
        "faketime",
        "-f",
        shift,
        sys.executable,
        "-m",
        "tests.support.writer_process",
        store.address,
        "{}",
        "1",
        "10",
    ]
    done = subprocess.run(
        command, input="\n", capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    fill(store, {"now": windows_of("now")})
    everything = {f"song-{n:04}" for n in range(10)} | {"now"}
    hold(commit_all(store.at()), everything, everything)


@pytest.mark.fault(58)
def test_of_ten_thousand_snapshots_the_newest_is_read(tmp_path: Path) -> None:
    store = open_for_writing(tmp_path / "store", SPEC)
    fill(store, {"a": windows_of("a")})
    store = commit_all(store)
    facts = Sealed(store.inside.storage.get(snapshot_key(1)), key="", place="").facts
    for number in range(2, 10_000):
        (tmp_path / "store" / snapshot_key(number)).touch()
    store.inside.storage.create(snapshot_key(10_000), seal(store.index(arrow=True), facts | {"snapshot": 10_000}))
    newest = SongStore.open(store.address)
    assert newest.snapshot == 10_000
    hold(newest, {"a"}, {"a"})
