from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from songbag_store.errors import BackendRefused, StoreError
from songbag_store.storage.folder import LocalStorage
from songbag_store.storage.storage import KeyExists, probe


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "store")


def test_an_object_is_created_once_and_never_replaced(storage: LocalStorage) -> None:
    storage.create("index/1", b"first")
    with pytest.raises(KeyExists):
        storage.create("index/1", b"second")
    assert storage.get("index/1") == b"first"


def test_nothing_temporary_is_left_behind(storage: LocalStorage) -> None:
    storage.create("index/1", b"first")
    with pytest.raises(KeyExists):
        storage.create("index/1", b"second")
    assert os.listdir(storage.root / "index") == ["1"]


def test_a_temporary_file_of_a_killed_writer_is_not_listed(storage: LocalStorage) -> None:
    storage.create("index/1", b"first")
    (storage.root / "index" / ".tmp-killed").write_bytes(b"half")
    assert [entry.key for entry in storage.entries("index")] == ["index/1"]


def test_an_absent_folder_lists_as_empty(storage: LocalStorage) -> None:
    assert storage.entries("index") == []
    assert storage.top_level() == set()


def test_deleting_twice_is_no_error(storage: LocalStorage) -> None:
    storage.create("index/1", b"first")
    storage.delete("index/1")
    storage.delete("index/1")
    assert storage.entries("") == []


@pytest.mark.fault(48)
def test_data_are_forced_to_disk_before_the_link_and_the_folder_after_it(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, link = os.fsync, os.link

    def note_fsync(descriptor: int) -> None:
        calls.append("folder" if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir() else "file")
        fsync(descriptor)

    def note_link(source: Path, target: Path) -> None:
        calls.append("link")
        link(source, target)

    storage.create("index/1", b"makes the folders")
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "link", note_link)
    storage.create("index/2", b"data")
    assert calls == ["file", "link", "folder"]


@pytest.mark.fault(54)
@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_is_refused_with_the_reason(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(BackendRefused, match="no hard links"):
        probe(storage)


class ReplacingStorage(LocalStorage):
    """Writes over what is there."""

    def create(self, key: str, data: bytes) -> None:
        self.delete(key)
        super().create(key, data)


@pytest.mark.fault(54)
def test_a_place_that_replaces_objects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendRefused, match="a new object replaced one"):
        probe(ReplacingStorage(tmp_path / "store"))


def test_the_probe_leaves_nothing(storage: LocalStorage) -> None:
    probe(storage)
    assert storage.entries("") == []


@pytest.mark.fault(38)
@pytest.mark.parametrize(
    ("code", "said"), [(errno.ENOSPC, "no space left"), (errno.EROFS, "cannot be written"), (errno.EIO, "error")]
)
def test_an_error_of_the_disk_is_said_in_words(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match=said):
        storage.create("index/1", b"data")
