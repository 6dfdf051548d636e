"""Copies of one recording: kept on one side of a split, saved with it, and checked wherever it is used."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.progress import Lines, Silent
from songbag_training import TrainConfig, train
from songbag_training.errors import LabelError, LeakError
from songbag_training.fit.cross_validation import cross_validate
from songbag_training.runs.evaluate import evaluate
from songbag_training.runs.run import Run
from songbag_training.songs.labels import read_labels
from songbag_training.splits.copies import Copies
from songbag_training.splits.deal import carve_validation, choose_split, make_split
from songbag_training.splits.division import split as divide
from songbag_training.splits.split import CopyGroups, Split
from tests.support.documents import edit_document
from tests.support.labelled import Song

TINY = TrainConfig(epochs=1, bag_size=2, batch_size=16, encoder="dense", no_floor=True)


def _copy(song: Song, **changes: Any) -> Song:
    """Return a song with the same audio, as another file: other tags, for example."""
    return song | {"song_id": f"copy of {song['song_id']}", "content_sha256": None} | changes


@pytest.fixture(scope="module")
def songs(songs_of_classes: Callable[..., list[Song]]) -> list[Song]:
    """Return 24 songs, 10 of them twice."""
    originals = songs_of_classes({"a": 12, "b": 12})
    return [*originals, *map(_copy, originals[3:13])]


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory, make_store: Any, songs: list[Song]) -> SongStore:
    """Return them in a store; others write their own."""
    opened: SongStore = make_store(tmp_path_factory.mktemp("copies") / "store", songs)
    return opened


def _notes(store: SongStore, output: Path | None = None, **options: Any) -> tuple[Split, list[str]]:
    lines: list[str] = []
    return divide(store, "label", output, progress=Lines(lines.append), **options), lines


def _chosen(store: SongStore, split: Split) -> list[str]:
    """Return what is said of a saved split when it is used again."""
    return choose_split(store, "label", None, split, seed=0).notes


def _torn(split: Split) -> list[tuple[str, str]]:
    sides = dict(zip(split.song_ids, split.subsets, strict=True))
    copies = [(song_id, f"copy of {song_id}") for song_id in split.song_ids if f"copy of {song_id}" in sides]
    assert len(copies) == 10
    return [pair for pair in copies if sides[pair[0]] != sides[pair[1]]]


@pytest.mark.fault(107)
@pytest.mark.parametrize("options", [{"seed": 0}, {"seed": 1}, {"folds": 5}])
def test_the_same_audio_in_another_file_stays_on_one_side(twice: SongStore, options: dict[str, Any]) -> None:
    split, lines = _notes(twice, **options)
    assert _torn(split) == []
    assert any(line.startswith("10 songs are copies of others (10 with the same audio), found in ") for line in lines)
    assert "no leak found: no copy by audio or likeness is in two subsets" in lines


@pytest.mark.fault(107)
def test_the_copies_are_saved_as_columns_of_the_split(twice: SongStore, tmp_path: Path) -> None:
    split, _ = _notes(twice, tmp_path / "split.parquet")
    table = pq.read_table(tmp_path / "split.parquet")
    assert table.schema.field("copy_group").type == table.schema.field("same_audio").type == pa.int64()
    groups = dict(zip(*(table[name].to_pylist() for name in ("song_id", "copy_group")), strict=True))
    assert groups["a/03"] == groups["copy of a/03"]
    assert groups["a/00"] is None
    assert sorted({group for group in groups.values() if group is not None}) == list(range(10))
    assert Split.read(tmp_path / "split.parquet") == split
    # They are no part of the digest, which runs and cross-validations of earlier splits carry.
    assert dataclasses.replace(split, copy_group=None, same_audio=None).digest == split.digest


@pytest.mark.fault(107)
def test_a_saved_split_whose_copies_came_apart_is_refused_at_every_use(twice: SongStore, tmp_path: Path) -> None:
    split, _ = _notes(twice)
    subsets = list(split.subsets)
    row = split.song_ids.index("a/03")
    subsets[row] = "test" if subsets[row] != "test" else "train"
    dataclasses.replace(split, subsets=tuple(subsets)).write(tmp_path / "split.parquet")
    with pytest.raises(LeakError, match=r"recordings with the same audio are in two subsets: .*a/03"):
        train(twice, "label", tmp_path / "run", TINY, split=tmp_path / "split.parquet", progress=Silent())
    assert not (tmp_path / "run").exists()


def test_given_folds_that_separate_the_same_audio_are_refused(tmp_path: Path, make_store: Any, songs: Any) -> None:
    folds = [song | {"fold": str(number % 2)} for number, song in enumerate(songs)]
    store = make_store(tmp_path / "store", folds, further=[pa.field("fold", pa.string())])
    with pytest.raises(LeakError, match="recordings with the same audio are in two subsets"):
        divide(store, "label", fold_column="fold", progress=Silent())


def test_likeness_is_not_claimed_for_features_that_are_too_few_to_be_compared(
    tmp_path: Path, make_store: Any, songs_of_classes: Any, spec: FeatureSpec
) -> None:
    few = dataclasses.replace(spec, n_mfcc=3)
    store = make_store(tmp_path / "store", songs_of_classes({"a": 4, "b": 4}, spec=few), spec=few)
    split, lines = _notes(store)
    assert any("too few bands or frames" in line for line in lines)
    assert "no leak found: no copy by audio is in two subsets" in lines
    assert _chosen(store, split) == ["no song is a copy of another by audio"]


def test_a_split_without_a_search_says_that_only_bytes_are_known(twice: SongStore) -> None:
    made = make_split(read_labels(twice.songs(arrow=True), "label"), "label", seed=1)
    what = "this split was made without a search for copies: only byte-identical ones are known"
    assert _chosen(twice, made) == [f"note: {what}"]


def test_songs_that_came_after_the_split_are_counted_as_not_compared(twice: SongStore, songs: list[Song]) -> None:
    what = "10 labelled songs are not in the split: they are left out, and were not compared with its songs"
    saved = dataclasses.replace(ALIKE, copy_group=_alike(), same_audio=_alike())
    assert _chosen(twice, saved) == ["no song is a copy of another by audio or likeness", f"note: {what}"]


def test_a_copy_with_another_label_is_kept_with_its_original_and_noted(
    tmp_path: Path, make_store: Any, songs: list[Song]
) -> None:
    odd = _copy(songs[0], label="b")
    split, lines = _notes(make_store(tmp_path / "store", [*songs, odd]))
    assert len({split.subsets[split.song_ids.index(name)] for name in ("a/00", "copy of a/00")}) == 1
    what = "1 copy has another label than a song that it is a copy of: 'copy of a/00' is 'b', 'a/00' is 'a'"
    assert f"note: {what}" in lines


def test_a_class_that_is_one_recording_is_refused_with_the_reason(
    tmp_path: Path, make_store: Any, songs: list[Song]
) -> None:
    one = [_copy(songs[20], song_id=f"c/{number}", label="c") for number in range(4)]
    store = make_store(tmp_path / "store", [*songs[:20], *one])
    with pytest.raises(LabelError, match=r"test, copies counted once: 'c' has 1 \(of 4 songs\)\."):
        divide(store, "label", progress=Silent())


def test_copies_stay_together_where_validation_songs_are_carved(twice: SongStore) -> None:
    choice = choose_split(twice, "label", None, folds=2, seed=0)
    for seed in range(5):
        carved = carve_validation(choice.split.fold("1"), choice.labels, "label", seed=seed)
        assert carved.counts()["validation"]
        assert _torn(carved) == []


def test_a_cross_validation_goes_on_with_the_copies_it_saved_and_tells_what_it_suspects(
    tmp_path: Path, make_store: Any, songs: list[Song]
) -> None:
    # Everything but the copies is by artists of two songs, which no option keeps together.
    songs = [song | {"artist": f"artist {n // 2}" if n < 24 else None} for n, song in enumerate(songs)]
    store = make_store(tmp_path / "store", songs, further=[pa.field("artist", pa.string())])
    said: list[list[str]] = [[], []]
    for lines in said:
        done = cross_validate(store, "label", tmp_path / "cv", TINY, folds=2, progress=Lines(lines.append))
    found, saved = ([line for line in lines if line.startswith("10 songs are copies")] for lines in said)
    assert found[0].startswith("10 songs are copies of others (10 with the same audio), found in ")
    assert saved == ["10 songs are copies of others (10 with the same audio); copies stay in one subset"]
    (suspicion,) = done.metrics["suspected_leaks"]
    assert suspicion["what"] == "have a value of 'artist' that is in other folds too"
    split = Split.read(tmp_path / "cv" / "split.parquet")
    folds = dict(zip(split.song_ids, split.subsets, strict=True))
    sides: dict[str, set[str]] = {}
    for song in songs[:24]:
        sides.setdefault(song["artist"], set()).add(folds[song["song_id"]])
    assert suspicion["n"] == sum(len(sides[song["artist"]]) > 1 for song in songs[:24]) > 0
    assert said[1][-1].startswith(f"suspected leak: {suspicion['n']} of 34 songs have a value of 'artist' that is in ")


ALIKE = Split(
    tuple(f"{label}/{number:02}" for label in "ab" for number in range(12)),
    ("a",) * 12 + ("b",) * 12,
    (*["train"] * 8, *["validation"] * 2, *["test"] * 2) * 2,
)
"""Of the first 24 songs."""


def _alike(*groups: tuple[str, ...]) -> CopyGroups:
    return tuple(
        next((number for number, ids in enumerate(groups) if song_id in ids), None) for song_id in ALIKE.song_ids
    )


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, twice: SongStore) -> tuple[Run, list[str]]:
    """Return a run one of whose test songs is alike to a song that was trained on, and what was said."""
    split = dataclasses.replace(ALIKE, copy_group=_alike(("a/00", "a/10")), same_audio=_alike())
    lines: list[str] = []
    folder = tmp_path_factory.mktemp("judged") / "run"
    return train(twice, "label", folder, TINY, split=split, progress=Lines(lines.append)), lines


@pytest.mark.fault(107)
def test_accuracy_is_given_with_and_without_the_songs_of_a_suspected_leak(judged: tuple[Run, list[str]]) -> None:
    run, lines = judged
    note = "note: 2 songs are alike to songs of another subset, a suspected leak: 'a/00', 'a/10'"
    assert note in lines
    (found,) = run.metrics["test"]["suspected_leaks"]
    assert (found["n"], found["song_ids"]) == (1, ["a/10"])
    predictions = run.predictions().query("part == 'test' and song_id != 'a/10'")
    assert found["without"]["n"] == len(predictions) == 3
    accuracy = (predictions["label"] == predictions["predicted"]).mean()
    assert found["without"]["accuracy"] == pytest.approx(accuracy)
    held_out = run.metrics["test"]["song"]["accuracy"]
    what = "1 of 4 songs are copies of songs in train or validation"
    assert lines[-1] == f"suspected leak: {what}: accuracy {held_out:.3f} with them, {accuracy:.3f} without (3 songs)"


def test_recordings_that_are_alike_do_not_make_their_copies_certain(twice: SongStore) -> None:
    # Two takes, each stored twice: the takes may be in two subsets, the files of one may not.
    whole = dataclasses.replace(
        ALIKE,
        copy_group=_alike(("a/00", "a/01", "a/10", "a/11")),
        same_audio=_alike(("a/00", "a/01"), ("a/10", "a/11")),
    )
    assert "3 songs are copies of others (2 with the same audio, 1 alike)" in _chosen(twice, whole)
    torn = dataclasses.replace(whole, same_audio=_alike(("a/00", "a/10")))
    with pytest.raises(LeakError, match="'a/00', 'a/10'"):
        _chosen(twice, torn)


def test_a_grown_store_is_compared_with_the_songs_of_the_training(
    judged: tuple[Run, list[str]], twice: SongStore, tmp_path: Path, make_store: Any, songs: list[Song]
) -> None:
    lines: list[str] = []
    result = evaluate(judged[0], twice, tmp_path / "results", progress=Lines(lines.append))
    (found,) = result.metrics["all"]["suspected_leaks"]
    trained = {song_id for song_id, subset in zip(ALIKE.song_ids, ALIKE.subsets, strict=True) if subset != "test"}
    n_copies = sum(song["song_id"].removeprefix("copy of ") in trained for song in songs[24:])
    assert found["what"] == f"are known from training (20 trained on or validated by, {n_copies} copies of such songs)"
    # The test song that the split says is alike to one of them is known as well.
    assert (found["n"], found["without"]["n"]) == (20 + n_copies, 14 - n_copies)
    assert lines[0].startswith("the songs were compared with those of the training in ")


def test_a_run_is_judged_by_another_store_with_copies_of_its_songs(
    judged: tuple[Run, list[str]], tmp_path: Path, make_store: Any, songs: list[Song], songs_of_classes: Any
) -> None:
    own = [song | {"song_id": f"other {song['song_id']}"} for song in songs_of_classes({"a": 3, "b": 3}, seed=5)]
    other = make_store(tmp_path / "other", [*own, *songs[24:27]])
    lines: list[str] = []
    result = evaluate(judged[0], other, tmp_path / "results", progress=Lines(lines.append))
    (found,) = result.metrics["all"]["suspected_leaks"]
    assert found["what"] == "are known from training (3 copies of such songs)"
    assert (found["n"], found["without"]["n"]) == (3, 6)
    assert lines == ["note: the songs were compared with those of the training by bytes and audio, not by likeness"]


def test_without_the_store_of_the_training_nothing_is_claimed(
    judged: tuple[Run, list[str]], tmp_path: Path, make_store: Any, songs: list[Song]
) -> None:
    shutil.copytree(judged[0].folder, tmp_path / "run")
    edit_document(tmp_path / "run" / "run.json", store_location=str(tmp_path / "gone"))
    other = make_store(tmp_path / "other", songs[:3] + songs[12:15])
    lines: list[str] = []
    result = evaluate(tmp_path / "run", other, tmp_path / "results", progress=Lines(lines.append))
    assert "suspected_leaks" not in result.metrics["all"]
    assert lines[0].startswith("note: whether the run was trained on copies of these songs was not checked: ")


def test_the_columns_of_copies_are_those_of_the_songs_asked_for(twice: SongStore) -> None:
    copies = Copies.find(twice)
    columns = copies.among(pa.array(["b/00", "copy of b/00", "a/03", "a/00"]))
    assert columns["copy_group"].to_pylist() == columns["same_audio"].to_pylist() == [0, 0, None, None]
