"""Labels of stretches of songs, and labels for songs that are parts of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.format.index import SEGMENTS
from songbag_store.progress import Lines
from songbag_store.sql.query import asking
from songbag_store.upkeep.change import relabel, remove
from songbag_store.upkeep.difference import diff
from songbag_store.upkeep.segments import read_segments
from tests.support.command import songbag_here
from tests.support.labelled import SPEC, songs_of_classes, write_store

Row = tuple[Any, ...]


@pytest.fixture
def store(tmp_path: Path) -> SongStore:
    songs = songs_of_classes({"a": 2, "b": 2})
    bounds = [(None, None), (0.0, 2.5), (2.5, None), (None, 1.0)]
    for song, (start, end) in zip(songs, bounds, strict=True):
        song |= {"path": "/music/long.wav", "start_s": start, "end_s": end, "content_sha256": "f" * 64}
    return write_store(tmp_path / "store", songs)


def table(folder: Path, rows: list[Row], columns: str = "song_id start_s end_s label") -> Path:
    pd.DataFrame(rows, columns=columns.split()).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def test_segments_become_a_column_and_a_table_of_windows(store: SongStore, tmp_path: Path) -> None:
    assert store.sql("from window_labels").empty
    rows = [("a/00", 0.5, 0.75, "x"), ("a/00", 0.1, 0.6, "x"), ("a/00", 9, 1e300, "y"), ("b/01", None, None, None)]
    after, n_songs = relabel(store, segments=table(tmp_path, rows))
    assert n_songs == 2
    found = after.songs(ids=["a/00", "a/01", "b/01"], columns=["segments"], arrow=True)["segments"].to_pylist()
    joined = {"start_s": 0.1, "end_s": 0.75, "label": "x"}
    assert found == [[joined, {"start_s": 9.0, "end_s": 1e300, "label": "y"}], None, []]
    labelled = after.sql('select * from window_labels order by "window", label')
    assert labelled.columns.tolist() == ["song_id", "window", "start_s", "end_s", "label", "share"]
    assert labelled["window"].tolist() == [0, 1, 2]
    assert labelled["share"].tolist() == [0.8, 1.0, 0.5]
    assert (labelled["end_s"] - labelled["start_s"] == SPEC.window_s).all()
    assert relabel(after, segments=tmp_path / "table.csv")[0].snapshot == after.snapshot
    assert diff(after, 1, arrow=True).column("column").to_pylist() == ["segments"] * 2
    with asking(after.inside.state.content.dataset(), "from window_labels") as answer:
        assert answer.table().num_rows == 0  # without a spec
    assert remove(after, "song_id in (select song_id from index where len(segments) > 0)")[1] == 1


@pytest.mark.parametrize(
    ("columns", "rows", "said"),
    [
        ("song_id start_s end_s", [("a/00", 0, 1)], "no column 'label'"),
        ("path start_s end_s label", [("x", 0, 1, "x")], "no column 'song_id'"),
        (
            "song_id start_s end_s label",
            [("a/00", 0, 1, "x"), ("a/00", 0, 1, " ")],
            "line 3: the segment has no 'label'",
        ),
        ("song_id start_s end_s label", [("a/00", 0, None, "x")], "line 2: the segment has no 'end_s'"),
        ("song_id start_s end_s label", [("a/00", None, 1.5, "x")], "line 2: the segment has no 'start_s'"),
        ("song_id start_s end_s label", [("a/00", 2, 1, "x")], "line 2: the part ends at 1 s"),
        ("song_id start_s end_s label", [("a/00", -1, 1, "x")], "line 2: the column 'start_s' is negative"),
        ("song_id start end label", [("a/00", 0, 1, "x")], "'start' and 'end' look like .*, of which neither is read"),
        ("song_id begin_s end_s label", [("a/00", 0, 1, "x")], "'begin_s' and 'end_s' .* only 'end_s' is read"),
        ("song_id start_s end_s label", [("a/00", 0, 1, "x"), ("z", 0, 1, "x")], "line 3: the store has no song 'z'"),
    ],
)
def test_segments_that_say_nothing_are_refused(
    store: SongStore, tmp_path: Path, columns: str, rows: list[Row], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        relabel(store, segments=table(tmp_path, rows, columns))
    assert store.snapshots() == [1]


def test_labels_and_segments_are_not_taken_together(store: SongStore, tmp_path: Path) -> None:
    path = table(tmp_path, [("a/00", 0, 1, "x")])
    for given in ({}, {"labels": path, "segments": path}):
        with pytest.raises(UsageError, match="takes `labels`, or `segments` in their place"):
            relabel(store, **given)


def test_a_table_that_is_no_file_is_refused(store: SongStore) -> None:
    for given in ({"labels": store.songs()}, {"segments": 5}):
        with pytest.raises(UsageError, match=r"is given as (DataFrame|int)"):
            relabel(store, **given)  # type: ignore[arg-type]


def test_numbers_are_labels_and_offset_and_duration_are_bounds(store: SongStore, tmp_path: Path) -> None:
    after, _ = relabel(store, segments=table(tmp_path, [("a/00", 0, 1, 7)], "song_id offset duration label"))
    assert after.sql("select distinct label from window_labels")["label"].tolist() == ["7"]


@pytest.mark.fault(99)
def test_a_manifest_of_parts_that_was_extracted_labels_its_songs(store: SongStore, tmp_path: Path) -> None:
    rows = [("a/01", 0, 2.5, "p"), ("a/00", None, None, "w")]
    after, _ = relabel(store, table(tmp_path, rows, "song_id start_s end_s mood"))
    assert after.songs(arrow=True)["mood"].to_pylist() == ["w", "p", None, None]
    songs = [
        dict(song, song_id=f"long.wav{text}")
        for song, text in zip(songs_of_classes({"a": 3}), ["", "#0-2.5", "#2.5-"], strict=True)
    ]
    bounds = [(None, None), (0.0, 2.5), (2.5, None)]
    for song, (start, end) in zip(songs, bounds, strict=True):
        song |= {"path": str(tmp_path / "long.wav"), "start_s": start, "end_s": end}
    other = write_store(tmp_path / "other", songs)
    whole = [("long.wav", None, None, "w"), ("long.wav", 0, 2.5, "p")]
    after, _ = relabel(other, table(tmp_path, whole, "path start_s end_s mood"))
    assert after.songs(arrow=True)["mood"].to_pylist() == ["w", "p", "w"]
    # Also if the songs have ids of their own, or the table gives the same path in other words.
    for number, song in enumerate(songs):
        song["song_id"] = f"take {number}"
    other = write_store(tmp_path / "third", songs)
    rows = [("../third/../long.wav", 0, 2.5, "p"), (str(tmp_path / "long.wav"), 2.5, None, "q")]
    (tmp_path / "notes").mkdir()
    after, n_songs = relabel(other, table(tmp_path / "notes", rows, "path start_s end_s mood"))
    assert (n_songs, after.songs(arrow=True)["mood"].to_pylist()) == (2, [None, "p", "q"])
    with pytest.raises(UsageError, match=r"no song with the path '.*long\.wav#0-2'"):
        relabel(other, table(tmp_path, [("long.wav", 0, 2, "p")], "path start_s end_s mood"))


@pytest.mark.fault(99)
def test_labels_by_path_with_bounds_under_other_names_are_refused(store: SongStore, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'start' and 'end' look like the bounds of parts"):
        relabel(store, table(tmp_path, [("a/00", 0, 2.5, "p")], "path start end mood"))
    after, _ = relabel(store, table(tmp_path, [("a/00", 0, 2.5, "p")], "song_id start end mood"))
    assert after.songs(arrow=True)["end"].to_pylist()[0] == 2.5


def test_the_command_takes_segments_and_queries_find_them(store: SongStore, tmp_path: Path) -> None:
    path = table(tmp_path, [("a/00", 0, 1, "x")])
    done = songbag_here("relabel", store.address, "--segments", path)
    assert (done.returncode, done.stdout) == (0, f"1 of 4 songs matched; snapshot 2 of {store.address}.\n")
    songbag_here("query", store.address, "select count(*) n from window_labels", "-o", tmp_path / "n.csv")
    assert (tmp_path / "n.csv").read_text() == '"n"\n4\n'
    assert done.stderr == ""
    refused = songbag_here("relabel", store.address, path, "--segments", path)
    assert refused.returncode == 2
    assert "takes LABELS, or --segments or --from-tags in their place" in refused.stderr


def test_segments_that_begin_behind_the_end_of_their_song_are_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = write_store(tmp_path / "store", [song | {"duration_s": 3.0} for song in songs_of_classes({"a": 2})])
    rows = [("a/00", 0, 1000, "x"), ("a/00", 1000, 2000, "y"), ("a/01", 3, 4, "x"), ("a/01", 2.9, 4, "x")]
    told = songbag_here("relabel", store.address, "--segments", table(tmp_path, rows)).stderr
    begin = "note: 1 of 3 segments of the store begins behind the end of its song, and labels nothing (the first: "
    assert told == f"{begin}a/00, at 1000 s of 3 s); bounds are in seconds\n"
    lines: list[str] = []
    relabel(store, segments=table(tmp_path, rows), progress=Lines(lines.append))
    assert "".join(f"note: {line}\n" for line in lines) == told
    relabel(store, segments=table(tmp_path, rows))
    assert capsys.readouterr().err == told.removeprefix("note: ")
    rows = [("a/00", 0, 1, "x"), ("a/01", 1, 2, "x")]
    assert songbag_here("relabel", store.address, "--segments", table(tmp_path, rows)).stderr == ""


def test_labels_of_a_csv_stay_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "segments.csv"
    path.write_text("song_id,start_s,end_s,label\na,0,1,1.50\na,1,2,12:00\na,2,3,2026-01-01\na,3,4,True\n")
    (segments,) = read_segments(path).table[SEGMENTS].to_pylist()
    assert [segment["label"] for segment in segments] == ["1.50", "12:00", "2026-01-01", "True"]
    pd.read_csv(path).assign(label=0.5).to_parquet(tmp_path / "segments.parquet")
    with pytest.raises(UsageError, match="'label' holds double instead of text"):
        read_segments(tmp_path / "segments.parquet")
