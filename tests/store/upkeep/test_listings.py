"""A listing that fails, at each listing of each command: an error that names the folder, and nothing is deleted."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import read_part
from songbag_store.errors import StoreError
from songbag_store.format.keys import snapshot_key
from songbag_store.storage.folder import LocalStorage
from songbag_store.storage.location import Location
from songbag_store.storage.storage import StoredObject
from songbag_store.store import open_in
from songbag_store.upkeep.change import relabel, remove
from songbag_store.upkeep.compact import compact
from songbag_store.upkeep.garbage import gc
from songbag_store.upkeep.pins import lost_pins
from songbag_store.upkeep.summary import failures, history, info
from songbag_store.upkeep.verify import not_sealed, repair, report, verify
from songbag_store.writer import commit_parts, open_for_writing
from tests.support import objects
from tests.support.ages import commit_days_ago, rewrite_as_old, stamp_days_ago
from tests.support.faulty_proxy import FaultyProxy, Rule
from tests.support.listings import Listings, contents
from tests.support.long import LONG
from tests.support.patience import PATIENCE_S
from tests.support.stores import fill, sixteenths

RNG = np.random.default_rng(2)
CODES = (errno.EACCES, errno.EIO, errno.ESTALE)
SPEC = FeatureSpec(sample_rate_hz=8000, n_fft=256, hop_length=256, n_mels=20, n_mfcc=4, window_s=0.5)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store where gc has much to delete: old snapshots, an orphan, a replaced fragment; one snapshot is tagged."""
    folder, rng = tmp_path_factory.mktemp("old") / "store", np.random.default_rng(1)
    store = open_for_writing(folder, SPEC)
    for names in ("ab", "c"):
        fragment = fill(store, {name: sixteenths(rng, 2, SPEC.window_shape) for name in names})
        rows = read_part(store.inside.storage, store.uuid, store.spec, fragment)
        store = commit_parts(store, {fragment: rows})
    store, _ = compact(remove(store, "song_id = 'a'")[0])
    orphan = fill(store, {"lost": sixteenths(rng, 1, SPEC.window_shape)})
    (folder / "parts" / f"{orphan}.parquet").unlink()
    rewrite_as_old(store, store.snapshots())
    SongStore.open(folder, snapshot=2).tag("paper")
    store = commit_days_ago(store, 60, 10)
    stamp_days_ago(store, 100)
    return folder


def some_labels(folder: Path) -> Path:
    path = folder.with_name("labels.csv")
    path.write_text("song_id,genre\nb,rock\n")
    return path


COMMANDS: dict[str, Callable[[Path], object]] = {
    "gc --yes": lambda folder: gc(folder, yes=True),
    "gc": gc,
    "gc --release": lambda folder: gc(folder, release=["paper"], yes=True),
    "info": info,
    "history": history,
    "lost pins": lambda folder: lost_pins(LocalStorage(folder)),
    "failures": failures,
    "query": lambda folder: SongStore.open(folder).sql("select 1"),
    "windows": lambda folder: SongStore.open(folder).windows("b"),
    "an older snapshot": lambda folder: SongStore.open(folder, snapshot=2),
    "tag": lambda folder: SongStore.open(folder).tag("new"),
    "verify": verify,
    "verify --full": lambda folder: verify(folder, full=True),
    "not sealed": not_sealed,
    "repair": lambda folder: repair(folder, full=True),
    "relabel": lambda folder: relabel(folder, some_labels(folder)),
    "remove": lambda folder: remove(folder, "song_id = 'b'"),
    "compact": compact,
    "extract into it": lambda folder: open_for_writing(folder, SPEC),
    "a new fragment": lambda folder: fill(SongStore.open(folder), {"new": sixteenths(RNG, 1, SPEC.window_shape)}),
}


def first_and_last(listed: list[str]) -> list[tuple[int, str]]:
    """Return the first and the last listing of each kind of folder: all fragments are of one kind."""
    kinds: dict[str, list[tuple[int, str]]] = {}
    for number, folder in enumerate(listed):
        kinds.setdefault(re.sub("[0-9a-f]{32}", "fragment", folder), []).append((number, folder))
    return sorted({listing for of_kind in kinds.values() for listing in (of_kind[0], of_kind[-1])})


@pytest.mark.fault(100)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_listing_that_fails_is_an_error_that_names_the_folder_and_nothing_is_deleted(
    old: Path, tmp_path: Path, command: str
) -> None:
    run, before = COMMANDS[command], contents(old)
    shutil.copytree(old, tmp_path / "count")
    with Listings(tmp_path / "count") as counted:
        run(tmp_path / "count")
    assert counted.listed
    assert command != "gc --yes" or len(contents(tmp_path / "count")) < len(before)
    copy = tmp_path / "copy"
    for number, folder in enumerate(counted.listed) if LONG else first_and_last(counted.listed):
        for code in CODES if LONG else CODES[number % 3 :][:1]:
            if not copy.exists():
                shutil.copytree(old, copy)
            with Listings(copy, number, code), pytest.raises(StoreError, match="cannot be listed") as caught:
                run(copy)
            new = caught.value.place.replace(str(copy), str(tmp_path / "count"), 1)
            assert new == folder or command == "a new fragment", "the folder is named"
            after = contents(copy)
            # Only the tags, which gc looks at again after each snapshot, are listed after something was deleted.
            spent = {key for key in before if key.startswith(("index/", "tags/"))} if "/tags" in folder else set()
            assert {key for key, data in before.items() if after.get(key) != data} <= spent
            if after != before or "/tags" in folder:  # a snapshot that was put back is young
                shutil.rmtree(copy)


@pytest.mark.fault(100)
@pytest.mark.parametrize("code", CODES)
def test_no_store_is_made_in_a_folder_that_cannot_be_listed(tmp_path: Path, code: int) -> None:
    with Listings(tmp_path, 0, code), pytest.raises(StoreError, match="cannot be listed"):
        open_for_writing(tmp_path, SPEC)
    assert contents(tmp_path) == {}


class Failing(LocalStorage):
    """A folder whose tags cannot be listed once a snapshot was deleted."""

    n_deleted = 0

    def delete(self, key: str) -> None:
        super().delete(key)
        self.n_deleted += key.startswith("index/")

    def entries(self, prefix: str) -> list[StoredObject]:
        if prefix == "tags" and self.n_deleted:
            raise StoreError("cannot be listed", place="tags")
        return super().entries(prefix)


@pytest.mark.fault(100)
def test_when_tags_cannot_be_listed_again_the_snapshot_is_put_back(old: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(old, tmp_path / "copy"))
    storage = Failing(copy)
    with pytest.raises(StoreError, match="cannot be listed"):
        gc(open_in(storage), yes=True)
    assert storage.n_deleted == 1
    assert contents(copy) == contents(old)


class Forgetful(LocalStorage):
    """A folder whose listing of everything lacks some files, without an error."""

    lacks = ""

    def entries(self, prefix: str) -> list[StoredObject]:
        return [entry for entry in super().entries(prefix) if prefix or self.lacks not in entry.key]


@pytest.mark.fault(100)
@pytest.mark.parametrize(("lacks", "said"), [("0014.parquet", "snapshot 14"), ("0002.parquet", "the tag 'paper' pins")])
def test_a_listing_without_the_open_snapshot_or_a_pinned_one_is_not_believed(
    old: Path, tmp_path: Path, lacks: str, said: str
) -> None:
    copy = Path(shutil.copytree(old, tmp_path / "copy"))
    storage = Forgetful(copy)
    storage.lacks = lacks
    for yes in (False, True):
        with pytest.raises(StoreError, match=said):
            gc(open_in(storage), yes=yes)
    assert contents(copy) == contents(old)


@pytest.mark.fault(100)
def test_a_pinned_snapshot_that_is_really_gone_is_given_up_by_releasing_its_tag(old: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(old, tmp_path / "copy"))
    (copy / "index" / f"{2:020d}.parquet").unlink()
    with pytest.raises(StoreError, match="take its tag away: `release='paper'`"):
        gc(copy, yes=True)
    assert "pins snapshot 2, which is not there" in report(verify(copy))
    assert gc(copy, release=["paper"], yes=True).snapshots == (1, 3, 4)
    assert verify(copy, full=True) == []


@pytest.mark.fault(100)
@pytest.mark.parametrize("code", CODES)
def test_a_listing_that_breaks_off_or_a_file_that_cannot_be_looked_at_is_an_error_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    storage = LocalStorage(tmp_path)
    storage.create("index/1", b"x")
    real = os.scandir

    class Entry:
        name, path = "1", str(tmp_path / "index" / "1")

        def is_dir(self) -> bool:
            return False

        def stat(self) -> None:
            raise OSError(code, os.strerror(code))

    @contextmanager
    def broken(folder: Path, then: OSError | None) -> Iterator[Iterator[Entry]]:
        def entries() -> Iterator[Entry]:
            yield Entry()
            if then:
                raise then

        yield entries()

    for then in (OSError(code, os.strerror(code)), None):
        monkeypatch.setattr(os, "scandir", partial(broken, then=then))
        for listing in (partial(storage.entries, "index"), storage.leftovers):
            with pytest.raises(StoreError, match="cannot be listed"):
                listing()
    monkeypatch.setattr(os, "scandir", real)
    assert [entry.key for entry in storage.entries("index")] == ["index/1"]


@pytest.mark.fault(100)
@pytest.mark.skipif(os.geteuid() == 0, reason="root may list everything")
def test_a_folder_that_the_user_may_not_list_is_an_error(old: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(old, tmp_path / "copy"))
    (copy / "index").chmod(0)
    for yes in (False, True):
        with pytest.raises(StoreError, match="cannot be listed"):
            gc(copy, yes=yes)
    (copy / "index").chmod(0o700)
    assert contents(copy) == contents(old)


def strace(folder: Path, inject: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command; the kernel refuses to open a folder for it."""
    tracing = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(folder), "-e", "trace=openat", "-e", inject]
    command = [*tracing, sys.executable, "-m", "songbag", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.fixture(scope="session")
def tracer() -> None:
    """Skip where strace is absent, or may not trace."""
    if not shutil.which("strace") or subprocess.run(["strace", "-qq", "-o/dev/null", "true"], check=False).returncode:
        pytest.skip("strace cannot be used here")


@pytest.mark.fault(100)
@pytest.mark.usefixtures("tracer")
@pytest.mark.parametrize("number", range(1, 8) if LONG else [2])
def test_a_listing_that_the_kernel_refuses_deletes_nothing(old: Path, tmp_path: Path, number: int) -> None:
    copy = Path(shutil.copytree(old, tmp_path / "copy"))
    done = strace(copy / "index", f"inject=openat:error=ESTALE:when={number}", "gc", copy, "--yes")
    if done.returncode == 0:
        assert number > 3, "the folder is listed when the store is opened, and by gc"
        return
    assert (done.returncode, "/index" in done.stderr, "Stale file handle" in done.stderr) == (1, True, True)
    assert contents(copy) == contents(old)


@pytest.mark.fault(100)
@pytest.mark.usefixtures("tracer")
def test_a_store_that_cannot_be_listed_is_not_whole(old: Path) -> None:
    done = strace(old / "index", "inject=openat:error=EIO", "verify", old, "--full")
    assert (done.returncode, done.stdout) == (1, "")
    assert "index: cannot be listed (Input/output error)" in done.stderr


@pytest.fixture
def on_s3(s3_url: str, s3_endpoint: str) -> Iterator[tuple[Location, FaultyProxy]]:
    """Yield a store of a run that has ended, so that two of its snapshots may go, behind a proxy."""
    store, rng = open_for_writing(Location(s3_url, objects.options(s3_endpoint)), SPEC), np.random.default_rng(1)
    for name in "abc":
        fragment = fill(store, {name: sixteenths(rng, 1, SPEC.window_shape)})
        rows = read_part(store.inside.storage, store.uuid, store.spec, fragment)
        store = commit_parts(store, {fragment: rows}, run="r", ended=name == "c")
    store.tag("paper")
    with FaultyProxy(s3_endpoint) as proxy:
        yield Location(s3_url, objects.options(proxy.url, patience_s="0.05")), proxy


def failing_from(number: int, fault: str, seen: list[str]) -> Rule:
    """Return a rule by which listings fail, from one on."""

    def rule(method: str, path: str) -> str | None:
        if method != "GET" or "list-type=2" not in path:
            return None
        seen.append(path)
        return fault if len(seen) > number else None

    return rule


REMOTE: dict[str, list[Callable[[Location], object]]] = {
    "403:AccessDenied": [partial(gc, yes=True)],
    "500:InternalError": [verify],
    "404:NoSuchKey": [info],
}
ALL_REMOTE: list[Callable[[Location], object]] = [history, info, partial(verify, full=True), partial(gc, yes=True)]


@pytest.mark.fault(100)
@pytest.mark.parametrize("fault", REMOTE)
def test_a_listing_that_an_object_store_refuses_is_an_error_and_nothing_is_deleted(
    on_s3: tuple[Location, FaultyProxy], fault: str
) -> None:
    location, proxy = on_s3
    before = {entry.key for entry in location.storage().entries("")}
    commands = ALL_REMOTE if LONG else REMOTE[fault]
    for run in commands:
        for number in range(20):
            seen: list[str] = []
            proxy.rule = failing_from(number, fault, seen)
            try:
                run(location)
            except StoreError:
                assert len(seen) > number, "an error without a fault"
            else:
                assert len(seen) <= number, "a listing that failed was not noticed"
                break
            proxy.rule = lambda method, path: None
            after = {entry.key for entry in location.storage().entries("")}
            # gc looks at the tags again after each snapshot: when that fails at the second, the first is gone.
            assert before - after <= ({snapshot_key(1)} if "tags" in seen[number] else set())
        assert number > 1
    proxy.rule = lambda method, path: None
    assert SongStore.open(location).snapshots() == ([3] if run is commands[-1] and "gc" in str(run) else [1, 2, 3])


def test_a_look_at_the_garbage_of_a_bucket_takes_no_right_to_write(on_s3: tuple[Location, FaultyProxy]) -> None:
    location, proxy = on_s3
    proxy.rule = lambda method, path: None if method == "GET" else "403:AccessDenied"
    assert gc(location).snapshots == (1, 2)
    with pytest.raises(StoreError, match="access is denied"):
        gc(location, yes=True)
    assert SongStore.open(location).snapshots() == [1, 2, 3]
