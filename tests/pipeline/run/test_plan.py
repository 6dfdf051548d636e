from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from songbag_pipeline.audio.files import file_sha256
from songbag_pipeline.run.plan import Plan
from songbag_pipeline.sources.source import read_source
from songbag_store.format.index import REPLACES, empty_index, index_schema
from songbag_store.format.sealed import Sealed, seal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abc":
        (tmp_path / f"{name}.mp3").write_bytes(name.encode() * 100)
    return tmp_path


def indexed(folder: Path, **status: str) -> pa.Table:
    """An index of a folder's songs as they are now: ``a="ok"``."""
    songs = {row["song_id"]: row for row in read_source(folder).songs.to_pylist()}
    rows = [
        songs[f"{name}.mp3"]
        | {"status": value, "fragment": f"f-{name}", "n_windows": 1, "run_id": "r"}
        | {"content_sha256": file_sha256(str(folder / f"{name}.mp3"))}
        for name, value in status.items()
    ]
    return pa.Table.from_pylist(rows, schema=index_schema([]))


def sealed(index: pa.Table) -> Sealed:
    return Sealed(seal(index, {}), key="", place="")


def todo(planned: Plan) -> dict[str, str | None]:
    return dict(zip(planned.todo["song_id"].to_pylist(), planned.todo[REPLACES].to_pylist(), strict=True))


def test_everything_is_to_do_for_an_empty_store(folder: Path) -> None:
    assert todo(Plan.of(read_source(folder), sealed(empty_index()))) == {"a.mp3": None, "b.mp3": None, "c.mp3": None}


def test_only_what_is_new_is_to_do(folder: Path) -> None:
    planned = Plan.of(read_source(folder), sealed(indexed(folder, a="ok", b="failed")))
    assert todo(planned) == {"c.mp3": None}
    assert (planned.n_known, planned.n_failed_before, planned.changed) == (1, 1, ())


def test_a_failed_song_is_tried_again_on_request_or_when_its_file_changed(folder: Path) -> None:
    index = indexed(folder, a="failed", b="ok", c="ok")
    assert todo(Plan.of(read_source(folder), sealed(index), retry_failed=True)) == {"a.mp3": "f-a"}
    (folder / "a.mp3").write_bytes(b"repaired")
    assert todo(Plan.of(read_source(folder), sealed(index))) == {"a.mp3": "f-a"}


def test_songs_of_the_store_with_other_columns_than_the_source_are_counted(folder: Path, tmp_path: Path) -> None:
    index = indexed(folder, a="ok", b="ok").append_column("mood", pa.array(["calm", None]))
    (tmp_path / "list.csv").write_text("path,mood,year\na.mp3,wild,\nb.mp3,,\nc.mp3,new,1999\n")
    planned = Plan.of(read_source(tmp_path / "list.csv"), sealed(index))
    assert (planned.n_other_columns, todo(planned)) == (1, {"c.mp3": None})


def test_a_changed_file_is_told_by_its_content(folder: Path) -> None:
    index = indexed(folder, a="ok", b="ok", c="ok")
    (folder / "a.mp3").write_bytes(b"another recording")
    os.utime(folder / "b.mp3", (1, 1))
    planned = Plan.of(read_source(folder), sealed(index))
    assert planned.changed == ("a.mp3",)
    assert todo(planned) == {"a.mp3": "f-a"}
    assert planned.n_known == 2


def test_a_file_that_is_gone_keeps_its_features(folder: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text("path\na.mp3\nb.mp3\n")
    index = indexed(folder, a="ok", b="ok")
    (folder / "a.mp3").unlink()
    planned = Plan.of(read_source(manifest), sealed(index))
    assert (todo(planned), planned.n_known) == ({}, 2)
