"""Manifests whose songs are parts of recordings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from songbag_pipeline.errors import ManifestError
from songbag_pipeline.sources.source import read_source


def manifest(folder: Path, rows: list[dict[str, Any]], suffix: str = "jsonl") -> Path:
    path = folder / f"list.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [rows[0].keys(), *(["" if v is None else str(v) for v in row.values()] for row in rows)]
        path.write_text("".join(",".join(line) + "\n" for line in lines))
    return path


def bounds(path: Path) -> list[tuple[str, float | None, float | None]]:
    songs = read_source(path).songs
    return list(zip(*(songs[name].to_pylist() for name in ("song_id", "start_s", "end_s")), strict=True))


@pytest.mark.fault(99)
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_the_bounds_of_parts_go_to_their_columns_and_into_their_ids(tmp_path: Path, suffix: str) -> None:
    given = [(0, 1), (1.5, 3.25), (3600, None), (None, 2.5), (None, None), (0.00001, 1234567.125)]
    rows = [{"path": "a b.ogg", "start_s": start, "end_s": end, "label": "x"} for start, end in given]
    found = bounds(manifest(tmp_path, rows, suffix))
    texts = ["#0-1", "#1.5-3.25", "#3600-", "#0-2.5", "", "#0.00001-1234567.125"]
    assert found == [(f"a b.ogg{text}", *own) for text, own in zip(texts, given, strict=True)]
    assert read_source(manifest(tmp_path, rows, suffix)).songs["label"].to_pylist() == ["x"] * 6


@pytest.mark.fault(99)
@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"offset": 1.1, "duration": 2.2}, ("a.ogg#1.1-3.3", 1.1, 3.3)),
        ({"offset": 2, "duration": 3}, ("a.ogg#2-5", 2.0, 5.0)),
        ({"offset": 2}, ("a.ogg#2-", 2.0, None)),
        ({"offset": 2, "duration": None}, ("a.ogg#2-", 2.0, None)),
        ({"offset": None, "duration": 3}, ("a.ogg#0-3", None, 3.0)),
        ({"OFFSET": 2.0, "Duration": 1}, ("a.ogg#2-3", 2.0, 3.0)),
        ({"End S": 2.0}, ("a.ogg#0-2", None, 2.0)),
        ({"start-s": 1, "end_s": 2.0, "duration": 9.0}, ("a.ogg#1-2", 1.0, 2.0)),
        ({"duration": 5.5}, ("a.ogg", None, None)),
        ({"song_id": 7, "start_s": 1}, ("7", 1.0, None)),
        ({"start_s": None}, ("a.ogg", None, None)),
    ],
    ids=str,
)
def test_other_words_for_bounds_are_understood(
    tmp_path: Path, columns: dict[str, Any], expected: tuple[str, float | None, float | None]
) -> None:
    path = manifest(tmp_path, [{"path": "a.ogg", **columns}])
    assert bounds(path) == [expected]
    duration = columns.get("duration")
    is_users = duration is not None and "offset" not in columns
    assert read_source(path).songs.column_names.count("duration") == is_users


@pytest.mark.fault(99)
@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"start_s": 2, "end_s": 2}, "row 2: the part ends at 2 s, and does not begin before that, but at 2 s"),
        ({"start_s": 2, "end_s": 1.5}, "row 2: the part ends at 1.5 s"),
        ({"end_s": 0}, "row 2: the part ends at 0 s"),
        ({"offset": 2, "duration": 0}, "row 2: the part ends at 2 s"),
        ({"offset": 2, "duration": -1}, "row 2: the column 'duration' is negative"),
        ({"start_s": -0.5}, "row 2: the column 'start_s' is negative"),
        ({"start_s": float("nan")}, "row 2: the column 'start_s' is no number of seconds"),
        ({"end_s": float("inf")}, "row 2: the column 'end_s' is no number of seconds"),
        ({"start_s": "1:30"}, "row 1: the column 'start_s' holds '1:30' instead of seconds"),
        ({"start_s": True}, "the column 'start_s' holds bool instead of seconds"),
        ({"start_s": [1.0]}, "the column 'start_s' holds list"),
        ({"start_s": 1, "offset": 1}, "the columns 'start_s' and 'offset' say in two ways"),
        ({"end_s": 3, "offset": 1}, "the columns 'end_s' and 'offset' say in two ways"),
        ({"start_s": 1, "duration": 1}, "the columns 'start_s' and 'duration' say in two ways"),
        ({"start_s": 1, "Start S": 1}, "the columns 'start_s' and 'Start S' say the same"),
        ({"onset": 1, "offset": 2}, "beside 'onset', the column 'offset' may be an end or a start"),
    ],
    ids=str,
)
def test_bounds_that_make_no_part_are_refused_with_their_line(
    tmp_path: Path, columns: dict[str, Any], said: str
) -> None:
    numbers = [name for name, value in columns.items() if type(value) in (int, float)]
    good = columns | dict.fromkeys(numbers, 1.0) | ({"end_s": 5.0} if "end_s" in columns else {})
    rows = [{"path": "a.ogg", **good}, {"path": "b.ogg", **columns}]
    with pytest.raises(ManifestError, match=said):
        read_source(manifest(tmp_path, rows, "parquet"))


@pytest.mark.fault(99)
def test_bounds_as_texts_of_numbers_and_as_what_a_csv_takes_for_codes_are_seconds(tmp_path: Path) -> None:
    path = manifest(tmp_path, [{"path": "a", "start_s": "1.5"}], "parquet")
    assert bounds(path) == [("a#1.5-", 1.5, None)]
    path.with_suffix(".csv").write_text("path,start_s,end_s\na,05.0,1E1\nb,00.5,2e+1\nc,,+3.\n")
    assert bounds(path.with_suffix(".csv")) == [("a#5-10", 5.0, 10.0), ("b#0.5-20", 0.5, 20.0), ("c#0-3", None, 3.0)]
    path.with_suffix(".csv").write_text("path,start_s\na,05.0\nb,1_000\n")
    with pytest.raises(ManifestError, match="line 3: the column 'start_s' holds '1_000' instead of seconds"):
        read_source(path.with_suffix(".csv"))


@pytest.mark.fault(99)
def test_repeated_parts_are_refused(tmp_path: Path) -> None:
    rows = [{"path": "a", "start_s": 1}, {"path": "b", "start_s": 1}, {"path": "a", "start_s": 1.0}]
    with pytest.raises(ManifestError, match="the song_id 'a#1-' stands twice, in lines 2 and 4"):
        read_source(manifest(tmp_path, rows, "csv"))


PAIRS = (
    "start,end begin,end start_time,end_time start_seconds,end_seconds start_sec,end_sec startTime,endTime "
    "start_ms,end_ms start_sample,end_sample offset_ms,duration_ms onset_s,offset_s segment_start,segment_end "
    "from,to t0,t1 begin_s,end_s start_s,end start,end_s start,duration onset,duration onset,length offset,end "
    "start_s,duration_ms START,Stop tmin,tmax start_offset,end_offset clip_start,clip_end t_start,t_end"
)


@pytest.mark.fault(99)
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    "names",
    [*(tuple(pair.split(",")) for pair in PAIRS.split()), ("Begin Time (s)", "End Time (s)"), ("start (s)", "end (s)")],
    ids=str,
)
def test_bounds_under_other_names_are_refused_and_not_left_to_be_columns(
    tmp_path: Path, names: tuple[str, str], suffix: str
) -> None:
    begin, end = names
    rows = [{"song_id": n, "path": "a.ogg", begin: n, end: n + 2.5, "label": "x"} for n in range(3)]
    rows.append({"song_id": 3, "path": "b.ogg", begin: None, end: None, "label": "y"})
    with pytest.raises(ManifestError, match=r"like the bounds of parts, of which (neither|only '.*') is") as caught:
        read_source(manifest(tmp_path, rows, suffix))
    assert repr(begin) in str(caught.value)
    assert repr(end) in str(caught.value)
    assert "name them `start_s` and `end_s`, in seconds" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.fault(99)
@pytest.mark.parametrize(("begin", "end"), [("0", "2.5"), ("0:00", "1:30"), ("00:00:01.5", "00:01:30"), ("1e1", " 2 ")])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_bounds_that_are_texts_are_refused_too(tmp_path: Path, begin: str, end: str, suffix: str) -> None:
    rows = [{"path": "a.ogg", "start": begin, "end": end}, {"path": "b.ogg", "start": "", "end": ""}]
    with pytest.raises(ManifestError, match="'start' and 'end' look like the bounds of parts"):
        read_source(manifest(tmp_path, rows, suffix))


@pytest.mark.fault(99)
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    "columns",
    [
        {"duration": 3.5},
        {"end": 3.5},
        {"start": 1987},
        {"from": 3},
        {"to": 3, "duration": 2.0},
        {"start": "Berlin", "end": "Paris"},
        {"from": "1", "to": "the end"},
        {"from": "Anna", "to": 5},
        {"start": None, "end": 5},
        {"start": True, "end": 5},
        {"start": "1987-01-01", "end": "1990-01-01"},
        {"start_year": 1987, "end_year": 1990},
        {"begin_bar": 1, "end_bar": 9},
        {"low_hz": 1, "high_hz": 9},
        {"start_s": 1, "end_s": 2, "start": 1, "end": 2, "start_sample": 8, "end_sample": 16},
        {"offset": 1, "duration": 2, "start": 1, "end": 3, "duration_ms": 2000},
        {"end_s": 2.0, "length": 9},
        {"tempo": 1, "total": 2, "tone": 3, "stops": 4},
    ],
    ids=str,
)
def test_columns_that_are_no_pair_of_bounds_are_columns_like_any_other(
    tmp_path: Path, columns: dict[str, Any], suffix: str
) -> None:
    path = manifest(tmp_path, [{"path": "a.ogg", **columns}, {"path": "b.ogg", **columns}], suffix)
    read = {"start_s", "end_s"} if {"start_s", "end_s"} & {*columns} else {"offset", "duration"} & {*columns}
    read = read if len(read) != 1 or "end_s" in columns else set()
    assert {*columns} - read <= {*read_source(path).songs.column_names}
