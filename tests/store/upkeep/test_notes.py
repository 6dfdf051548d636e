"""Notes on how songs were decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import read_part
from songbag_store.format.sealed import Sealed, seal
from songbag_store.sql.output import lines_of
from songbag_store.upkeep.notes import noted_songs_text
from songbag_store.upkeep.summary import describe, info
from songbag_store.writer import commit_parts, open_for_writing
from tests.support.command import songbag_here as songbag
from tests.support.stores import fill, sixteenths

NOTES = {"a": None, "b": "of 2 audio streams, number 2 was read", "c": "two\nlines"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SongStore:
    store = open_for_writing(tmp_path_factory.mktemp("notes") / "store", FeatureSpec())
    windows = sixteenths(np.random.default_rng(0), 1, FeatureSpec().window_shape)
    fragment = fill(store, dict.fromkeys(NOTES, windows))
    rows = read_part(store.inside.storage, store.uuid, store.spec, fragment)
    notes = pa.array(list(NOTES.values()), pa.string())
    rows = rows.set_column(rows.column_names.index("audio_note"), "audio_note", notes)
    return commit_parts(store, {fragment: rows})


@pytest.mark.fault(91, 93)
def test_info_counts_the_songs_with_a_note_and_failures_gives_the_notes(store: SongStore) -> None:
    assert info(store)["noted"] == 2
    assert "2 songs; songbag failures gives the notes" in lines_of(describe(info(store)))
    assert songbag("failures", store.address).stdout.splitlines() == [
        "No song failed.",
        "Stored, with a note on what was decoded (2):",
        "  b: of 2 audio streams, number 2 was read",
        "  c: two\\nlines",
    ]


def test_of_many_notes_some_are_given_and_the_rest_is_counted(store: SongStore, tmp_path: Path) -> None:
    noted = store.songs("song_id = 'b'", arrow=True)
    index = Sealed(seal(pa.concat_tables([noted] * 30), {}), key="index", place="store", group_rows=8)
    lines = noted_songs_text(index).splitlines()
    assert len(lines) == 22
    assert lines[-1].startswith("  ... and 10 more: songbag query STORE ")


def test_a_store_without_notes_says_nothing_of_them(store: SongStore) -> None:
    plain = store.songs("song_id = 'a'", arrow=True)
    assert not noted_songs_text(Sealed(seal(plain, {}), key="index", place="store"))
