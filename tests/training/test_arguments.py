"""Arguments of the functions as users give them from Python: numbers of NumPy, one text alone, other types."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import songbag
from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.progress import Silent
from songbag_training.config import TrainConfig
from songbag_training.runs.run import Run
from songbag_training.search import Search
from songbag_training.sweeps.points import as_search, points_of
from tests.support import labelled
from tests.support.clusters import importable
from tests.support.patience import PATIENCE_S


def test_numbers_of_numpy_are_options() -> None:
    config = TrainConfig(epochs=np.int64(3), learning_rate=np.float32(0.5), calibrate=np.bool_(True), seed=np.uint8(7))  # type: ignore[arg-type]
    assert config == TrainConfig(epochs=3, learning_rate=0.5, calibrate=True, seed=7)
    assert [type(one) for one in (config.epochs, config.learning_rate, config.calibrate)] == [int, float, bool]
    with pytest.raises(UsageError, match=r"epochs: is .* but must be a whole number"):
        TrainConfig(epochs=np.float64(2.5))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="epochs"):
        TrainConfig(epochs=np.array([3]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [np.array([1e-3, 1e-2]), list(np.array([1e-3, 1e-2])), (1e-3, 1e-2), (one for one in (1e-3, 1e-2))],
    ids=["array", "scalars", "tuple", "generator"],
)
def test_a_search_takes_values_of_every_kind(values: Any) -> None:
    search = as_search({"learning_rate": values, "bag_size": np.int64(4)})
    assert points_of(search, TrainConfig()) == [
        {"learning_rate": 1e-3, "bag_size": 4},
        {"learning_rate": 1e-2, "bag_size": 4},
    ]


def test_a_set_of_values_is_in_one_order() -> None:
    assert as_search({"pooling": {"mean", "max", "lse"}}) == Search(set=("pooling=lse,max,mean",))


@pytest.mark.parametrize("search", ["pooling=mean,max", [("pooling", "mean")], None])
def test_a_search_of_another_type_says_what_it_must_be(search: Any) -> None:
    with pytest.raises(UsageError, match=r"search: is given as .* but must be a mapping"):
        as_search(search)


def asked(function: Callable[..., Any], *arguments: Any) -> Callable[[Path], Any]:
    return lambda folder: function(*arguments[:2], folder / "out", *arguments[2:], progress=Silent())


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (asked(songbag.train, "store", "label", {"epochs": 2}), "songbag.TrainConfig"),
        (asked(songbag.train, "store", "label", songbag.BaselineConfig()), "songbag.TrainConfig"),
        (asked(songbag.baseline, "store", "label", TrainConfig()), "songbag.BaselineConfig"),
        (asked(songbag.cross_validate, "store", "label", None), "songbag.TrainConfig or a songbag.BaselineConfig"),
        (asked(songbag.sweep, "store", "label", {"pooling": ["mean"]}, {"epochs": 2}), "songbag.TrainConfig"),
        (lambda folder: songbag.pretrain("store", folder / "out", {"epochs": 2}), "songbag.PretrainConfig"),
        (lambda folder: songbag.predict("run", "store", config=TrainConfig()), "songbag.PredictConfig"),
        (lambda folder: songbag.extract("songs", "store", config={"workers": 2}), "songbag.ExtractConfig"),
    ],
)
def test_options_of_another_type_are_refused_before_anything_is_opened(
    call: Callable[[Path], Any], wanted: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=rf"config: is given as \w+ but must be a {wanted}\."):
        call(tmp_path)
    assert not list(tmp_path.iterdir())


def test_one_column_alone_is_a_group(tmp_path: Path) -> None:
    songs = labelled.songs_of_classes({"folk": 6, "jazz": 6})
    for number, song in enumerate(songs):
        song["artist"] = f"artist {number // 2}"
    artist = labelled.pa.field("artist", labelled.pa.string())
    store = labelled.write_store(tmp_path / "store", songs, further=[artist])
    alone = songbag.split(store, "label", group="artist", progress=Silent())
    assert alone.group == ("artist",)
    assert alone.digest == songbag.split(store, "label", group=["artist"], progress=Silent()).digest


def test_numbers_that_are_not_whole_are_refused_by_name(store: SongStore, run: Run) -> None:
    for folds in ("3", 3.0, True):
        with pytest.raises(UsageError, match=r"folds: is .* but must be a whole number"):
            songbag.split(store, "label", folds=folds, progress=Silent())  # type: ignore[arg-type]
    for k in ("3", 2.5, 0):
        with pytest.raises(UsageError, match=r"k: is .* but must be a whole number from 1"):
            songbag.similar(store, "folk/00", k=k)
        with pytest.raises(UsageError, match=r"k: is .* but must be a whole number from 1"):
            songbag.review(run, store, k=k)
    assert songbag.split(store, "label", folds=np.int64(3), progress=Silent()).is_folds


@pytest.mark.parametrize("call", ["review({run!r}, {store!r})", "similar({store!r}, 'folk/00', run={run!r})"])
def test_a_function_that_loads_tensorflow_late_shows_none_of_its_lines(call: str, run: Run, store: SongStore) -> None:
    asked = call.format(run=str(run.folder), store=store.address)
    done = subprocess.run(
        [sys.executable, "-c", f"import songbag; songbag.{asked}"],
        env=os.environ | importable() | {"TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "song" not in line]
    assert (done.returncode, said) == (0, [])
