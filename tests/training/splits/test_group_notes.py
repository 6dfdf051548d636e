from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from songbag_store.progress import Lines
from songbag_training.cli import commands
from songbag_training.splits.division import split as divide
from songbag_training.splits.notes import _value_notes, leak_notes, suspected
from songbag_training.splits.split import Split

SPLIT = Split(("a", "b", "c", "d"), ("x", "y", "x", "y"), ("train", "train", "test", "test"))


def _notes(column: str, values: list[Any], split: Split = SPLIT) -> list[str]:
    songs = pa.table({"song_id": split.song_ids, column: values})
    return leak_notes(split, songs, suspected(split, songs))


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


NONE = float("nan")
"""A number that is no value, as pandas writes it."""


@pytest.mark.fault(111)
@pytest.mark.parametrize(
    ("kind", "of_even", "of_odd", "note", "claim"),
    [
        (pa.string(), "Mia", None, "12 of 24 songs have no value", "(which 12 songs have)"),
        (pa.string(), "Mia", " \t", "12 of 24 songs have no value", "(which 12 songs have)"),
        (pa.float64(), 7.0, NONE, "12 of 24 songs have no value", "(which 12 songs have)"),
        (pa.list_(pa.string()), ["Mia"], [], "12 of 24 songs have no value", "(which 12 songs have)"),
        (pa.list_(pa.string()), ["Mia", None], [None, ""], "12 of 24 songs have no value", "(which 12 songs have)"),
        (pa.list_(pa.string()), None, [" "], "no song has a value", "(which 0 songs have)"),
        (pa.string(), "", None, "no song has a value", "(which 0 songs have)"),
        (pa.string(), "Mia", "Ole", None, "in two subsets"),
    ],
)
def test_songs_without_a_value_of_the_group_are_counted_and_what_that_means_is_said(
    tmp_path: Path, make_store: Any, songs_of_classes: Any, kind: Any, of_even: Any, of_odd: Any, note: Any, claim: str
) -> None:
    songs = songs_of_classes({"folk": 12, "jazz": 12})
    for number, song in enumerate(songs):
        value = of_odd if number % 2 else of_even
        # A value for every two songs, so that each class comes into every subset.
        song["artist"] = f"{value} {number // 4}" if value in ("Mia", "Ole") else value
    store = make_store(tmp_path / "store", songs, further=[pa.field("artist", kind)])
    lines: list[str] = []
    divide(store, "label", group=["artist"], progress=Lines(lines.append))
    assert (
        [line for line in lines if "value in 'artist'" in line] == []
        if note is None
        else [line for line in lines if line.startswith(f"note: {note} in 'artist': ")]
    )
    (claimed,) = (line for line in lines if line.startswith("no leak found: "))
    assert claim in claimed


@pytest.mark.fault(111)
@pytest.mark.parametrize(
    ("kind", "values", "told"),
    [
        (pa.string(), ["Unknown", "Unknown", "Mia", None], "'Unknown' (2 songs)"),
        (pa.string(), ["n/a", "N/A", "n/a", "n/a"], "'n/a' (3 songs)"),
        (pa.string(), ["-", "unknown", "unknown", "-"], "'-' (2 songs), 'unknown' (2 songs)"),
        (pa.list_(pa.string()), [["Mia", "none"], ["none", "none"], ["Ole"], None], "'none' (2 songs)"),
        (pa.large_string(), ["NULL", "NULL", "NULL", " "], "'NULL' (3 songs)"),
        (pa.string(), ["Unknown", "Mia", "Mia", ""], ""),
        (pa.string(), ["Unknown Mortal Orchestra", "Unknown Mortal Orchestra", "NAS", "NAS"], ""),
        (pa.int64(), [0, 0, 1, None], ""),
        (pa.bool_(), [True, True, False, None], ""),
        (pa.string(), [None] * 4, ""),
    ],
    ids=str,
)
def test_texts_that_stand_for_no_value_are_named_with_what_becomes_of_their_songs(
    kind: pa.DataType, values: list[Any], told: str
) -> None:
    songs = pa.table({"song_id": SPLIT.song_ids, "artist": pa.array(values, kind)})
    notes = list(_value_notes(dataclasses.replace(SPLIT, group=("artist",)), songs))
    what = f"note: texts in 'artist' that are probably no values: {told}; songs with one stay together as one"
    assert [note for note in notes if "probably no values" in note] == ([what] if told else [])
