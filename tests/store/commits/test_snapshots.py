from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from songbag_store.commits.snapshots import Snapshot, commit, read_snapshot, snapshot_numbers
from songbag_store.errors import DamagedStore, StoreNotFound
from songbag_store.format.keys import snapshot_key
from songbag_store.storage.folder import LocalStorage
from songbag_store.storage.storage import KeyExists

UUID = "0" * 32


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


def adding(part: str) -> object:
    return lambda base: None if part in base.parts else (base.index, base.parts | {part})


def test_a_store_without_a_commit_is_empty(storage: LocalStorage) -> None:
    snapshot = read_snapshot(storage, UUID)
    assert (snapshot.number, snapshot.index.num_rows) == (0, 0)


def test_commits_count_from_one_and_all_stay_readable(storage: LocalStorage) -> None:
    for part in "abc":
        commit(storage, UUID, adding(part))  # type: ignore[arg-type]
    assert snapshot_numbers(storage) == [1, 2, 3]
    assert read_snapshot(storage, UUID, 2).parts == {"a", "b"}


def test_a_change_with_nothing_to_do_makes_no_snapshot(storage: LocalStorage) -> None:
    commit(storage, UUID, adding("a"))  # type: ignore[arg-type]
    assert commit(storage, UUID, adding("a")).number == 1  # type: ignore[arg-type]
    assert snapshot_numbers(storage) == [1]


def test_a_writer_that_lost_the_race_rebases_on_the_winner(storage: LocalStorage) -> None:
    calls = 0

    def change(base: Snapshot) -> tuple[pa.Table, frozenset[str]]:
        nonlocal calls
        calls += 1
        if calls == 1:
            commit(storage, UUID, adding("winner"))  # type: ignore[arg-type]
        return base.index, base.parts | {"loser"}

    assert commit(storage, UUID, change).number == 2
    assert read_snapshot(storage, UUID).parts == {"winner", "loser"}


class LosesTheAnswer(LocalStorage):
    """Creates the object and then says that it existed, as a retried request does."""

    def create(self, key: str, data: bytes) -> None:
        super().create(key, data)
        raise KeyExists(key)


class SaysConflict(LocalStorage):
    """Says once that an absent object exists, as S3 does with 409."""

    said = False

    def create(self, key: str, data: bytes) -> None:
        if not self.said:
            self.said = True
            raise KeyExists(key)
        super().create(key, data)


@pytest.mark.parametrize("kind", [LosesTheAnswer, SaysConflict])
def test_an_ambiguous_answer_is_settled_by_reading_again(tmp_path: Path, kind: type[LocalStorage]) -> None:
    assert commit(kind(tmp_path), UUID, adding("a")).number == 1  # type: ignore[arg-type]
    assert snapshot_numbers(LocalStorage(tmp_path)) == [1]


def test_a_damaged_newest_snapshot_is_an_error_that_names_the_last_good_one(storage: LocalStorage) -> None:
    for part in "abc":
        commit(storage, UUID, adding(part))  # type: ignore[arg-type]
    for number in (2, 3):
        (storage.root / snapshot_key(number)).write_bytes(b"")
    with pytest.raises(DamagedStore, match="last good snapshot is 1"):
        read_snapshot(storage, UUID)


def test_a_snapshot_of_another_store_is_refused(storage: LocalStorage) -> None:
    commit(storage, "1" * 32, adding("a"))  # type: ignore[arg-type]
    with pytest.raises(DamagedStore, match="another store"):
        read_snapshot(storage, UUID)


def test_a_snapshot_that_never_was_is_not_found(storage: LocalStorage) -> None:
    commit(storage, UUID, adding("a"))  # type: ignore[arg-type]
    with pytest.raises(StoreNotFound, match="1 to 1"):
        read_snapshot(storage, UUID, 7)


@pytest.mark.fault(114)
def test_a_snapshot_in_a_gap_that_gc_left_is_made_again_behind_the_newest(storage: LocalStorage) -> None:
    """Between the reading of a base and the commit others commit three times, and gc deletes two of theirs."""
    commit(storage, UUID, adding("a"))  # type: ignore[arg-type]
    bases: list[int] = []

    def change(base: Snapshot) -> tuple[pa.Table, frozenset[str]]:
        bases.append(base.number)
        if len(bases) == 1:
            for part in "bcd":
                commit(storage, UUID, adding(part))  # type: ignore[arg-type]
            for number in (2, 3):
                storage.delete(snapshot_key(number))
        return base.index, base.parts | {"mine"}

    assert commit(storage, UUID, change).number == 5
    assert bases == [1, 4]
    assert read_snapshot(storage, UUID).parts == {"a", "b", "c", "d", "mine"}


class Hurried(LocalStorage):
    """Another writer commits on top of snapshot 1 as soon as it is there."""

    def create(self, key: str, data: bytes) -> None:
        super().create(key, data)
        if key == snapshot_key(1):
            commit(self, UUID, adding("other"))  # type: ignore[arg-type]


def test_a_commit_that_another_one_follows_at_once_is_made_once(tmp_path: Path) -> None:
    storage = Hurried(tmp_path)
    assert commit(storage, UUID, adding("mine")).number == 1  # type: ignore[arg-type]
    assert snapshot_numbers(storage) == [1, 2]
    assert read_snapshot(storage, UUID).parts == {"mine", "other"}
