"""Stores of other times: one written by format 1 opens forever, one from the future is refused with what it needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import read_part
from songbag_store.errors import DamagedStore, NewerFormat
from songbag_store.format.index import ADDED_FIELDS, index_schema, user_fields
from songbag_store.upkeep.change import relabel, remove
from songbag_store.upkeep.compact import compact
from songbag_store.upkeep.summary import info
from songbag_store.upkeep.verify import not_sealed, verify
from songbag_store.writer import commit_parts, open_for_writing
from tests.support.command import songbag
from tests.support.documents import edit_document
from tests.support.patience import PATIENCE_S
from tests.support.stores import MakeStore, Windows, fill, sixteenths

FIXTURES = Path(__file__).parents[2] / "fixtures"
OLD = FIXTURES / "store-format-1"
FUTURE = FIXTURES / "store-from-the-future"
SPEC = FeatureSpec(sample_rate_hz=8000, n_fft=256, hop_length=256, n_mels=20, n_mfcc=4, window_s=0.5)
SONGS = {"jazz/a.wav": 3, "rock/b.wav": 5, "rock/ç 猫.flac": 1, "later.mp3": 2}


def fixed_windows(song_id: str) -> Windows:
    """The windows that the old store was given, from a formula that nobody changes."""
    n = np.arange(SONGS[song_id])[:, None, None]
    c, t = np.arange(4)[:, None], np.arange(16)
    return ((((n * 7 + c * 31 + t * 3 + SONGS[song_id]) % 1600) - 800) / 16).astype(np.float32)


def test_a_store_written_by_format_1_opens_and_gives_the_windows_it_was_given() -> None:
    store = SongStore.open(OLD)
    assert (store.snapshot, store.uuid) == (3, "5d2b1f0e8f6c4f0b9a70c1d2e3f40516")
    assert store.spec == SPEC
    for song_id in SONGS:
        np.testing.assert_array_equal(store.windows(song_id), fixed_windows(song_id))
    answer = store.sql("select song_id, genre, year from songs order by song_id").astype(object)
    assert answer.where(answer.notna(), None).to_dict("list") == {
        "song_id": ["jazz/a.wav", "later.mp3", "rock/b.wav", "rock/ç 猫.flac"],
        "genre": ["jazz", None, "rock", "rock"],
        "year": [None, None, 1999, None],
    }
    assert store.sql("select song_id, error_code from failures").values.tolist() == [["bad.mp3", "not-audio"]]


def test_the_old_store_travels_in_time_and_is_whole() -> None:
    assert len(SongStore.open(OLD, snapshot=1).songs()) == 3
    assert not verify(SongStore.open(OLD), full=True)


def test_what_was_made_before_there_were_seals_is_said_to_be_not_sealed() -> None:
    assert not_sealed(OLD) == ["store.json", "tags/paper.json"]
    done = songbag("verify", OLD, "--full")
    assert (done.returncode, done.stdout.splitlines()[0][:45]) == (0, "not sealed: store.json, tags/paper.json. Made")


def test_the_old_store_takes_a_commit_of_today(tmp_path: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(OLD, copy)
    after, n_removed = remove(SongStore.open(copy), "song_id = 'later.mp3'")
    assert (after.snapshot, n_removed) == (4, 1)


def test_columns_that_came_later_are_null_in_the_old_store_however_it_is_read(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "store")
    store = SongStore.open(tmp_path / "store")
    names = [field.name for field in ADDED_FIELDS]
    content = store.inside.state.content
    assert store.index(arrow=True).schema == index_schema(user_fields(content.schema))
    assert store.index(names, arrow=True).schema == pa.schema(ADDED_FIELDS)
    pieces = pa.concat_tables(content.pieces(["highest_hz", "song_id"]))
    for table in (store.index(names, arrow=True), pieces.select(["highest_hz"])):
        assert table.num_rows == 5
        assert all(column.null_count == 5 for column in table.columns)
    assert store.sql("select count(*) n, count(highest_hz) h from songs")["h"].tolist() == [0]
    assert store.songs(where="highest_hz is null", columns=["song_id", "highest_hz"])["song_id"].size == 4
    assert info(store)["sound"]["measured"] == 0


def test_the_old_store_is_changed_and_extended_by_rows_with_the_columns_that_came_later(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "store")
    labels = tmp_path / "labels.csv"
    labels.write_text("song_id,mood\nrock/b.wav,calm\n")
    store, _ = relabel(tmp_path / "store", labels)
    store, done = compact(store)
    assert done.n_songs
    fragment = fill(store, {"new": fixed_windows("later.mp3")}, {"mood": ["wild"]})
    rows = read_part(store.inside.storage, store.uuid, store.spec, fragment)
    measured = rows.set_column(rows.column_names.index("highest_hz"), "highest_hz", pa.array([16000.0], pa.float32()))
    store = commit_parts(store, {fragment: measured})
    found = store.sql("select song_id, mood, highest_hz from songs where mood is not null order by 1").astype(object)
    assert found.values.tolist()[0] == ["new", "wild", 16000.0]
    assert not verify(store, full=True)


def test_the_old_store_is_small() -> None:
    assert sum(path.stat().st_size for path in OLD.rglob("*") if path.is_file()) < 100_000


def test_a_store_from_the_future_is_refused_with_the_version_it_needs() -> None:
    with pytest.raises(NewerFormat, match=r"reader of format 2, 'listed-parts' \(songbag 2\.0 or newer\)"):
        SongStore.open(FUTURE)
    command = [sys.executable, "-m", "songbag", "info", str(FUTURE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, "pip install --upgrade" in done.stderr) == (1, True)


@pytest.fixture
def store(make_store: MakeStore, rng: np.random.Generator) -> SongStore:
    return make_store({"a": sixteenths(rng, 1, FeatureSpec().window_shape)})


def edit(store: SongStore, **changes: object) -> None:
    edit_document(Path(store.address, "store.json"), **changes)


def test_one_feature_that_songbag_has_never_heard_of_is_enough(store: SongStore) -> None:
    edit(store, required_features={"encrypted": "1.7"})
    with pytest.raises(NewerFormat, match=r"'encrypted' \(songbag 1\.7 or newer\)"):
        SongStore.open(store.address)


def test_a_store_for_newer_writers_alone_is_read_and_not_written(store: SongStore) -> None:
    edit(store, minimum_writer=2)
    opened = SongStore.open(store.address)
    assert len(opened.windows("a")) == 1
    with pytest.raises(NewerFormat, match="writer of format 2"):
        remove(opened, "true")
    with pytest.raises(NewerFormat, match="writer of format 2"):
        open_for_writing(store.address, opened.spec)
    assert opened.at().snapshot == 1


@pytest.mark.parametrize("features", [7, "x", ["y"], None])
def test_required_features_that_are_no_table_are_damage(store: SongStore, features: object) -> None:
    edit(store, required_features=features)
    with pytest.raises(DamagedStore, match=r"store\.json"):
        SongStore.open(store.address)
