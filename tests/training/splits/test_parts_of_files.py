"""Songs that are parts of one file stay on one side, and are no copies of each other."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from songbag_store import SongStore
from songbag_store.likeness.copies import find_copies
from songbag_training.errors import LeakError
from songbag_training.splits.deal import choose_split
from tests.support.labelled import songs_of_classes, write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SongStore:
    """24 files of two parts each, one of which is there under two names; overlapping parts hold the same windows."""
    songs = songs_of_classes({"a": 24, "b": 24}, seed=1)
    for number, song in enumerate(songs):
        second = number % 2
        song |= {"content_sha256": f"{number // 2:064}", "start_s": 5.0 * second, "end_s": 5.0 * second + 7.5}
        song |= {"part": "12"[second], "fold": number % 2}
    songs[7]["windows"] = songs[6]["windows"] = np.repeat(songs[6]["windows"], 8, axis=0)
    songs.append(dict(songs[0], song_id="again"))
    return write_store(
        tmp_path_factory.mktemp("parts") / "store",
        songs,
        further=[pa.field("part", pa.string()), pa.field("fold", pa.int64())],
    )


def test_parts_of_a_file_are_in_one_subset_and_are_counted(store: SongStore) -> None:
    choice = choose_split(store, "label", None, seed=3)
    files = store.songs(ids=choice.split.song_ids, columns=["content_sha256"], arrow=True)["content_sha256"].to_pylist()
    sides: dict[str, set[str]] = {}
    for file, side in zip(files, choice.split.subsets, strict=True):
        sides.setdefault(file, set()).add(side)
    assert {len(own) for own in sides.values()} == {1}
    assert "49 songs are parts of 24 files; parts of a file stay in one subset" in choice.notes
    assert [note for note in choice.notes if "copies of others (1 byte-identical" in note]


def test_folds_that_tear_the_parts_of_a_file_are_refused(store: SongStore) -> None:
    with pytest.raises(LeakError, match="parts of one file, or byte-identical recordings, are in two subsets"):
        choose_split(store, "label", None, fold_column="fold", seed=0)


def test_parts_of_a_file_are_no_copies_unless_they_are_the_same_part(store: SongStore) -> None:
    by_bytes = find_copies(store).filter(find_copies(store)["known_by"].to_numpy() == "bytes")
    assert sorted(by_bytes["song_id"].to_pylist()) == ["a/00", "again"]
