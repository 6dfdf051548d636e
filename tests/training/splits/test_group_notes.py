from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from songbag_training.cli import commands
from songbag_training.splits.split import Split, group_notes

SPLIT = Split(("a", "b", "c", "d"), ("x", "y", "x", "y"), ("train", "train", "test", "test"))


def _notes(column: str, values: list[Any], split: Split = SPLIT) -> list[str]:
    return group_notes(split, pa.table({"song_id": split.song_ids, column: values}))


@pytest.mark.fault(87)
def test_an_artist_on_two_sides_is_noted_with_what_keeps_the_songs_together() -> None:
    (note,) = _notes("artist", ["Mia", "Ole", "Mia", "Ole"])
    assert note.startswith("note: 2 values of 'artist' have songs in more than one subset")
    assert note.endswith("group by 'artist' to keep them together")


def test_songs_without_an_artist_and_artists_on_one_side_are_not_noted() -> None:
    assert _notes("artist", ["Mia", "Mia", "Ole", None]) == []
    assert _notes("artist", ["", None, "", None]) == []
    assert _notes("mood", ["calm", "calm", "calm", "calm"]) == []


def test_a_column_of_all_artists_of_a_song_counts_each() -> None:
    (note,) = _notes("Artists", [["Mia", "Ole"], [], ["Ole"], None])
    assert "1 value of 'Artists'" in note


def test_a_column_with_a_space_in_its_name_is_quoted() -> None:
    (note,) = _notes("Album Artist", ["Mia"] * 4)
    assert "group by 'Album Artist' to keep" in note


def test_a_split_by_artist_is_not_noted() -> None:
    assert _notes("artist", ["Mia"] * 4, dataclasses.replace(SPLIT, group=("artist",))) == []


@pytest.mark.parametrize("group", [False, True])
def test_the_command_offers_to_group(tmp_path: Path, make_store: Any, songs_of_classes: Any, group: bool) -> None:
    songs = songs_of_classes({"folk": 12, "jazz": 12})
    for number, song in enumerate(songs):
        song["artist"] = f"artist {number // 2}"
    store = make_store(tmp_path / "store", songs, further=[pa.field("artist", pa.string())])
    arguments = ["split", str(store.address), "--label", "label", "-o", str(tmp_path / "split.parquet")]
    done = CliRunner().invoke(commands, [*arguments, *(["--group", "artist"] if group else [])])
    assert done.exit_code == 0, done.output
    assert ("group by 'artist' to keep them together" in done.output) != group
