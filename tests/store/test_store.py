from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import part_names, read_part
from songbag_store.errors import (
    DamagedStore,
    NewerFormat,
    SongNotFound,
    SpecMismatch,
    StoreInTheWay,
    StoreNotFound,
    UsageError,
)
from songbag_store.format.document import parse_document
from songbag_store.storage.location import Location
from songbag_store.writer import commit_parts, open_for_writing
from tests.support.documents import edit_document
from tests.support.stores import MakeStore, fill, sixteenths
from tests.support.watched import WatchedPlace

SHAPE = FeatureSpec().window_shape


@pytest.fixture
def store(make_store: MakeStore, rng: np.random.Generator) -> SongStore:
    songs = {name: sixteenths(rng, n, SHAPE) for name, n in {"a": 3, "b": 1, "c": 5}.items()}
    return make_store(songs, {"genre": ["rock", "jazz", "rock"]})


def edit_identity(store: SongStore, **changes: object) -> None:
    edit_document(Path(store.address) / "store.json", **changes)


def test_songs_are_selected_by_an_expression(store: SongStore) -> None:
    assert store.songs(where="genre = 'rock'")["song_id"].tolist() == ["a", "c"]
    assert len(store.songs()) == 3


def test_songs_can_be_asked_for_in_sql(store: SongStore) -> None:
    frame = store.sql("select genre, sum(n_windows) as windows from songs group by 1 order by 1")
    assert frame.to_dict("list") == {"genre": ["jazz", "rock"], "windows": [1, 8]}


def test_windows_of_all_songs_can_be_walked_through(store: SongStore) -> None:
    assert {name: w.shape for name, w in store.iter_windows(["a", "c"])} == {"a": (3, *SHAPE), "c": (5, *SHAPE)}


def test_a_song_that_is_not_there_is_named(store: SongStore) -> None:
    with pytest.raises(SongNotFound, match="'zz'"):
        store.windows("zz")
    for given in (["a", "zz"], np.array(["a", "zz"]), pa.array(["a", "zz"]), pd.Series(["a", "zz"], index=[7, 8])):
        with pytest.raises(SongNotFound, match="no song 'zz'"):
            store.songs(ids=given)  # type: ignore[call-overload]
        with pytest.raises(SongNotFound, match="no song 'zz'"):
            next(store.iter_windows(given))


@pytest.mark.parametrize("given", ["a", ["a", None], [1], 5])
def test_song_ids_that_are_no_list_of_texts_are_wrong_usage(store: SongStore, given: Any) -> None:
    with pytest.raises(UsageError, match=r"no list|no text"):
        store.songs(ids=given)
    with pytest.raises(UsageError, match=r"no list|no text"):
        next(store.iter_windows(given))


def test_columns_are_those_of_the_index(store: SongStore) -> None:
    for where in (None, "true"):
        assert store.songs(where, columns=[]).shape == (3, 0)
        assert store.songs(where, columns=["genre"], ids=["c"])["genre"].tolist() == ["rock"]
        with pytest.raises(UsageError, match=r"no column 'gerne'.*\n.*'genre'"):
            store.songs(where, columns=["gerne"])
    for given, said in (("genre", "no list"), (["x"], "no column 'x'")):
        with pytest.raises(UsageError, match=said):
            store.index(given)


def test_a_place_is_a_text_or_a_path_and_a_snapshot_a_whole_number(store: SongStore) -> None:
    for place in (PurePosixPath(store.address), os.fsencode(store.address), Location(Path(store.address))):  # type: ignore[arg-type]
        assert SongStore.open(place).uuid == store.uuid  # type: ignore[arg-type]
    for wrong in (None, 5, [store.address]):
        with pytest.raises(UsageError, match="is given as"):
            SongStore.open(wrong)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="is given as"):
            Location(wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="NUL"):
        SongStore.open(f"{store.address}\0")
    number = store.at(np.int64(1)).snapshot  # type: ignore[arg-type]
    assert (type(number), number) == (int, 1)
    for snapshot in ("1", 1.0, True):
        with pytest.raises(UsageError, match="must be a whole number"):
            store.at(snapshot)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="must be a whole number"):
            SongStore.open(store.address, snapshot=snapshot)  # type: ignore[arg-type]


def test_a_reader_keeps_its_snapshot_while_others_commit(store: SongStore, rng: np.random.Generator) -> None:
    fragment = fill(store, {"d": sixteenths(rng, 2, SHAPE)})
    commit_parts(store, {fragment: read_part(store.inside.storage, store.uuid, store.spec, fragment)})
    assert len(store.songs()) == 3
    assert len(store.at().songs()) == 4
    assert len(SongStore.open(store.address, snapshot=1).songs()) == 3


def test_a_part_is_taken_in_once(store: SongStore) -> None:
    (name,) = part_names(store.inside.storage)
    again = commit_parts(store, {name: read_part(store.inside.storage, store.uuid, store.spec, name)})
    assert again.snapshot == store.snapshot == 1


def test_a_part_of_another_store_is_refused(store: SongStore, make_store: MakeStore, rng: np.random.Generator) -> None:
    other = make_store({"x": sixteenths(rng, 1, SHAPE)}, name="other")
    (name,) = part_names(other.inside.storage)
    data = other.inside.storage.get(f"parts/{name}.parquet")
    store.inside.storage.create(f"parts/{name}.parquet", data)
    with pytest.raises(DamagedStore, match="another store"):
        read_part(store.inside.storage, store.uuid, store.spec, name)


def test_no_store_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound, match=r"no store\.json"):
        SongStore.open(tmp_path)


def test_a_store_is_never_begun_among_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(StoreInTheWay, match=r"thesis\.tex"):
        open_for_writing(tmp_path, FeatureSpec())
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_creation_that_was_killed_halfway_is_finished_by_the_next(tmp_path: Path) -> None:
    open_for_writing(tmp_path, FeatureSpec())
    (tmp_path / "store.json").unlink()
    assert open_for_writing(tmp_path, FeatureSpec()).snapshot == 0


def test_what_another_creation_makes_at_this_moment_is_not_in_the_way(tmp_path: Path) -> None:
    half = tmp_path / "store" / ".tmp-57af5cc1587d467c9b1facdaf3de1ebd"
    half.parent.mkdir()
    half.write_text("{")
    assert open_for_writing(tmp_path / "store", FeatureSpec()).songs().empty


def test_a_store_that_another_writer_finishes_at_this_moment_is_taken(
    tmp_path: Path,
) -> None:
    others: list[SongStore] = []

    def overtake(operation: str, key: str) -> None:
        if operation == "top_level":
            others.append(open_for_writing(tmp_path / "store", FeatureSpec()))
            others[0].tag("a-run")

    store = open_for_writing(WatchedPlace(str(tmp_path / "store"), before=overtake), FeatureSpec())
    assert store.uuid == others[0].uuid


def test_a_store_of_another_spec_is_refused_with_the_difference(store: SongStore) -> None:
    with pytest.raises(SpecMismatch, match="n_mfcc 13 against 20") as caught:
        open_for_writing(store.address, FeatureSpec(n_mfcc=20))
    assert caught.value.differences == {"n_mfcc": (13, 20)}


def test_a_store_from_the_future_is_refused_with_the_format_needed(store: SongStore) -> None:
    edit_identity(store, minimum_reader=3)
    with pytest.raises(NewerFormat, match="format 3"):
        SongStore.open(store.address)


@pytest.mark.parametrize("text", ["", "{}", "[]", "[" * 100_000, '{"minimum_reader": "x"}'])
def test_a_store_json_that_is_not_ours_is_damage(store: SongStore, text: str) -> None:
    (Path(store.address) / "store.json").write_text(text)
    with pytest.raises(DamagedStore, match=r"store\.json"):
        SongStore.open(store.address)


def test_a_spec_changed_by_hand_is_damage(store: SongStore) -> None:
    edit_identity(store, spec=FeatureSpec(n_mfcc=20).to_dict())
    with pytest.raises(DamagedStore, match=r"store\.json"):
        SongStore.open(store.address)


def test_a_tag_is_created_once_and_only_under_a_plain_name(store: SongStore) -> None:
    store.tag("run-1", {"by": "test"})
    document = parse_document(store.inside.storage.get("tags/run-1.json"))
    assert document == {"snapshot": 1, "sha256": store.inside.state.sha256, "by": "test"}
    with pytest.raises(UsageError, match="exists already"):
        store.tag("run-1")
    for name in ("../x", "A", "", "a/b", "x" * 200):
        with pytest.raises(UsageError, match="not a tag"):
            store.tag(name)
