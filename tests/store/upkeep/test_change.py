from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import read_part
from songbag_store.errors import UsageError
from songbag_store.upkeep.change import relabel
from songbag_store.writer import commit_parts
from tests.support.stores import MakeStore, fill, sixteenths

SHAPE = FeatureSpec().window_shape


@pytest.fixture
def store(make_store: MakeStore, rng: np.random.Generator) -> SongStore:
    songs = {name: sixteenths(rng, 2, SHAPE) for name in "abc"}
    return make_store(songs, {"genre": ["rock", "jazz", "rock"]})


def labels(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return path


def column(store: SongStore, name: str) -> dict[str, object]:
    return dict(
        zip(store.index(arrow=True)["song_id"].to_pylist(), store.index(arrow=True)[name].to_pylist(), strict=True)
    )


def test_labels_are_joined_by_song_id_and_no_feature_is_touched(store: SongStore, tmp_path: Path) -> None:
    before = {entry.key for entry in store.inside.storage.entries("")}
    after, n_matched = relabel(store, labels(tmp_path, "song_id,genre,year\nc,blues,1999\na,,1970\n"))
    assert (after.snapshot, n_matched) == (2, 2)
    assert column(after, "genre") == {"a": None, "b": "jazz", "c": "blues"}
    assert column(after, "year") == {"a": 1970, "b": None, "c": 1999}
    assert {entry.key for entry in store.inside.storage.entries("")} - before == {"index/00000000000000000002.parquet"}
    np.testing.assert_array_equal(after.windows("c"), store.windows("c"))
    assert column(SongStore.open(store.address, snapshot=1), "genre")["c"] == "rock"


def test_labels_from_parquet_may_be_lists(store: SongStore, tmp_path: Path) -> None:
    pq.write_table(pa.table({"song_id": ["b"], "tags": [["x", "y"]]}), tmp_path / "labels.parquet")
    after, _ = relabel(store, tmp_path / "labels.parquet")
    assert column(after, "tags") == {"a": None, "b": ["x", "y"], "c": None}


def test_the_same_labels_twice_make_one_snapshot(store: SongStore, tmp_path: Path) -> None:
    path = labels(tmp_path, "song_id,year\na,1999\n")
    assert relabel(relabel(store, path)[0], path)[0].snapshot == 2


def test_a_manifest_without_song_ids_is_joined_by_path(store: SongStore, tmp_path: Path) -> None:
    # The store knows a as /music/a; the text "c" is a song id.
    after, n_matched = relabel(store, labels(tmp_path, "path,genre\n/music/../music/a,blues\nc,polka\n"))
    assert (n_matched, column(after, "genre")) == (2, {"a": "blues", "b": "jazz", "c": "polka"})
    (tmp_path / "beside.jsonl").write_text(
        f'{{"audio_filepath": "{os.path.relpath("/music/b", tmp_path)}", "year": 1}}'
    )
    after, _ = relabel(after, tmp_path / "beside.jsonl")
    assert column(after, "year") == {"a": None, "b": 1, "c": None}


def test_a_path_beside_a_song_id_changes_nothing(store: SongStore, tmp_path: Path) -> None:
    after, _ = relabel(store, labels(tmp_path, "path,song_id,genre\nelsewhere/x,b,polka\n"))
    assert (column(after, "genre")["b"], column(after, "path")["b"]) == ("polka", "/music/b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,genre\na,x\n", "no column 'song_id' or 'path'"),
        ("song_id\na\n", "no column beside"),
        ("song_id,status\na,ok\n", "'status' is one that songbag fills"),
        ("song_id,replaces\na,ok\n", "'replaces' is one that songbag fills"),
        ("song_id,genre\na,x\nzz,y\nzzz,y\n", r"line 3: the store has no song 'zz' \(2 unknown"),
        ("song_id,genre\na,x\nb,y\na,z\n", "'a' stands twice, in lines 2 and 4"),
        ("song_id,genre\na,x\n,y\n", "line 3: the column 'song_id' is empty"),
        ("", "it is empty"),
        ("path,genre\na,x\n./a,y\n", "'.*/a' stands twice, in lines 2 and 3"),
        ("path,genre\na,x\nzz,y\n", "line 3: the store has no song with the path 'zz'"),
        ("path\na\n", "no column beside 'path'"),
    ],
)
def test_labels_that_cannot_be_used_are_refused_with_line_or_column(
    store: SongStore, tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        relabel(store, labels(tmp_path, text))
    assert store.at().snapshot == 1


def test_a_column_changes_its_type_only_where_no_song_keeps_an_old_value(store: SongStore, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'genre'.*holds int64, and other songs keep values of string"):
        relabel(store, labels(tmp_path, "song_id,genre\na,1\n"))
    after, _ = relabel(store, labels(tmp_path, "song_id,genre\na,1\nb,2\nc,3\n"))
    assert column(after, "genre") == {"a": 1, "b": 2, "c": 3}


def test_a_whole_number_and_a_fraction_have_a_type_in_common(store: SongStore, tmp_path: Path) -> None:
    after, _ = relabel(store, labels(tmp_path, "song_id,score\na,1\n"))
    after, _ = relabel(after, labels(tmp_path, "song_id,score\nb,2.5\n"))
    assert column(after, "score") == {"a": 1.0, "b": 2.5, "c": None}


def test_labels_stay_when_a_song_is_computed_anew_by_a_run_without_that_column(
    store: SongStore, tmp_path: Path, rng: np.random.Generator
) -> None:
    after, _ = relabel(store, labels(tmp_path, "song_id,year\na,1999\n"))
    fragment = fill(after, {"a": sixteenths(rng, 5, SHAPE)})
    rows = read_part(after.inside.storage, after.uuid, after.spec, fragment)
    old = after.index(arrow=True).filter(pa.compute.field("song_id") == "a")["fragment"]
    rows = rows.set_column(rows.schema.get_field_index("replaces"), "replaces", old)
    after = commit_parts(after, {fragment: rows})
    assert after.windows("a").shape == (5, *SHAPE)
    assert (column(after, "year")["a"], column(after, "genre")["a"]) == (1999, "rock")
