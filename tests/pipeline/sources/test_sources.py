from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from songbag_pipeline import features_of
from songbag_pipeline.errors import ManifestError, SongsMissing, SourceError
from songbag_pipeline.sources.listing import Source
from songbag_pipeline.sources.source import read_source
from songbag_store import FeatureSpec
from songbag_store.errors import UsageError
from tests.support.audio import chirp, write
from tests.support.encoders import encoded


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x" * 10)


def ids(source: Source) -> list[str]:
    found: list[str] = source.songs["song_id"].to_pylist()
    return found


def test_a_song_id_is_the_path_below_the_folder_so_that_equal_names_do_not_collide(tmp_path: Path) -> None:
    touch(tmp_path, "b/01.mp3", "a/01.mp3", "A.WAV")
    source = read_source(tmp_path)
    assert ids(source) == ["A.WAV", "a/01.mp3", "b/01.mp3"]
    assert source.songs["path"].to_pylist()[1] == str(tmp_path / "a" / "01.mp3")
    assert source.songs["file_bytes"].to_pylist() == [10, 10, 10]


def test_the_label_is_the_first_folder(tmp_path: Path) -> None:
    touch(tmp_path, "rock/x/1.mp3", "jazz/2.mp3", "3.mp3")
    source = read_source(tmp_path, label_from_folder=True)
    labels = dict(zip(ids(source), source.songs["label"].to_pylist(), strict=True))
    assert labels == {"rock/x/1.mp3": "rock", "jazz/2.mp3": "jazz", "3.mp3": None}


@pytest.mark.fault(29)
def test_names_of_every_kind_are_kept_as_they_are(tmp_path: Path) -> None:
    names = ["-rf.mp3", "a\nb.mp3", "ünï🎵.mp3", "x" * 250 + ".mp3", "100%.mp3", " .mp3"]
    touch(tmp_path, *names)
    assert sorted(ids(read_source(tmp_path))) == sorted(names)


@pytest.mark.fault(33)
def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    touch(tmp_path, "1.mp3", "cover.jpg", "notes.txt", "2.txt")
    outside = tmp_path.parent / f"{tmp_path.name}-outside.mp3"
    outside.write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling.mp3").symlink_to(tmp_path / "nothing.mp3")
    (tmp_path / "outside.mp3").symlink_to(outside)
    (tmp_path / "inside.mp3").symlink_to(tmp_path / "1.mp3")
    os.mkfifo(tmp_path / "pipe.mp3")
    source = read_source(tmp_path)
    assert ids(source) == ["1.mp3", "inside.mp3"]
    said = "\n".join(source.warnings)
    for reason in (
        "files without the suffix of an audio file left out: 3 (.jpg, .txt)",
        "links to folders left out: 1 (loop)",
        "links to nothing left out: 1 (dangling.mp3)",
        "links out of the source left out: 1 (outside.mp3)",
        "entries that are not a regular file left out: 1 (pipe.mp3)",
        "songs that are links to a file with another name here: 1",
    ):
        assert reason in said


@pytest.mark.fault(29)
def test_a_name_that_is_not_utf8_is_left_out_with_a_reason(tmp_path: Path) -> None:
    touch(tmp_path, "1.mp3")
    with open(os.fsencode(tmp_path) + b"/caf\xe9.mp3", "wb"):
        pass
    source = read_source(tmp_path)
    assert ids(source) == ["1.mp3"]
    assert "not UTF-8" in source.warnings[0]
    assert r"caf\xe9.mp3" in source.warnings[0]


@pytest.mark.fault(29)
def test_a_source_whose_path_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    touch(folder, "1.mp3", "list.csv", os.fsdecode(b"2\xe9.mp3"))
    (folder / "list.csv").write_text("path\n1.mp3\n")
    for name in ("", "1.mp3", "list.csv", os.fsdecode(b"2\xe9.mp3")):
        with pytest.raises(SourceError, match="its path is not UTF-8"):
            read_source(folder / name)


@pytest.mark.fault(29)
def test_composed_and_decomposed_accents_are_two_songs_and_warned_of(tmp_path: Path) -> None:
    touch(tmp_path, "caf\u00e9.mp3", "cafe\u0301.mp3")
    source = read_source(tmp_path)
    assert len(ids(source)) == 2
    assert "accents" in source.warnings[0]


@pytest.mark.fault(35)
@pytest.mark.parametrize("make", [lambda p: p.mkdir(), lambda p: touch(p, "notes.txt"), lambda p: None])
def test_a_source_without_songs_is_an_error(tmp_path: Path, make: object) -> None:
    folder = tmp_path / "songs"
    make(folder)  # type: ignore[operator]
    with pytest.raises(SourceError, match="songs: there is no"):
        read_source(folder)


def test_a_manifest_brings_its_columns_typed(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3", "b.mp3")
    manifest = tmp_path / "list.csv"
    manifest.write_text("path,song_id,artist,year\r\na.mp3,007,NA,1999\r\nb.mp3,8,,\r\n", encoding="utf-8-sig")
    songs = read_source(manifest).songs
    assert songs["song_id"].to_pylist() == ["007", "8"]
    assert songs["artist"].to_pylist() == ["NA", None]
    assert songs["year"].to_pylist() == [1999, None]
    assert songs["path"].to_pylist()[0] == str(tmp_path / "a.mp3")


def test_numbers_with_leading_zeros_are_codes_and_stay_text(tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text("path,catalogue,year,gain,zero\na.mp3,007,1999,0.5,0\nb.mp3,12,2000,-1,00\nc.mp3,,,,\n")
    songs = read_source(manifest).songs
    assert songs["catalogue"].to_pylist() == ["007", "12", None]
    assert songs["zero"].to_pylist() == ["0", "00", None]
    assert songs["year"].to_pylist() == [1999, 2000, None]
    assert songs["gain"].to_pylist() == [0.5, -1.0, None]


def test_a_parquet_manifest_does_the_same(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["a.mp3", "/x/b.mp3"], "tags": [["x"], []]}), tmp_path / "list.parquet")
    songs = read_source(tmp_path / "list.parquet").songs
    assert songs["song_id"].to_pylist() == ["a.mp3", "/x/b.mp3"]
    assert songs["tags"].to_pylist() == [["x"], []]
    assert songs["file_bytes"].to_pylist() == [None, None]


@pytest.mark.fault(31, 35)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("song_id\na\n", "no column 'path'"),
        ("path,song_id\na.mp3,1\nb.mp3,2\nc.mp3,1\n", "'1' stands twice, in lines 2 and 4"),
        ("path\na.mp3\n\n,\n", "line 4 has 2 fields, and the first line has 1"),
        ("path,song_id\na.mp3,\n", "line 2: the column 'song_id' is empty"),
        ('path,song_id,note\na.mp3,1,"two\nlines"\n\nb.mp3,,x\n', "line 5: the column 'song_id' is empty"),
        ('path,song_id,"no\nte"\na.mp3,1,"1\n2\n3"\nb.mp3,2,\nc.mp3,1,\n', "'1' stands twice, in lines 3 and 7"),
        ("path,song_id\na.mp3,x\0y\n", "NUL"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused_with_line_or_column(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ManifestError, match=said):
        read_source(tmp_path / "list.csv")


def test_a_manifest_column_named_like_one_of_songbags_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,status\na.mp3,good\n")
    with pytest.raises(UsageError, match="'status'"):
        read_source(tmp_path / "list.csv")


def test_a_parquet_manifest_with_numbers_for_paths_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": [1, 2]}), tmp_path / "list.parquet")
    with pytest.raises(ManifestError, match="int64 instead of text"):
        read_source(tmp_path / "list.parquet")


def test_columns_of_every_spelling_of_text_become_text(tmp_path: Path) -> None:
    words = pa.array(["rock", "jazz"])
    columns = {"path": words.cast(pa.large_string()), "a": words.cast(pa.string_view()), "b": words.dictionary_encode()}
    columns |= {"c": pa.array([1.5, 2.5], pa.float16()), "d": pa.array([["x"], []], pa.large_list(pa.large_string()))}
    pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    types = {field.name: str(field.type) for field in read_source(tmp_path / "list.parquet").songs.schema}
    assert (types["a"], types["b"], types["c"], types["d"]) == ("string", "string", "float", "list<item: string>")


def test_text_that_is_not_utf8_and_columns_given_twice_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("path,artist\na.mp3,Bj\xf6rk\n".encode("latin-1"))
    with pytest.raises(ManifestError, match=r"line 2 is not UTF-8.*Björk"):
        read_source(tmp_path / "latin.csv")
    (tmp_path / "twice.csv").write_text("path,a,a\nx.mp3,1,2\n")
    with pytest.raises(ManifestError, match="two columns 'a'"):
        read_source(tmp_path / "twice.csv")


@pytest.mark.fault(30)
def test_ids_that_look_like_paths_stay_text(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,song_id\na.mp3,../../etc/passwd\nb.mp3,/abs\nc.mp3,C:\\x\n")
    assert ids(read_source(tmp_path / "list.csv")) == ["../../etc/passwd", "/abs", "C:\\x"]


@pytest.mark.fault(97)
@pytest.mark.parametrize("name", ["a.wav", "a", "a.data", "a.backup", "a.wav.bak"])
def test_a_single_file_is_a_song_by_its_suffix_or_by_its_content(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, chirp(0.1), encoding="wav")
    assert ids(read_source(tmp_path / name)) == [name]


@pytest.mark.fault(97)
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("list.m3u8", b"#EXTM3U\na.ogg\n", "playlist"),
        ("songs.zip", b"PK\3\4" + b"\xff\xfb\x90\x64" + bytes(413) + b"\xff\xfb\x90\x64", "ZIP archive"),
        ("songs", b"PK\3\4" + b"\xff\xfb\x90\x64" + bytes(413) + b"\xff\xfb\x90\x64", "ZIP archive"),
        ("notes.txt", b"Recorded on a Sunday\n", "no audio that songbag knows, and no manifest.*'path'"),
        ("photo", b"\x89PNG\0\0", "no audio that songbag knows, and no manifest"),
        ("empty", b"", "empty"),
        ("list.csv", b"name\nx\n", "no column 'path' or 'audio_filepath' .there are: name"),
    ],
)
def test_a_single_file_that_is_neither_song_nor_manifest_is_refused(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError, match=said):
        read_source(tmp_path / name)


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(SourceError, match="neither a folder nor a regular file"):
        read_source(tmp_path / "pipe.csv")


def test_paths_of_a_manifest_may_be_addresses_of_files_or_begin_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    touch(tmp_path, "a b.mp3", "home/c.mp3", "sub/d.mp3")
    text = f"path\nfile://{tmp_path}/a%20b.mp3\n~/c.mp3\n./sub/../sub/d.mp3\n"
    (tmp_path / "list.csv").write_text(text)
    source = read_source(f"file://{tmp_path}/list.csv")
    assert source.songs["path"].to_pylist() == [str(tmp_path / name) for name in ("a b.mp3", "home/c.mp3", "sub/d.mp3")]
    assert source.songs["file_bytes"].null_count == 0


@pytest.mark.parametrize("path", ["https://example.org/a.mp3", "file://other/a.mp3", "S3://x/a.mp3"])
def test_an_address_that_cannot_be_read_is_refused_with_its_line(tmp_path: Path, path: str) -> None:
    (tmp_path / "list.csv").write_text(f"path\na.mp3\n{path}\n")
    with pytest.raises(ManifestError, match="line 3: songbag cannot read from"):
        read_source(tmp_path / "list.csv")


def test_missing_files_are_counted_with_the_folder_where_paths_start(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3")
    (tmp_path / "list.csv").write_text("path\na.mp3\nnowhere/b.mp3\n")
    some = read_source(tmp_path / "list.csv")
    some.refuse_nowhere()
    assert some.missing().startswith("1 of the 2 files of the manifest is not there")
    assert f"start in {tmp_path}, and the first" in some.missing()
    (tmp_path / "a.mp3").unlink()
    with pytest.raises(SongsMissing, match="none of the 2 files"):
        read_source(tmp_path / "list.csv").refuse_nowhere()


@pytest.mark.fault(100)
def test_a_file_that_cannot_be_looked_at_is_not_called_missing(tmp_path: Path) -> None:
    """A name that no file system takes stands for a folder that may not be entered, which root always may."""
    (tmp_path / "list.csv").write_text(f"path\n{'x' * 300}.mp3\n")
    source = read_source(tmp_path / "list.csv")
    source.refuse_nowhere()
    assert source.missing() == ""


@pytest.mark.fault(97)
def test_every_suffix_is_tried_and_one_of_texts_is_a_song_by_its_content(tmp_path: Path) -> None:
    kinds = {
        "wv": ("wavpack", "wv"),
        "tta": ("tta", "tta"),
        "w64": ("pcm_s16le", "w64"),
        "ac3": ("ac3", "ac3"),
        "ts": ("mp2", "mpegts"),
        "mpg": ("mp2", "mpeg"),
        "avi": ("mp2", "avi"),
        "voc": ("pcm_s16le", "voc"),
    }
    for suffix, (codec, form) in kinds.items():
        (tmp_path / f"a.{suffix}").write_bytes(encoded(chirp(0.5, 48000, 2), 48000, codec, form))
    (tmp_path / "code.ts").write_text("export const songs: string[] = []\n")
    (tmp_path / "words.voc").write_text("do re mi\n")
    source = read_source(tmp_path)
    assert ids(source) == sorted(f"a.{suffix}" for suffix in kinds)
    assert source.warnings == ("files with a suffix of audio and another content left out: 2 (code.ts, words.voc)",)
    failed = [song.song_id for song in features_of(tmp_path, FeatureSpec(window_s=0.25)) if song.error]
    assert failed == []


@pytest.mark.fault(100)
def test_a_source_that_cannot_be_looked_at_is_not_said_to_be_absent(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SourceError, match=r"loop: it cannot be looked at \(Too many levels"):
        read_source(tmp_path / "loop")
    for name in ("absent", "absent/x", "a\0b"):
        with pytest.raises(SourceError, match="there is no such folder or file"):
            read_source(tmp_path / name)
