"""Two runs on the songs that both tested."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

import songbag
from songbag_store.errors import UsageError
from songbag_training.comparison.pair import bonett_price
from songbag_training.runs.run import Run
from tests.support.answers import answering, songs_tested


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
    assert (test["gained"], test["lost"]) == (2, 1)
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
    none = answering(run, tmp_path / "c", parts=dict.fromkeys(songs, "train"))
    with pytest.raises(UsageError, match=f"tested by both: a tested {len(songs)}, c 0"):
        songbag.compare(first, none)


def test_other_labels_tasks_and_a_single_run_are_refused(run: Run, tmp_path: Path) -> None:
    first, second = answering(run, tmp_path / "a"), answering(run, tmp_path / "b", label="mood")
    with pytest.raises(UsageError, match="'label' and b 'mood'"):
        songbag.compare(first, second)
    with pytest.raises(UsageError, match="two runs"):
        songbag.compare(first)
    assert songbag.compare(first, first).table("tests", arrow=True)["p"].to_pylist() == [1.0]
