"""What `info` and `failures` say of the songs' sound."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import read_part
from songbag_store.format.index import OWN_FIELDS
from songbag_store.format.sealed import Sealed, seal
from songbag_store.sql.output import lines_of
from songbag_store.upkeep.sound import describe_sound, lost_songs_text
from songbag_store.upkeep.summary import describe, info
from songbag_store.writer import commit_parts, open_for_writing
from tests.support.command import songbag_here as songbag
from tests.support.stores import fill, sixteenths

NORMAL = {
    "source_format": "flac",
    "source_sample_rate_hz": 44100,
    "sample_peak": 0.9,
    "clipped_share": 0.0,
    "silent_share": 0.1,
    "cancelled_share": 0.001,
    "side_share": 0.3,
    "highest_hz": 21_000.0,
}
SONGS: dict[str, dict[str, Any]] = {
    "normal": {},
    "one channel": {"cancelled_share": None, "side_share": None},
    "lost": {"cancelled_share": 1.0, "side_share": 1.0},
    "half lost": {"cancelled_share": 0.5, "side_share": 0.6},
    "clipped": {"clipped_share": 0.02, "sample_peak": 1.0},
    "nearly silent": {"silent_share": 0.8},
    "same": {"side_share": 0.0, "cancelled_share": 0.0},
    "from mp3": {"highest_hz": 16_000.0},
    "an mp3": {"highest_hz": 16_000.0, "source_format": "mp3"},
    "low rate": {"highest_hz": 8_000.0, "source_sample_rate_hz": 16_000},
    "zeros": {"highest_hz": None, "side_share": None, "cancelled_share": None, "silent_share": 1.0},
    "of old": dict.fromkeys(NORMAL),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SongStore:
    store = open_for_writing(tmp_path_factory.mktemp("sound") / "store", FeatureSpec())
    windows = sixteenths(np.random.default_rng(0), 1, FeatureSpec().window_shape)
    fragment = fill(store, dict.fromkeys(SONGS, windows))
    rows = read_part(store.inside.storage, store.uuid, store.spec, fragment)
    types = {field.name: field.type for field in OWN_FIELDS}
    for name in NORMAL:
        values = pa.array([(NORMAL | song)[name] for song in SONGS.values()], types[name])
        rows = rows.set_column(rows.column_names.index(name), name, values)
    return commit_parts(store, {fragment: rows})


def test_info_counts_the_songs_of_each_kind(store: SongStore) -> None:
    assert info(store)["sound"] == {
        "measured": 11,
        "lost_in_mono": 1,
        "clipped": 1,
        "mostly_silent": 2,
        "several_channels": 9,
        "same_in_all": 1,
        "lossless": 8,
        "nothing_high": 1,
    }


def test_info_of_a_store_without_songs_counts_none(tmp_path: Path) -> None:
    sound = info(open_for_writing(tmp_path / "store", FeatureSpec()))["sound"]
    assert sound
    assert set(sound.values()) == {0}
    assert [*describe_sound(sound)] == []


def test_info_says_in_a_line_each_what_some_songs_are_and_nothing_else(store: SongStore) -> None:
    text = lines_of(describe(info(store)))
    for line in (
        "lost in mono   1 song: the channels cancel each other in the mix; songbag failures names it",
        "clipped        1 song, in more than 0.1% of the samples",
        "silent         2 songs, for more than half of the time",
        "mono           1 of 9 songs with several channels: they are all the same",
        "perhaps lossy  1 of 8 lossless files: nothing above 18 kHz, as if made from MP3",
    ):
        assert line in text
    assert list(describe_sound(dict.fromkeys(info(store)["sound"], 0))) == []


@pytest.mark.fault(94)
def test_failures_names_the_songs_that_the_mix_to_mono_silences(store: SongStore) -> None:
    said = songbag("failures", store.address).stdout
    assert said.startswith("No song failed.\nStored, but lost in the mix to mono (1): ")
    assert said.splitlines()[-1] == "  lost"


def test_of_many_lost_songs_some_are_named_and_the_rest_is_counted(store: SongStore) -> None:
    lost = store.songs("cancelled_share > 0.9", arrow=True)
    index = Sealed(seal(pa.concat_tables([lost] * 30), {}), key="index", place="store", group_rows=8)
    lines = lost_songs_text(index).splitlines()
    assert len(lines) == 22
    assert lines[-1].startswith("  ... and 10 more: songbag query STORE ")


def test_the_queries_of_the_page_about_sound_find_these_songs(store: SongStore) -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "songs" / "sound.md").read_text()
    queries = re.findall(r"^```sql\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    *found, formats = (store.sql(query).iloc[:, 0].tolist() for query in queries)
    assert found == [["lost"], ["clipped"], ["zeros", "nearly silent"], ["same"], ["from mp3"]]
    assert formats[:3] == ["flac", "flac", "mp3"]
