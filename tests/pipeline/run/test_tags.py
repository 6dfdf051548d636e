"""Tags as columns: of an extraction, and of the files of a store that is there."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from songbag_pipeline import ExtractConfig, extract, relabel_from_tags
from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import UsageError
from songbag_store.progress import Silent
from songbag_store.upkeep.change import relabel
from songbag_training.splits.division import split
from tests.support.command import songbag_here
from tests.support.tagged import flac, plain_audio

SPEC = FeatureSpec(window_s=0.5, n_mels=20)
MP3 = plain_audio("MP3")
COLUMNS = ["song_id", "artist", "album", "title", "genre", "year", "track"]


def song(folder: Path, name: str, **tags: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = plain_audio("FLAC", tone=0.02 * ord(name[0]) - 1.8)
    comments = [f"{key}={text}".encode() for key, text in tags.items()]
    path.write_bytes(flac(audio, *comments, b"COMMENT=" + name.encode()))
    return path


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    folder = tmp_path / "songs"
    song(folder, "a.flac", ARTIST="A", ALBUM="One", TITLE="t", GENRE="Rock", DATE="2004-03-01", TRACKNUMBER="3/12")
    song(folder, "b.flac", ARTIST="A", GENRE="Jazz")
    song(folder, "c.flac", ARTIST="C", DATE="soon")
    (folder / "d.mp3").write_bytes(MP3)
    return folder


def config(cluster: Path, **more: object) -> ExtractConfig:
    return ExtractConfig(scheduler_file=cluster, **more)  # type: ignore[arg-type]


def rows(store: SongStore, columns: list[str] = COLUMNS) -> list[list[object]]:
    return [list(row.values()) for row in store.index(columns, arrow=True).sort_by("song_id").to_pylist()]


TAGS = [
    ["a.flac", "A", "One", "t", "Rock", 2004, 3],
    ["b.flac", "A", None, None, "Jazz", None, None],
    ["c.flac", "C", None, None, None, None, None],
    ["d.mp3", None, None, None, None, None, None],
]


def test_tags_become_typed_columns_and_group_a_split(songs: Path, tmp_path: Path, standing_cluster: Path) -> None:
    (songs / "e.flac").write_bytes(b"words")
    done = extract(songs, tmp_path / "store", SPEC, config(standing_cluster, tags=True), progress=Silent())
    assert (done.n_stored, done.n_failed) == (4, 1)
    store = SongStore.open(tmp_path / "store")
    assert rows(store) == [*TAGS, ["e.flac", *[None] * 6]]
    types = {field.name: field.type for field in store.index(arrow=True).schema}
    assert [types[name] for name in COLUMNS[1:]] == [pa.string()] * 4 + [pa.int64()] * 2
    # All tags are there already.
    again = relabel_from_tags(store, progress=Silent())
    assert (again.store.snapshot, again.n_songs, again.n_tagged, again.n_filled) == (store.snapshot, 4, 3, 0)
    relabel(store, _table(tmp_path, {"song_id": ["a.flac", "b.flac", "c.flac", "d.mp3"], "label": list("xyxy")}))
    halves = split(tmp_path / "store", "label", group=["artist"], folds=2, progress=Silent())
    subset = dict(zip(halves.song_ids, halves.subsets, strict=True))
    assert subset["a.flac"] == subset["b.flac"]


def _table(folder: Path, columns: dict[str, list[object]]) -> Path:
    pq.write_table(pa.table(columns), folder / "table.parquet")
    return folder / "table.parquet"


def test_a_store_without_tags_is_extended_and_filled_in_later(
    songs: Path, tmp_path: Path, standing_cluster: Path
) -> None:
    address, plain = tmp_path / "store", config(standing_cluster)
    extract(songs, address, SPEC, plain, progress=Silent())
    assert "artist" not in SongStore.open(address).index(arrow=True).column_names
    song(songs, "z.flac", ARTIST="Z", TRACKNUMBER="7")
    done = extract(songs, address, SPEC, config(standing_cluster, tags=True), progress=Silent())
    assert [note for note in done.warnings if "relabel STORE --from-tags" in note]
    store = SongStore.open(address)
    assert rows(store) == [[row[0], *[None] * 6] for row in TAGS] + [["z.flac", "Z", None, None, None, None, 7]]
    shown = songbag_here("relabel", str(address), "--from-tags")
    assert shown.stdout == f"4 of 5 songs have tags; 9 values filled in; snapshot 3 of {address}.\n", shown.stderr
    filled = SongStore.open(address)
    assert rows(filled)[:4] == TAGS
    assert filled.index(["fragment", "extracted_at"]).equals(store.index(["fragment", "extracted_at"]))
    # A run without tags leaves those that are there.
    song(songs, "zz.flac", ARTIST="Z")
    extract(songs, address, SPEC, plain, progress=Silent())
    assert rows(SongStore.open(address))[-2:] == [
        ["z.flac", "Z", None, None, None, None, 7],
        ["zz.flac", *[None] * 6],
    ]


def test_a_value_that_is_there_stays_and_songs_whose_files_are_others_are_named(
    songs: Path, tmp_path: Path, standing_cluster: Path
) -> None:
    for name in ("e", "f", "g"):
        song(songs, f"{name}.flac", ARTIST=name)
    address = tmp_path / "store"
    extract(songs, address, SPEC, config(standing_cluster), progress=Silent())
    labels = {"song_id": ["a.flac", "c.flac"], "genre": ["label", None], "Title": ["x", "y"], "year": ["early", None]}
    relabel(address, _table(tmp_path, labels))
    (songs / "e.flac").unlink()
    song(songs, "f.flac", ARTIST="other")
    os.utime(songs / "b.flac", (1, 1))
    (songs / "g.flac").unlink()
    (songs / "g.flac").mkdir()
    shown = songbag_here("relabel", str(address), "--from-tags")
    assert shown.stdout.splitlines() == [
        "note: the column 'Title' of the store is another one than 'title', from which it differs only in capitals; "
        "the tag is left out",
        "note: the column 'year' of the store is of type string instead of whole numbers; the tag is left out",
        "note: 1 file is gone: 'e.flac'",
        "note: 1 file has other content than was extracted (songbag extract SOURCE STORE --update-changed --tags "
        "computes it again): 'f.flac'",
        "note: 1 file cannot be read: 'g.flac'",
        f"3 of 7 songs have tags; 6 values filled in; snapshot 3 of {address}.",
    ]
    found = SongStore.open(address)
    assert rows(found, ["song_id", "artist", "genre", "year", "Title"]) == [
        ["a.flac", "A", "label", "early", "x"],
        ["b.flac", "A", "Jazz", None, None],
        ["c.flac", "C", None, None, "y"],
        *([f"{name}", None, None, None, None] for name in ("d.mp3", "e.flac", "f.flac", "g.flac")),
    ]
    for path in songs.iterdir():
        path.rename(path.with_suffix(".moved"))
    shown = songbag_here("relabel", str(address), "--from-tags")
    assert (shown.returncode, "7 files are gone: 'a.flac', 'b.flac'" in shown.stdout) == (1, True)


def test_a_column_of_the_manifest_stands_in_the_place_of_a_tag(
    songs: Path, tmp_path: Path, standing_cluster: Path
) -> None:
    manifest = tmp_path / "songs.csv"
    manifest.write_text("path,Artist,genre\nsongs/a.flac,Mine,\nsongs/b.flac,,polka\n")
    done = extract(manifest, tmp_path / "store", SPEC, config(standing_cluster, tags=True), progress=Silent())
    notes = [note for note in done.warnings if "no tag is read for it" in note]
    assert [note.split("'")[1] for note in notes] == ["Artist", "genre"]
    store = SongStore.open(tmp_path / "store")
    assert rows(store, ["song_id", "Artist", "genre", "album", "year"]) == [
        ["songs/a.flac", "Mine", None, "One", 2004],
        ["songs/b.flac", None, "polka", None, None],
    ]
    # A store whose year is text takes no other; one whose track is a fraction takes whole ones.
    other = {"song_id": ["songs/a.flac"], "year": ["early"], "track": [1.5]}
    relabel(store, _table(tmp_path, other))
    manifest.write_text("path\nsongs/c.flac\n")
    done = extract(manifest, tmp_path / "store", SPEC, config(standing_cluster, tags=True), progress=Silent())
    assert done.n_stored == 1
    assert [note for note in done.warnings if "'year' of the store is of type string" in note]


def test_relabel_takes_a_table_or_the_tags() -> None:
    for arguments in (["relabel", "store"], ["relabel", "store", "labels.csv", "--from-tags"]):
        done = songbag_here(*arguments)
        assert (done.returncode, "--from-tags in their place" in done.stderr) == (UsageError.exit_code, True)
