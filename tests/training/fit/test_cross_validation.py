from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import songbag
from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.progress import Lines, Silent
from songbag_training import TrainConfig
from songbag_training.errors import LabelError, SplitMismatch
from songbag_training.evaluation.headline import floor_lines
from songbag_training.fit.cross_validation import cross_validate
from songbag_training.fit.pooled import CrossValidation
from songbag_training.runs.run import Run
from songbag_training.runs.verification import Verdict, verify_folder
from songbag_training.splits.split import Split
from songbag_training.summaries import statistics
from songbag_training.summaries.statistics import summaries
from songbag_training.types import FloatArray
from tests.support.damages import damaged, seeded
from tests.support.documents import edit_document
from tests.support.epochs import Epochs
from tests.support.long import LONG
from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def quick() -> TrainConfig:
    encoder = "compact" if LONG else "tests.support.nets:with_state"
    return TrainConfig(epochs=8, bag_size=4, batch_size=8, learning_rate=0.01, encoder=encoder, members=1)


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def summed() -> list[int]:
    """How many songs were summed up, each time that some were."""
    return []


@pytest.fixture(scope="module")
def counted(
    tmp_path_factory: pytest.TempPathFactory, store: SongStore, quick: TrainConfig, lines: list[str], summed: list[int]
) -> tuple[CrossValidation, list[int]]:
    """A cross-validation, and how often files of the store had been read before each fold and at the end."""
    done: list[int] = []
    before: list[int] = []
    pread = os.pread

    def noting(descriptor: int, length: int, offset: int) -> bytes:
        done.append(length)
        return pread(descriptor, length, offset)

    def noting_songs(store: SongStore, songs: pa.Table, kind: Any = "windows") -> FloatArray:
        summed.append(songs.num_rows)
        return summaries(store, songs, kind)

    def report(line: str) -> None:
        lines.append(line)
        if line.startswith("fold ") and line.endswith(":"):
            before.append(len(done))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "pread", noting)
        patched.setattr(statistics, "summaries", noting_songs)
        folder = tmp_path_factory.mktemp("cross") / "cv"
        validation = cross_validate(store, "label", folder, folds=3, config=quick, progress=Lines(report))
    return validation, [*before, len(done)]


@pytest.fixture(scope="module")
def done(counted: tuple[CrossValidation, list[int]]) -> CrossValidation:
    return counted[0]


@pytest.fixture
def copy(done: CrossValidation, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done.folder, tmp_path / "cv"))


def test_every_song_is_tested_once_by_a_model_that_did_not_train_on_it(done: CrossValidation, store: SongStore) -> None:
    pooled = pd.read_parquet(done.folder / "predictions.parquet")
    assert pooled.columns.tolist() == ["song_id", "label", "predicted", "fold", "p_folk", "p_jazz", "p_rock"]
    assert pooled["song_id"].tolist() == sorted(store.songs(arrow=True)["song_id"].to_pylist())
    for number, run in enumerate(done.runs, 1):
        own = run.split()
        trained = {own.song_ids[row] for row in own.rows_of("train")}
        tested = set(pooled["song_id"][pooled["fold"] == str(number)])
        assert tested == {own.song_ids[row] for row in own.rows_of("test")}
        assert trained | tested == set(pooled["song_id"])
        assert not trained & tested


def test_the_last_epoch_counts_as_nothing_validates(done: CrossValidation, quick: TrainConfig) -> None:
    for run in done.runs:
        assert run.facts.best_epoch == quick.epochs
        assert run.split().counts()["validation"] == 0


def test_mean_and_spread_are_those_of_the_folds(done: CrossValidation) -> None:
    metrics = json.loads((done.folder / "metrics.json").read_text())
    assert metrics == done.metrics
    folds = [own["accuracy"] for own in metrics["folds"].values()]
    assert metrics["mean"]["accuracy"] == pytest.approx(np.mean(folds))
    assert metrics["std"]["accuracy"] == pytest.approx(np.std(folds, ddof=1))
    of_runs = [json.loads((run.folder / "metrics.json").read_text())["test"]["song"] for run in done.runs]
    assert folds == [own["accuracy"] for own in of_runs]
    pooled = pd.read_parquet(done.folder / "predictions.parquet")
    assert metrics["pooled"]["accuracy"] == pytest.approx((pooled["label"] == pooled["predicted"]).mean())
    assert {name: own["n"] for name, own in metrics["classes"].items()} == {"folk": 12, "jazz": 12, "rock": 12}
    low, high = metrics["intervals"]["balanced_accuracy"]
    assert low < metrics["pooled"]["balanced_accuracy"] <= high


def test_it_tells_and_keeps_the_mean_floor_of_its_folds_whose_songs_are_summed_up_once(
    done: CrossValidation, lines: list[str], summed: list[int], tmp_path: Path
) -> None:
    floors = [run.metrics["test"]["floor"] for run in done.runs]
    assert floors == [run.facts.floor for run in done.runs]
    kept = json.loads((done.folder / "metrics.json").read_text())["floor"]
    for name in ("linear", "trees", "mean"):
        assert kept[name] == pytest.approx(np.mean([own[name] for own in floors]))
    assert kept["learner"] in {own["learner"] for own in floors}
    accuracy = done.metrics["mean"]["accuracy"]
    assert [line for line in lines if line.startswith("mean of the folds: ")] == floor_lines(
        accuracy, kept, "mean of the folds"
    )[:1]
    assert summed == [36]
    (row,) = songbag.runs(done.folder, arrow=True).to_pylist()
    assert row["floor"] == kept[kept["learner"]]
    compared = songbag.compare(done.folder, done.folder).table("floors", arrow=True).to_pylist()
    assert [(one["accuracy"], one["floor"]) for one in compared] == [(row["accuracy"], row["floor"])] * 2


def test_classes_that_can_be_heard_are_learned(done: CrossValidation) -> None:
    assert done.metrics["pooled"]["accuracy"] >= 0.8


def test_finished_folds_are_kept_and_the_unfinished_ones_trained(
    copy: Path, done: CrossValidation, store: SongStore, quick: TrainConfig
) -> None:
    edit_document(copy / "fold-2" / "run.json", finished_at=None)
    shutil.rmtree(copy / "fold-3")
    kept = (copy / "fold-1" / "weights.safetensors").stat().st_mtime_ns
    lines: list[str] = []
    again = cross_validate(store, "label", copy, folds=3, config=quick, progress=Lines(lines.append))
    assert (copy / "fold-1" / "weights.safetensors").stat().st_mtime_ns == kept
    assert sum("finished before" in line for line in lines) == 1
    assert again.metrics == done.metrics


@pytest.mark.long
@pytest.mark.fault(101)
def test_verify_notices_a_bit_or_a_cut_of_any_file_of_a_cross_validation(copy: Path) -> None:
    chance = seeded()
    files = (path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file())
    names = sorted(name for name in files if name != "report.html")
    verdict = verify_folder(copy)
    assert verdict == Verdict(n_files=len(names), damages=[], unsealed=[], notes=[])
    for name in names:
        for what in damaged(copy / name, chance, 300 if LONG else 6):
            assert [one.key for one in verify_folder(copy).damages] == [name], what
    (copy / "fold-2" / "run.json").unlink()
    assert [(one.key, one.what) for one in verify_folder(copy).damages] == [("fold-2/run.json", "is missing")]


def test_verify_says_which_folds_are_not_trained_yet(copy: Path) -> None:
    files = json.loads((copy / "cross-validation.json").read_text())["files"]
    edit_document(copy / "cross-validation.json", files={"split.parquet": files["split.parquet"]})
    edit_document(copy / "fold-2" / "run.json", finished_at=None)
    shutil.rmtree(copy / "fold-3")
    verdict = verify_folder(copy)
    assert verdict.damages == []
    assert verdict.notes == [
        "fold-2/run.json: the training is not finished; its other files are sealed when it is",
        "fold-3: was not begun; the same command trains it",
    ]


def test_the_folds_share_one_reading_of_the_store(counted: tuple[CrossValidation, list[int]], store: SongStore) -> None:
    before_first, *later = counted[1]
    # Of songs of one fragment the list of chunks and each chunk once, from the search for copies on: not once an epoch.
    assert before_first <= later[0] <= len(store.songs(arrow=True)) + 1
    # After the last fold the page reads the songs whose features it shows.
    assert later[:-1] == [later[0]] * 2


class _Killed(KeyboardInterrupt):
    """Ends a training as suddenly as a signal would, as far as files are concerned."""


class _Killing(Epochs):
    def reached(self, done: float) -> None:
        if done >= 2:
            raise _Killed


@pytest.mark.long
@pytest.mark.fault(81)
def test_a_fold_killed_in_mid_epoch_goes_on_and_ends_as_if_undisturbed(
    copy: Path, done: CrossValidation, store: SongStore, quick: TrainConfig
) -> None:
    for folder in ("fold-2", "fold-3"):
        shutil.rmtree(copy / folder)
    if LONG:
        first = _process("cross-validate", store.address, str(copy), json.dumps(quick.to_dict()))
        _wait_for_epoch(2, copy / "fold-2", first)
        first.kill()
        first.communicate()
    else:
        with pytest.raises(_Killed):
            cross_validate(store, "label", copy, folds=3, config=quick, progress=_Killing())
    history = pd.read_csv(copy / "fold-2" / "history.csv")
    assert 2 <= len(history) < quick.epochs
    assert not (copy / "fold-3").exists()
    lines: list[str] = []
    cross_validate(store, "label", copy, folds=3, config=quick, progress=Lines(lines.append))
    told = "\n".join(lines)
    assert "finished before" in told
    assert "resuming after epoch" in told or "resuming in epoch" in told
    assert json.loads((copy / "metrics.json").read_text()) == done.metrics
    for run in done.runs:
        weights = copy / run.folder.name / "weights.safetensors"
        assert weights.read_bytes() == (run.folder / "weights.safetensors").read_bytes()


def _process(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.training_process", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _wait_for_epoch(number: int, run: Path, training: subprocess.Popen[str]) -> None:
    """Wait until an epoch is noted; the next one is then under way."""
    until = time.monotonic() + PATIENCE_S
    while not (run / "history.csv").exists() or len((run / "history.csv").read_text().splitlines()) <= number:
        assert training.poll() is None, training.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_store_that_has_gone_on_is_read_at_the_snapshot_of_the_beginning(
    copy: Path,
    done: CrossValidation,
    store: SongStore,
    quick: TrainConfig,
    tmp_path: Path,
    songs_of_classes: Any,
    make_store: Any,
) -> None:
    later = shutil.copytree(store.address, tmp_path / "store")
    assert make_store(later, songs_of_classes({"polka": 3})).snapshot == 2
    again = cross_validate(later, "label", copy, folds=3, config=quick, progress=Silent())
    assert again.metrics == done.metrics


def test_a_folder_of_another_cross_validation_is_refused(copy: Path, store: SongStore, quick: TrainConfig) -> None:
    with pytest.raises(UsageError, match=r"another cross-validation \(it differs in split_sha256, folds\)"):
        cross_validate(store, "label", copy, folds=4, config=quick, progress=Silent())
    with pytest.raises(UsageError, match=r"another cross-validation \(it differs in where\)"):
        cross_validate(store, "label", copy, folds=3, where="true", config=quick, progress=Silent())


def test_folds_that_are_given_are_used(tmp_path: Path, store: SongStore, quick: TrainConfig) -> None:
    ids = store.songs(arrow=True)["song_id"].to_pylist()
    split = Split(
        tuple(sorted(ids)),
        tuple(song_id.split("/")[0] for song_id in sorted(ids)),
        tuple("odd" if int(song_id[-1]) % 2 else "even" for song_id in sorted(ids)),
    )
    config = TrainConfig(epochs=1, bag_size=2, early_stopping=1, encoder="tests.support.nets:flat", no_floor=True)
    done = cross_validate(store, "label", tmp_path / "cv", split=split, config=config, progress=Silent())
    assert list(done.metrics["folds"]) == ["even", "odd"]
    # Something is to be chosen, so songs are held out to choose by.
    assert done.runs[0].split().counts() == {"train": 15, "validation": 3, "test": 18}


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"folds": 1}, UsageError, "1 fold divides nothing"),
        ({"folds": 13}, LabelError, "13 folds: 'folk' has 12, 'jazz' has 12, 'rock' has 12"),
        ({"folds": 2, "fold_column": "label"}, UsageError, "Leave out one of the two"),
        ({"fold_column": "label"}, LabelError, r"'folk' has no song in the train subset \(12 test\)"),
        ({"fold_column": "mood"}, UsageError, "there is no column 'mood'"),
        ({"fold_column": "run_id"}, UsageError, "all songs have the same fold in 'run_id': 'test'"),
        ({"group": ["mood"]}, UsageError, "group: there is no column 'mood'"),
        ({"split": Split(("gone",), ("a",), ("1",))}, SplitMismatch, "no features of 1 song of the split: 'gone'"),
        ({"split": Split(("folk/00",), ("folk",), ("train",))}, UsageError, "of train, validation and test"),
    ],
)
def test_folds_that_cannot_be_are_refused_before_anything_is_written(
    tmp_path: Path, store: SongStore, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        cross_validate(store, "label", tmp_path / "cv", progress=Silent(), **options)
    assert not (tmp_path / "cv").exists()


def test_a_fold_folder_is_a_run_like_any_other(done: CrossValidation) -> None:
    run = Run.open(done.folder / "fold-1")
    assert run.allow_encoder(run.facts.config.encoder).load_model() is not None
