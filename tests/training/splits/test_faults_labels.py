"""The faults of labels and splits: found before training, and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.progress import Lines, Silent
from songbag_training import TrainConfig, train
from songbag_training.errors import LabelError, LeakError, SplitMismatch
from songbag_training.fit.cross_validation import cross_validate
from songbag_training.splits.split import Split

TINY = TrainConfig(epochs=1, bag_size=2, batch_size=16, encoder="dense", no_floor=True)


def _refused(folder: Path, store: SongStore, kind: type[Exception], message: str, **options: Any) -> None:
    said: list[str] = []
    with pytest.raises(kind, match=message):
        train(store, "label", folder / "run", config=TINY, progress=Lines(said.append), **options)
    assert not (folder / "run").exists()
    assert said == []


def _split(ids: str, subsets: str) -> Split:
    """``_split("a0 a1 b0", "train test test")``: the label is the letter."""
    songs = sorted(zip(ids.split(), subsets.split(), strict=True))
    names = tuple(f"{song_id[0]}/{int(song_id[1:]):02}" for song_id, _ in songs)
    return Split(names, tuple(name[0] for name in names), tuple(subset for _, subset in songs))


@pytest.mark.fault(84)
def test_a_single_class_is_refused(tmp_path: Path, make_store: Any, songs_of_classes: Any) -> None:
    store = make_store(tmp_path / "store", songs_of_classes({"a": 5}))
    _refused(tmp_path, store, LabelError, "label column 'label': all 5 songs are of the class 'a'")


@pytest.mark.fault(84)
def test_a_single_class_left_by_a_saved_split_is_refused(
    tmp_path: Path, make_store: Any, songs_of_classes: Any
) -> None:
    store = make_store(tmp_path / "store", songs_of_classes({"a": 3, "b": 3}))
    split = _split("a0 a1 a2", "train train test")
    _refused(tmp_path, store, LabelError, "all 3 songs are of the class 'a'", split=split)


@pytest.mark.fault(84)
def test_a_class_missing_in_train_is_named(tmp_path: Path, make_store: Any, songs_of_classes: Any) -> None:
    store = make_store(tmp_path / "store", songs_of_classes({"a": 3, "b": 3}))
    split = _split("a0 a1 a2 b0 b1 b2", "train train test validation test test")
    message = r"the class 'b' has no song in the train subset \(1 validation, 2 test\)"
    _refused(tmp_path, store, LabelError, message, split=split)


@pytest.mark.fault(84)
def test_a_class_that_is_in_one_given_fold_alone_is_named(
    tmp_path: Path, make_store: Any, songs_of_classes: Any
) -> None:
    store = make_store(tmp_path / "store", songs_of_classes({"a": 4, "b": 2}))
    split = _split("a0 a1 a2 a3 b0 b1", "1 1 2 2 2 2")
    with pytest.raises(LabelError, match=r"the class 'b' has no song in the train subset \(2 test\)"):
        cross_validate(store, "label", tmp_path / "cv", split=split, config=TINY)
    assert not (tmp_path / "cv").exists()


@pytest.mark.fault(84)
@pytest.mark.parametrize(
    ("subsets", "message"),
    [
        ("train train train train", r"no song is in the test subset \(4 train, 0 validation, 0 test\)"),
        ("test test test test", r"no song is in the train subset \(0 train, 0 validation, 4 test\)"),
    ],
)
def test_an_empty_subset_is_refused_with_the_counts(
    tmp_path: Path, make_store: Any, songs_of_classes: Any, subsets: str, message: str
) -> None:
    store = make_store(tmp_path / "store", songs_of_classes({"a": 2, "b": 2}))
    _refused(tmp_path, store, LabelError, message, split=_split("a0 a1 b0 b1", subsets))


@pytest.mark.fault(84)
@pytest.mark.parametrize("config", [TrainConfig(early_stopping=3), TrainConfig(calibrate=True)])
def test_early_stopping_and_calibration_need_validation_songs(
    tmp_path: Path, make_store: Any, songs_of_classes: Any, config: TrainConfig
) -> None:
    store = make_store(tmp_path / "store", songs_of_classes({"a": 2, "b": 2}))
    split = _split("a0 a1 b0 b1", "train test train test")
    with pytest.raises(UsageError, match="no validation songs, which this option needs"):
        train(store, "label", tmp_path / "run", split=split, config=config)
    assert not (tmp_path / "run").exists()


@pytest.mark.fault(84)
def test_fewer_songs_than_folds_are_refused(tmp_path: Path, make_store: Any, songs_of_classes: Any) -> None:
    store = make_store(tmp_path / "store", songs_of_classes({"a": 8, "b": 4}))
    with pytest.raises(LabelError, match="too few recordings in a class for 5 folds: 'b' has 4"):
        cross_validate(store, "label", tmp_path / "cv", folds=5, config=TINY)
    # As many as these would be made one by one.
    with pytest.raises(UsageError, match="12 labelled songs for 2,147,483,648 folds"):
        cross_validate(store, "label", tmp_path / "cv", folds=2**31, config=TINY)
    assert not (tmp_path / "cv").exists()


@pytest.mark.fault(84)
def test_songs_without_a_label_are_left_out_and_counted(tmp_path: Path, make_store: Any, songs_of_classes: Any) -> None:
    songs = songs_of_classes({"a": 4, "b": 4})
    songs += [dict(songs[0], song_id="nameless", label=None), dict(songs[0], song_id="blank", label=" ")]
    said: list[str] = []
    run = train(
        make_store(tmp_path / "store", songs), "label", tmp_path / "run", config=TINY, progress=Lines(said.append)
    )
    assert "2 songs without a label in 'label' are left out" in said
    assert len(run.split().song_ids) == 8


@pytest.mark.fault(84)
def test_a_store_in_which_no_song_has_a_label_is_refused(
    tmp_path: Path, make_store: Any, songs_of_classes: Any
) -> None:
    songs = [dict(song, label=None) for song in songs_of_classes({"a": 4})]
    store = make_store(tmp_path / "store", songs)
    _refused(tmp_path, store, LabelError, "none of the 4 songs has a label")


@pytest.mark.fault(84)
def test_a_label_whose_song_is_gone_is_named(tmp_path: Path, make_store: Any, songs_of_classes: Any) -> None:
    store = make_store(tmp_path / "store", songs_of_classes({"a": 3, "b": 3}))
    split = _split("a0 a1 a2 b0 b1 b2 b7", "train train test train test test train")
    message = "the store has no features of 1 song of the split: 'b/07'"
    _refused(tmp_path, store, SplitMismatch, message, split=split)


@pytest.mark.fault(85)
def test_a_store_of_failed_songs_is_refused(tmp_path: Path, make_store: Any) -> None:
    songs = [
        {"song_id": f"s{n}", "label": "ab"[n % 2], "status": "failed", "error_code": "not-audio", "error": "no"}
        for n in range(4)
    ]
    store = make_store(tmp_path / "store", songs)
    _refused(tmp_path, store, UsageError, "no song with features is left to train on.*\n.*songbag failures")


@pytest.mark.fault(85)
def test_songs_shorter_than_the_bag_are_padded_and_masked(
    tmp_path: Path, make_store: Any, songs_of_classes: Any
) -> None:
    songs = [dict(song, windows=song["windows"][:1]) for song in songs_of_classes({"a": 4, "b": 4})]
    store = make_store(tmp_path / "store", songs)
    run = train(store, "label", tmp_path / "run", config=TINY, progress=Silent())
    assert json.loads((run.folder / "metrics.json").read_text())["train"]["window"]["n"] == 4


@pytest.mark.fault(86)
def test_a_store_that_goes_on_changes_nothing_of_a_run(tmp_path: Path, make_store: Any, songs_of_classes: Any) -> None:
    store = make_store(tmp_path / "store", songs_of_classes({"a": 4, "b": 4}))
    make_store(tmp_path / "store", songs_of_classes({"c": 4}))
    run = train(store, "label", tmp_path / "run", config=TINY, progress=Silent())
    assert (run.facts.snapshot, run.facts.snapshot_sha256) == (1, store.inside.state.sha256)
    assert run.facts.classes == ["a", "b"]


@pytest.mark.fault(87)
def test_copies_of_one_recording_on_two_sides_are_refused(
    tmp_path: Path, make_store: Any, songs_of_classes: Any
) -> None:
    songs = songs_of_classes({"a": 3, "b": 3})
    songs[0]["content_sha256"] = songs[2]["content_sha256"] = "same"
    store = make_store(tmp_path / "store", songs)
    split = _split("a0 a1 a2 b0 b1 b2", "train train test train train test")
    message = (
        r"byte-identical recordings are in two subsets: 'a/00', 'a/02'\.\s+Put them .* `songbag split` makes a split"
    )
    _refused(tmp_path, store, LeakError, message, split=split)


@pytest.mark.fault(87)
def test_an_artist_on_two_sides_is_refused_where_artists_were_to_stay_together(tmp_path: Path) -> None:
    from songbag_training.splits.split import check_leaks

    songs = pa.table({"song_id": ["a", "b", "c"], "content_sha256": ["1", "2", "3"], "artist": ["Mia", "Mia", "Ole"]})
    split = Split(("a", "b", "c"), ("x", "x", "y"), ("train", "test", "train"), group=("artist",))
    with pytest.raises(LeakError, match="songs of the same 'artist' are in two subsets: 'a', 'b'") as refusal:
        check_leaks(split, songs)
    assert "`songbag split --group artist` makes a split that keeps them together" in str(refusal.value)
