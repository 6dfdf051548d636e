"""Two runs on the songs that both tested."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

import songbag
from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_training.comparison.pair import bonett_price
from songbag_training.runs.run import Run
from tests.support.answers import answering, judging, songs_tested


def test_differences_are_paired_and_mcnemar_is_scipys(run: Run, tmp_path: Path) -> None:
    songs = songs_tested(run)
    first = answering(run, tmp_path / "first", {songs[0], songs[1], songs[2]})
    config = dataclasses.replace(run.facts.config, learning_rate=0.5)
    second = answering(run, tmp_path / "second", {songs[2], songs[3]}, config=config)
    found = songbag.compare(first, second)
    row = found.table("metrics", arrow=True).to_pylist()[0]
    n = len(songs)
    assert (row["metric"], row["songs"]) == ("accuracy", n)
    assert row["difference"] == pytest.approx(1 / n)
    assert row["low"] <= row["difference"] <= row["high"]
    test = found.table("tests", arrow=True).to_pylist()[0]
    assert (test["test"], test["of"], test["gained"], test["lost"]) == ("McNemar's exact test", "songs", 2, 1)
    assert test["p"] == pytest.approx(binomtest(1, 3, 0.5).pvalue)
    flips = found.table("songs", arrow=True).to_pylist()
    assert {one["song_id"]: one["change"] for one in flips} == {
        songs[0]: "gained",
        songs[1]: "gained",
        songs[3]: "lost",
    }
    assert found.table("settings", arrow=True).to_pylist() == [
        {"setting": "learning_rate", "first": "0.01", "second": "0.5"}
    ]
    origins = found.table("origins", arrow=True)
    assert sum(origins["difference"].to_pylist()) == pytest.approx(1 / n)


def test_the_interval_of_a_class_is_that_of_bonett_and_price() -> None:
    """By hand: 7 gained and 2 lost of 40: 8/42 and 3/42."""
    middle = 5 / 42
    reach = 1.959963984540054 * np.sqrt((11 / 42 - middle**2) / 42)
    assert bonett_price(7, 2, 40) == pytest.approx([middle - reach, middle + reach])


def test_a_song_that_one_trained_on_is_left_out_and_counted(run: Run, tmp_path: Path) -> None:
    songs = songs_tested(run)
    first, second = answering(run, tmp_path / "a"), answering(run, tmp_path / "b", parts={songs[0]: "train"})
    found = songbag.compare(first, second)
    assert found.table("metrics", arrow=True)["songs"][0].as_py() == len(songs) - 1
    assert found.notes == ["1 song that a tested is left out: b trained on it or validated with it."]
    none = answering(run, tmp_path / "c", parts=dict.fromkeys(run.split().song_ids, "train"))
    with pytest.raises(UsageError, match=r"validated by both: a validated \d+, c validated 0"):
        songbag.compare(first, none)


def test_other_labels_tasks_and_a_single_run_are_refused(run: Run, tmp_path: Path) -> None:
    first, second = answering(run, tmp_path / "a"), answering(run, tmp_path / "b", label="mood")
    with pytest.raises(UsageError, match="'label' and b 'mood'"):
        songbag.compare(first, second)
    with pytest.raises(UsageError, match="two runs"):
        songbag.compare(first)
    assert songbag.compare(first, first).table("tests", arrow=True)["p"].to_pylist() == [1.0]


def origins_of(*runs: Path) -> dict[str, tuple[int, float]]:
    rows = songbag.compare(*runs).table("origins", arrow=True).to_pylist()
    return {row["because"]: (row["songs"], row["difference"]) for row in rows}


def test_what_changed_between_two_snapshots_is_asked_of_the_store(run: Run, store: SongStore, tmp_path: Path) -> None:
    """Of the test songs one was removed, one was relabelled, and one was only dealt elsewhere."""
    shutil.copytree(store.address, tmp_path / "store")
    songs = songs_tested(run)
    gone, changed, elsewhere = songs[:3]
    before = SongStore.open(tmp_path / "store")
    (tmp_path / "fix.csv").write_text(f"song_id,label\n{changed},rock\n")
    songbag.relabel(tmp_path / "store", tmp_path / "fix.csv")
    after, _ = songbag.remove(tmp_path / "store", f"song_id = '{gone}'")
    place = {"store_location": str(tmp_path / "store")}
    right = {changed: "rock"}
    first = answering(run, tmp_path / "a", {gone}, snapshot=before.snapshot, **place)
    second = answering(
        run, tmp_path / "b", (), {gone: None, elsewhere: "train"}, right, snapshot=after.snapshot, **place
    )
    found = origins_of(first, second)
    assert {why: n for why, (n, _) in found.items()} == {
        "songs removed": 1,
        "tested by the reference alone": 1,
        "songs relabelled, the reference": 1,
        "songs relabelled, the other run": 1,
        "other answers": len(songs) - 2,
    }
    assert found["songs removed"][1] > 0
    assert found["songs relabelled, the reference"][1] < 0
    assert sum(own for _, own in found.values()) == pytest.approx(1 / len(songs))
    assert origins_of(second, first)["songs removed"][0] == 1
    notes = songbag.compare(first, second).notes
    assert f"From snapshot {before.snapshot} to {after.snapshot}: 1 removed, 1 relabelled (label 1)." in notes
    shutil.rmtree(tmp_path / "store")
    assert "songs that the reference does not know" not in origins_of(first, second)
    assert any(
        "cannot be read" in note and "may be removed, added" in note for note in songbag.compare(first, second).notes
    )


def test_songs_that_hang_together_have_one_vote(run: Run, tmp_path: Path) -> None:
    """Copies in the split of either run: three songs of one group that only the second has right are one vote."""
    songs = songs_tested(run)
    first, second = answering(run, tmp_path / "a", set(songs[:4])), answering(run, tmp_path / "b", {songs[4]})
    split = run.split()
    group = tuple(0 if song in songs[:3] else None for song in split.song_ids)
    dataclasses.replace(split, copy_group=group).write(second / "split.parquet")
    (test,) = songbag.compare(first, second).table("tests", arrow=True).to_pylist()
    assert (test["test"], test["of"], test["gained"], test["lost"]) == ("sign test of groups", "groups", 2, 1)
    assert test["p"] == pytest.approx(binomtest(1, 3, 0.5).pvalue)


def test_runs_that_tested_nothing_are_compared_on_validation_songs(run: Run, tmp_path: Path) -> None:
    parts = dict.fromkeys(songs_tested(run))
    points = [answering(run, tmp_path / name, (), parts) for name in ("a", "b")]
    found = songbag.compare(*points)
    table = found.table("metrics", arrow=True)
    assert set(table["part"].to_pylist()) == {"validation"}
    assert table["songs"][0].as_py() == run.split().counts()["validation"]
    assert found.notes[0].startswith("Validation songs are compared, as a, b have tested none.")
    tested = songbag.compare(answering(run, tmp_path / "c"), points[0])
    assert set(tested.table("metrics", arrow=True)["part"].to_pylist()) == {"validation"}
    assert "as a has tested none" in tested.notes[0]


def test_cross_validations_are_compared_with_each_other_and_with_runs(
    run: Run, store: SongStore, tmp_path: Path
) -> None:
    songs = store.songs(columns=["song_id", "label"])
    labels: dict[str, Any] = dict(zip(songs["song_id"], songs["label"], strict=True))
    right = {song: [0.8 if name == own else 0.1 for name in run.facts.classes] for song, own in labels.items()}
    one = judging(run, tmp_path / "one", labels, right)
    fewer = {song: own for song, own in right.items() if not song.startswith("folk/0")}
    two = judging(run, tmp_path / "two", labels, fewer | {"rock/01": [0.8, 0.1, 0.1]})
    found = songbag.compare(one, two, answering(run, tmp_path / "run"))
    rows = [row for row in found.table("metrics", arrow=True).to_pylist() if row["metric"] == "accuracy"]
    assert [(row["run"], row["songs"]) for row in rows] == [("two", len(fewer)), ("run", len(songs_tested(run)))]
    assert rows[0]["difference"] == pytest.approx(-1 / len(fewer))
    assert [row["song_id"] for row in found.table("songs", arrow=True).to_pylist()] == ["rock/01"]


def test_of_songs_with_several_classes_only_those_that_both_learned_count(run: Run, tmp_path: Path) -> None:
    ids = run.split().song_ids[:12]

    def learned(name: str, classes: list[str], n_wrong: int) -> Path:
        labels = {song: [own for at, own in enumerate(classes) if number >> at & 1] for number, song in enumerate(ids)}
        shares = {song: [0.9 if own in labels[song] else 0.1 for own in classes] for song in ids}
        shares |= {song: [1 - shares[song][0], *shares[song][1:]] for song in ids[:n_wrong]}
        return judging(run, tmp_path / name, labels, shares, task="multi-label", classes=classes)

    first = learned("first", ["brass", "drums", "voice"], 0)
    found = songbag.compare(first, learned("second", ["brass", "bells"], 3))
    assert "Only the 1 class that both learned counts; one of the two does not know 'drums', 'voice', 'bells'." in (
        found.notes
    )
    rows = {row["metric"]: row for row in found.table("metrics", arrow=True).to_pylist()}
    assert rows["accuracy"]["difference"] == pytest.approx(-3 / 12)
    assert rows["roc_auc"]["reference"] == 1.0
    assert found.table("classes", arrow=True)["class"].to_pylist() == ["brass"]
    with pytest.raises(UsageError, match=r"no class was learned by both.*'brass', 'drums', 'voice', 'bells'"):
        songbag.compare(first, learned("third", ["bells", "strings"], 0))
