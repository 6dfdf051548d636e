"""Tables as people write them: read by what they mean, or refused with the line."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from songbag_store.errors import UsageError
from songbag_store.sql.manifest import Manifest

TWO = [{"path": "a.ogg", "label": "x"}, {"path": "b.ogg", "label": "y"}]


def load(folder: Path, content: str | bytes, name: str = "list.csv") -> list[dict[str, object]]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    rows: list[dict[str, object]] = Manifest.load(path).table.to_pylist()
    return rows


@pytest.mark.fault(97)
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.csv", "path,label\na.ogg,x\nb.ogg,y\n"),
        ("spaces.csv", "path, label\na.ogg, x\nb.ogg, y\n"),
        ("quotes behind spaces.csv", 'path, "label"\na.ogg, "x"\n"b.ogg", y\n'),
        ("spaces on both sides.csv", "path ,label \na.ogg , x\nb.ogg ,y \n"),
        ("spaces in values alone.csv", "path,label\na.ogg, x\nb.ogg, y\n"),
        ("semicolons.csv", "path;label\na.ogg;x\nb.ogg;y\n"),
        ("hint.csv", "sep=;\r\npath;label\r\na.ogg;x\r\nb.ogg;y\r\n"),
        ("tabs.csv", "path\tlabel\na.ogg\tx\nb.ogg\ty\n"),
        ("tabs.tsv", "path\tlabel\na.ogg\tx\nb.ogg\ty\n"),
        ("bars.txt", "path|label\na.ogg|x\nb.ogg|y\n"),
        ("mark.csv", b"\xef\xbb\xbfpath,label\na.ogg,x\nb.ogg,y\n"),
        ("empty lines.csv", "\npath,label\n\na.ogg,x\n\n\nb.ogg,y\n\n"),
        ("dos.csv", "path,label\r\na.ogg,x\r\nb.ogg,y"),
        ("mac.csv", "path,label\ra.ogg,x\rb.ogg,y\r"),
        ("utf16.csv", "path\tlabel\r\na.ogg\tx\r\nb.ogg\ty\r\n".encode("utf-16")),
        ("utf16be.csv", b"\xfe\xff" + "path,label\na.ogg,x\nb.ogg,y\n".encode("utf-16-be")),
        ("utf32.csv", "path,label\na.ogg,x\nb.ogg,y\n".encode("utf-32")),
        ("pandas.csv", ",path,label\n0,a.ogg,x\n1,b.ogg,y\n"),
        ("pandas filtered.csv", ",path,label\n7,a.ogg,x\n19,b.ogg,y\n"),
        ("pandas twice.csv", ",Unnamed: 0,path,label\n0,0,a.ogg,x\n1,1,b.ogg,y\n"),
        ("excel.csv", "path,label,,\na.ogg,x,,\nb.ogg,y,,\n"),
        ("speech.csv", "audio_filepath,label\na.ogg,x\nb.ogg,y\n"),
        ("lines.jsonl", '{"path": "a.ogg", "label": "x"}\n\n{"label": "y", "path": "b.ogg"}\n'),
        ("mark.ndjson", '\ufeff{"path": "a.ogg", "label": "x"}\r\n{"path": "b.ogg", "label": "y"}'),
        ("speech.json", '{"audio_filepath": "a.ogg", "label": "x"}\n{"audio_filepath": "b.ogg", "label": "y"}\n'),
        ("list.json", '[\n {"path": "a.ogg", "label": "x"},\n {"path": "b.ogg", "label": "y"}\n]\n'),
        ("list on a line.jsonl", '\ufeff [{"path":"a.ogg","label":"x"},{"path":"b.ogg","label":"y"}]'),
        ("list of many lines.json", json.dumps(TWO, indent=4)),
        ("list by content", json.dumps(TWO)),
        ("lines by content", '{"path": "a.ogg", "label": "x"}\n{"path": "b.ogg", "label": "y"}\n'),
    ],
)
def test_a_table_is_read_however_it_was_written(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert load(tmp_path, content, name) == TWO


def test_row_numbers_are_left_out_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(",path\n0,a.ogg\n1,b.ogg\n")
    assert "row numbers" in Manifest.load(tmp_path / "list.csv").notes[0]


@pytest.mark.fault(97)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path,label\na.ogg,x\nb.ogg,x,y\n", "line 3 has 3 fields, and the first line has 2"),
        ('path,label\na.ogg,"x,\n1"\nb.ogg\n', "line 4 has 1 field,"),
        ('path,label\na.ogg,x\nb.ogg,"y\nc.ogg,z\n', "line 3: a quotation mark"),
        ('path,label\na.ogg,"x\nb.ogg,"y\nc.ogg,z\n', "line 2: a quotation mark"),
        ("path,code\na.ogg,1\nb.ogg,99999999999999999999999\n", "line 3: the column 'code' holds '9+', a number above"),
        ("path,code\na.ogg," + "9" * 5000 + "\n", "line 2: the column 'code' holds '9+..."),
        ("path,code\na.ogg,1.5\nb.ogg,-9223372036854775809\n", "line 3: the column 'code' holds '-9"),
        ("path,artist\na.ogg,x\nb.ogg,Bj\u00f6rk\n".encode("latin-1"), "line 3 is not UTF-8 .*Windows-1252.*Björk"),
        ("path,x\na.ogg,1\nb.ogg,2\n".encode("utf-16-le"), "line 1 holds a NUL character; the file may be UTF-16"),
        ("path,x\na.ogg,y\0z\n", "line 2 holds a NUL"),
        ("path,\na.ogg,x\n", "the column 2 has no name"),
        (",path\nu,a.ogg\n", "the column 1 has no name"),
        ("path, path\na.ogg,x\n", "two columns 'path'"),
        ("path,n\na.ogg,1.5\nb.ogg,9007199254740993\n", "line 3: .* '9007199254740993', which .* would round"),
        ("path;n\na.ogg;1,5\nb.ogg;-9007199254740993\n", "line 3: .* '-9007199254740993', which .* would round"),
        ("path,n\na.ogg,1.5\nb.ogg,\nc.ogg,123456789012345678\n", "line 4: .* would round"),
        ("", "it is empty"),
        ("\r\n \n", "it is empty"),
    ],
)
def test_a_fault_of_a_csv_has_its_line(tmp_path: Path, content: str | bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load(tmp_path, content)


@pytest.mark.fault(97)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"path": "a.ogg"}\n{"path": "b.ogg"\n', "line 2 is no JSON object"),
        ('{"path": "a.ogg"}\n\n["b.ogg"]\n', "line 3 is no JSON object"),
        ('{"path": "a.ogg"}\n{}\n', "line 2 is no JSON object"),
        ('{"path": "a.ogg", "n": 1}\n{"path": "b.ogg", "n": "x"}\n', "line 2: the column 'n' holds '\"x\"'"),
        ('{"path": "a.ogg", "n": 99999999999999999999999}\n', "line 1 .* above 64 bits"),
        ('{"path": "a.ogg", "path": "b.ogg"}\n', "line 1 .* twice"),
        ('{"path": "a.ogg", "tags": ["x", 1]}\n', "line 1: the column 'tags'"),
        (b'{"path": "a.ogg"}\n{"path": "\xf6.ogg"}\n', "line 2 is not UTF-8"),
        ('{\n"path": "a.ogg"}\n', "one JSON object"),
        ('{"path": "a.ogg",\n "label": "x"}\n', "one JSON object"),
        ('[{"path": "a.ogg"},\n ["b.ogg"]]\n', "line 2 is no JSON object with columns"),
        ('[{"path": "a.ogg"},\n {"path": "b.ogg"\n]\n', "line 2 is no JSON object that can be read"),
        ('[{"path": "a.ogg"},\n {"path": 1}\n]\n', "line 2: the column 'path' holds '1'"),
        ('[{"path": "a.ogg"},\n\n]\n', "line 3 is no JSON object that can be read"),
        ('[{"path": "a.ogg"}\n {"path": "b.ogg"}]\n', "does not go on, nor end, behind line 1"),
        ('[{"path": "a.ogg"},\n {"path": "b.ogg"}\n', "does not go on, nor end, behind line 2"),
        ('[{"path": "a.ogg"}]\n{"path": "b.ogg"}\n', "something behind the end of the list"),
        (" [ ]\n", "an empty list"),
    ],
)
def test_a_fault_of_json_lines_has_its_line(tmp_path: Path, content: str | bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load(tmp_path, content, "list.jsonl")


def test_columns_of_json_lines_have_one_type_over_all_blocks(tmp_path: Path) -> None:
    rows = [{"song_id": number, "path": f"{number}.ogg", "n": number} for number in range(10_000)]
    rows.append({"song_id": 10_000, "path": "last.ogg", "n": 0.5, "tags": ["x"]})  # type: ignore[dict-item]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    table = Manifest.load(tmp_path / "list.jsonl").table
    assert table.schema.field("song_id").type == pa.string()
    assert (table["n"][9_999].as_py(), table["n"][10_000].as_py()) == (9999.0, 0.5)
    assert (table["tags"][0].as_py(), table["tags"][10_000].as_py()) == (None, ["x"])
    rows.append({"song_id": 10_001, "path": "x", "n": "text"})  # type: ignore[dict-item]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UsageError, match=r"line 10002: .*'n'|lines 8193 to 10002"):
        Manifest.load(tmp_path / "list.jsonl")


def test_fields_of_megabytes_are_read_and_later_lines_counted(tmp_path: Path) -> None:
    long = "q" * 3_000_000
    rows = load(tmp_path, f'path,note\na.ogg,"{long}"\nb.ogg,short\n')
    assert [len(str(row["note"])) for row in rows] == [3_000_000, 5]
    with pytest.raises(UsageError, match="line 3 has 3 fields"):
        load(tmp_path, f"path,note\na.ogg,{long}\nb.ogg,x,y\n")


def test_quotation_marks_inside_a_field_are_text(tmp_path: Path) -> None:
    rows = load(tmp_path, 'path,title\na.ogg,12" mix\nb.ogg,"""Heroes"", live"\nc.ogg,"two\nlines"\n')
    assert [row["title"] for row in rows] == ['12" mix', '"Heroes", live', "two\nlines"]


def test_a_space_of_some_values_only_is_kept(tmp_path: Path) -> None:
    assert [row["label"] for row in load(tmp_path, "path,label\na.ogg, x\nb.ogg,y\n")] == [" x", "y"]
    assert [row["path"] for row in load(tmp_path, "path,label\n .ogg,x\n")] == [" .ogg"]


def test_a_decimal_comma_goes_with_semicolons(tmp_path: Path) -> None:
    rows = load(tmp_path, "path;bpm;take;tags\na.ogg;120,5;1;x,y\nb.ogg;90;2;z\nc.ogg;;;\n")
    assert [row["bpm"] for row in rows] == [120.5, 90.0, None]
    assert [(row["take"], row["tags"]) for row in rows][:2] == [(1, "x,y"), (2, "z")]
    rows = load(tmp_path, "path;song_id;code;lot\na.ogg;1;007;1,5\nb.ogg;2;12;x\n")
    assert [(row["song_id"], row["code"], row["lot"]) for row in rows] == [("1", "007", "1,5"), ("2", "12", "x")]
    assert [row["tags"] for row in load(tmp_path, 'path,tags\na.ogg,"1,2"\n')] == ["1,2"]


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["007", "12"], ["007", "12"]),
        (["0x1F", "0xFF"], ["0x1F", "0xFF"]),
        (["0X1F", "12"], ["0X1F", "12"]),
        (["1E5", "2e3"], ["1E5", "2e3"]),
        (["1E5", ""], ["1E5", None]),
        (["1E400", "2E3"], ["1E400", "2E3"]),
        (["1E5", "2.5"], [1e5, 2.5]),
        (["1e-3", "1e3"], [1e-3, 1e3]),
        (["1.0E5", "2E3"], [1e5, 2e3]),
        (["0", "-10"], [0, -10]),
        (["0.5", "9007199254740992"], [0.5, 2.0**53]),
        (["9007199254740993", "1"], [2**53 + 1, 1]),
    ],
    ids=str,
)
def test_codes_of_digits_stay_text_and_numbers_are_numbers(tmp_path: Path, texts: list[str], values: list[Any]) -> None:
    for separator in ",;\t":
        rows = "".join(f"{name}.ogg{separator}{text}\n" for name, text in zip("ab", texts, strict=True))
        assert [row["code"] for row in load(tmp_path, f"path{separator}code\n{rows}")] == values


def test_a_missing_number_behind_a_space_is_null(tmp_path: Path) -> None:
    rows = load(tmp_path, "path, year, code\na.ogg, 1999, 007\nb.ogg, , 8\n")
    assert [(row["year"], row["code"]) for row in rows] == [(1999, "007"), (None, "8")]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"\xff"]),
        pa.array([[b"\xff"]]),
        pa.array([[[b"\xff"]]], pa.list_(pa.large_list(pa.large_binary()))),
        pa.array([{"a": b"\xff"}]),
        pa.array([[{"a": {"b": b"\xff"}}]]),
        pa.array([[("k", b"\xff")]], pa.map_(pa.string(), pa.binary())),
        pa.array([b"\xff"], pa.binary(1)),
        pa.array([[b"\xff"]], pa.list_(pa.binary(), 1)),
        pa.array([b"\xff"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_bytes_are_refused_at_every_depth(tmp_path: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"path": ["a.ogg"], "raw": column}), tmp_path / "list.parquet")
    with pytest.raises(UsageError, match="'raw' holds bytes"):
        Manifest.load(tmp_path / "list.parquet")


def test_nested_columns_become_plain_ones(tmp_path: Path) -> None:
    columns = {
        "path": pa.array(["a.ogg"]),
        "pair": pa.array([[1, 2]], pa.list_(pa.int64(), 2)),
        "facts": pa.array([{"names": ["x"]}], pa.struct([("names", pa.large_list(pa.large_string()))])),
        "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        "tags": pa.array([["x", None, "y"]], pa.list_view(pa.string())),
        "more": pa.array([{"tags": [1, 2]}], pa.struct([("tags", pa.large_list_view(pa.int64()))])),
        "__index_level_0__": pa.array([7]),
    }
    pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    table = Manifest.load(tmp_path / "list.parquet").table
    assert table.column_names == ["path", "pair", "facts", "map", "tags", "more"]
    assert table.schema.field("pair").type == pa.list_(pa.int64())
    assert table.schema.field("facts").type == pa.struct([("names", pa.list_(pa.string()))])
    assert table.schema.field("tags").type == pa.list_(pa.string())
    assert table.select(["tags", "more"]).to_pylist() == [{"tags": ["x", None, "y"], "more": {"tags": [1, 2]}}]


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint8(), pa.dictionary(pa.int8(), pa.int32())])
def test_a_song_id_of_whole_numbers_is_text_from_parquet_as_from_csv(tmp_path: Path, kind: pa.DataType) -> None:
    plain = pa.array([7, 8], kind.value_type if pa.types.is_dictionary(kind) else kind)
    ids = plain.dictionary_encode() if pa.types.is_dictionary(kind) else plain
    pq.write_table(pa.table({"song_id": ids, "path": ["a", "b"]}), tmp_path / "list.parquet")
    assert Manifest.load(tmp_path / "list.parquet").texts("song_id").to_pylist() == ["7", "8"]


def packed(kind: str) -> bytes:
    text, target = b"path,label\na.ogg,x\n", io.BytesIO()
    if kind == "gz":
        return gzip.compress(text, mtime=0)
    if kind == "zip":
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr("list.csv", text)
    else:
        with tarfile.open(fileobj=target, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("list.csv"))
    return target.getvalue()


@pytest.mark.fault(97)
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("list.m3u8", "#EXTM3U\na.ogg\n", "playlist.*CSV whose first line is path"),
        ("list.m3u", "a.ogg\n", "playlist"),
        ("list.txt", "#EXTM3U\na.ogg\n", "playlist"),
        ("list.pls", "[playlist]\nFile1=a.ogg\n", "playlist"),
        ("list.xspf", '<?xml version="1.0"?>\n<playlist version="1"/>\n', "playlist"),
        ("album.cue", 'FILE "a.flac" WAVE\n  TRACK 01 AUDIO\n', "cue sheet.*path, start_s and end_s"),
        ("page.html", "<!DOCTYPE html>\n<p>sign in</p>\n", "web page"),
        ("list.csv.gz", packed("gz"), "packed by gzip.*Unpack"),
        ("list.csv", packed("gz"), "packed by gzip.*Unpack"),
        ("songs.zip", packed("zip"), "ZIP archive.*Unpack"),
        ("songs.tar", packed("tar"), "tar archive.*Unpack"),
        ("songs.7z", b"7z\xbc\xaf\x27\x1c\0\0", "7z archive"),
        ("songs.rar", b"Rar!\x1a\x07\0", "RAR archive"),
        ("list.xlsx", packed("zip"), "workbook.*CSV"),
        ("list.parquet", b"path,label\na.ogg,x\n", "no Parquet file"),
        ("data.bin", bytes(range(256)), "neither text nor Parquet"),
    ],
)
def test_what_is_no_table_is_refused_with_what_to_do(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        load(tmp_path, content, name)
    assert re.search(said, str(refusal.value), re.DOTALL), refusal.value
