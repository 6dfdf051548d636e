"""How labels are read is said once: the split and the run keep it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.progress import Lines, Silent
from songbag_training import TrainConfig, evaluate, train
from songbag_training.cli import commands
from songbag_training.errors import LabelError
from songbag_training.fit.cross_validation import cross_validate
from songbag_training.fit.material import prepare
from songbag_training.fit.train import refuse_contradictions
from songbag_training.runs.run import Run
from songbag_training.splits.division import split
from songbag_training.splits.split import Split
from tests.support.labelled import songs_of_classes, write_store

TINY = TrainConfig(epochs=1, bag_size=2, batch_size=16, encoder="dense", no_floor=True)
BOTH = {"a": "a", "b": "b|a", "c": "c | b", "d": "d"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SongStore:
    """Return a store whose songs are of one class or two, as text; `mood` is a number that became a float."""
    songs = songs_of_classes({"a": 8, "b": 8, "c": 8, "d": 2})
    for number, song in enumerate(songs):
        song["mood"] = None if number == 25 else float(number % 2)
        song["label"] = BOTH[song["label"]]
    folder = tmp_path_factory.mktemp("tags") / "store"
    return write_store(folder, songs, further=[pa.field("mood", pa.float64())])


@pytest.fixture(scope="module")
def saved(store: SongStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a split by these labels, made by the command."""
    path = tmp_path_factory.mktemp("splits") / "split.parquet"
    options = ["--label", "label", "--label-separator", "|", "--min-songs", "3", "-o", str(path)]
    done = CliRunner().invoke(commands, ["split", store.address, *options], catch_exceptions=False)
    assert "1 class with fewer than 3 songs is left out, and 2 songs of no other class: 'd' (2 songs)" in done.output
    return path


@pytest.fixture(scope="module")
def run(store: SongStore, saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run by that split, which was told nothing else."""
    return train(store, "label", tmp_path_factory.mktemp("runs") / "run", TINY, split=saved, progress=Silent())


def test_a_saved_split_says_how_its_labels_are_read(run: Run, saved: Path) -> None:
    facts = run.facts
    assert (facts.task, facts.classes) == ("multi-label", ["a", "b", "c"])
    assert (facts.config.label_separator, facts.config.min_songs) == ("|", 3)
    made = Split.read(saved)
    assert (made.column, made.reading) == ("label", facts.config.reading)
    assert len(made.song_ids) == 24
    assert run.split().digest == made.digest


def test_a_split_is_used_for_other_labels_that_are_read_as_they_are(store: SongStore, saved: Path) -> None:
    notes: list[str] = []
    material = prepare(store, "mood", None, saved, config=TINY, progress=Lines(notes.append))
    assert (material.config.label_separator, material.config.min_songs) == (None, 1)
    assert (material.labels.classes, material.labels.task.several) == (("0", "1"), False)
    with pytest.raises(LabelError, match="lists already"):
        prepare(store, "feature_sum", None, saved, config=dataclasses.replace(TINY, label_separator="|"))


def test_a_run_is_resumed_and_evaluated_without_a_second_word(
    run: Run, store: SongStore, tmp_path: Path, make_store: Any
) -> None:
    refuse_contradictions(run, {"label_separator": "|", "min_songs": 3})
    with pytest.raises(UsageError, match=r"label_separator: is ;, but it was begun with \|"):
        refuse_contradictions(run, {"label_separator": ";"})
    again = prepare(store, "label", None, run.split(), config=run.facts.config)
    assert (again.split.digest, again.labels.classes) == (run.facts.split_sha256, ("a", "b", "c"))
    notes: list[str] = []
    result = evaluate(run, store, tmp_path / "text", progress=Lines(notes.append))
    assert result.metrics["all"]["song"]["n"] == 24
    assert notes[0] == "2 songs are left out, of classes that the run does not know: 'd' (2 songs)"
    lists = [song | {"label": song["label"].split(",")} for song in songs_of_classes({"a": 2, "b,a": 2})]
    other = make_store(tmp_path / "other", lists, label_type=pa.list_(pa.string()))
    assert evaluate(run, other, tmp_path / "lists", progress=Silent()).metrics["all"]["song"]["n"] == 4
    with pytest.raises(LabelError, match="lists already"):
        evaluate(run, other, tmp_path / "no", label_separator="|")
    with pytest.raises(UsageError, match="are its own"):
        evaluate(run, store, label_separator="|")
    odd = make_store(tmp_path / "odd", songs_of_classes({"a;b": 2, "c": 2}))
    assert (
        evaluate(run, odd, tmp_path / "odd-out", label_separator=";", progress=Silent()).metrics["all"]["song"]["n"]
        == 4
    )


def test_a_cross_validation_notes_what_it_leaves_out_once_and_hands_it_to_its_folds(
    store: SongStore, tmp_path: Path
) -> None:
    notes: list[str] = []
    config = dataclasses.replace(TINY, label_separator="|", min_songs=3)
    done = cross_validate(store, "label", tmp_path / "cv", config, folds=2, progress=Lines(notes.append))
    assert sum("1 class with fewer than 3 songs" in note for note in notes) == 1
    assert [run.facts.config.label_separator for run in done.runs] == ["|", "|"]
    again = cross_validate(store, "label", tmp_path / "cv", config, folds=2, progress=Silent())
    assert again.metrics == done.metrics


@pytest.mark.fault(112)
def test_the_commands_note_doubtful_labels_in_their_own_words(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", songs_of_classes({"rock": 4, "Rock": 4, "nan": 4}))
    options = ["--label", "label", "-o", str(tmp_path / "split.parquet")]
    output = CliRunner().invoke(commands, ["split", store.address, *options], catch_exceptions=False).output
    assert (
        "differ only in case, spaces or Unicode form: 'Rock' (4 songs), 'rock' (4 songs). `songbag relabel`" in output
    )
    assert (
        "probably no labels: 'nan' (4 songs). `songbag relabel` corrects them, and --where leaves songs out" in output
    )
    notes: list[str] = []
    split(store, "label", where="label <> 'nan'", min_songs=2, progress=Lines(notes.append))
    assert sum("differ only in case" in note for note in notes) == 1
