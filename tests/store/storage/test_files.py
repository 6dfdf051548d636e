"""Files of results: where they may go, and that they are written as a whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from songbag_store.errors import FileError, UsageError
from songbag_store.sql.output import write_table, writing_table
from songbag_store.storage.files import claim_folder, creating, is_there, replacing, require_output, staging, within

TABLE = pa.table({"song_id": ["a", "b"], "tags": [["x", "y"], None], "n": [1, 2]})


def test_an_output_of_another_format_is_refused_and_told_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"another format.*\n  End it in \.csv or \.parquet"):
        require_output(tmp_path / "out.xls", ".csv", ".parquet")
    require_output(tmp_path / "OUT.CSV", ".csv", ".parquet")
    require_output(tmp_path / "any")


def test_an_output_without_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        require_output(tmp_path / "none" / "out.csv", ".csv")


def test_an_output_that_is_there_is_refused_only_where_it_must_be_new(tmp_path: Path) -> None:
    (tmp_path / "out.csv").touch()
    require_output(tmp_path / "out.csv", ".csv")
    with pytest.raises(UsageError, match="there already"):
        require_output(tmp_path / "out.csv", ".csv", new=True)


def test_a_claimed_folder_is_empty(tmp_path: Path) -> None:
    claim_folder(tmp_path / "a" / "b")
    claim_folder(tmp_path / "a" / "b")
    with pytest.raises(UsageError, match="not empty"):
        claim_folder(tmp_path / "a")


@pytest.mark.parametrize("writing", [replacing, creating])
def test_what_cannot_be_written_is_an_error_of_the_file(tmp_path: Path, writing: object) -> None:
    with pytest.raises(FileError, match="cannot be written"), writing(tmp_path / "none" / "a") as temporary:  # type: ignore[operator]
        temporary.write_bytes(b"x")


def test_nothing_is_written_over_what_is_to_be_new(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"first")
    with pytest.raises(UsageError, match="something in its place"), creating(tmp_path / "a") as temporary:
        temporary.write_bytes(b"second")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"first"]


def test_what_a_killed_process_has_staged_is_removed_by_the_next_and_nothing_else(tmp_path: Path) -> None:
    with staging(tmp_path) as left:
        (left / "metrics.json").write_text("half")
        shutil.copytree(left, tmp_path / ".tmp-0123.staged")
        (tmp_path / ".tmp-4567").mkdir()
        with staging(tmp_path) as second:
            there = {path.name for path in tmp_path.iterdir()}
            assert there == {left.name, second.name, ".tmp-4567"}
    assert [path.name for path in tmp_path.iterdir()] == [".tmp-4567"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_in_pieces_is_the_same_as_at_once(tmp_path: Path, suffix: str) -> None:
    at_once, in_pieces = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    write_table(TABLE, "csv" if suffix == ".csv" else "parquet", at_once)
    with writing_table(in_pieces, TABLE.schema) as writer:
        writer.add(TABLE.slice(0, 1))
        writer.add(TABLE.slice(1))
    assert at_once.read_bytes() == in_pieces.read_bytes()


def test_a_table_is_written_a_row_group_at_a_time(tmp_path: Path) -> None:
    rows = pa.table({"n": range(60_000)})
    with writing_table(tmp_path / "t.parquet", rows.schema) as writer:
        for _ in range(5):
            writer.add(rows)
    groups = pq.ParquetFile(tmp_path / "t.parquet").metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [120_000, 120_000, 60_000]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_that_fails_halfway_leaves_what_was_there(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    path.write_bytes(b"first")

    def fail() -> None:
        with writing_table(path, TABLE.schema) as writer:
            writer.add(TABLE)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"first"]


@pytest.mark.fault(100)
def test_only_what_does_not_exist_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    assert [is_there(tmp_path / name) for name in ("file", ".", "absent", "absent/x", "file/x", "a\0b")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip
    with pytest.raises(FileError, match=r"loop: cannot be looked at \(Too many levels"):
        is_there(tmp_path / "loop")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def plug(path: Path) -> None:
    path.symlink_to("pipe")
    os.mkfifo(path.with_name("pipe"))


@pytest.mark.fault(105)
@pytest.mark.parametrize("make", [pipe, plug, Path.mkdir])
def test_what_is_no_file_is_never_replaced_by_one(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "a.csv"
    make(path)
    before = path.lstat()
    with pytest.raises(UsageError, match="is no file"):
        require_output(path, ".csv")
    with pytest.raises(UsageError, match="is no file"):
        write_table(TABLE, "csv", path)
    assert os.path.samestat(before, path.lstat())
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".tmp")]


@pytest.mark.fault(105)
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not the name of a file"):
        require_output(tmp_path / ("x" * 300 + ".csv"), ".csv")


@pytest.mark.fault(100)
def test_a_folder_that_cannot_be_listed_is_no_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fold-2", "fold-1", "other"):
        (tmp_path / name).mkdir()
    assert within(tmp_path, "fold-*") == [tmp_path / "fold-1", tmp_path / "fold-2"]
    assert within(tmp_path / "nowhere") == []

    def refused(path: Path) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "listdir", refused)
    with pytest.raises(FileError, match=r"cannot be listed \(Permission denied\)"):
        within(tmp_path, "fold-*")
