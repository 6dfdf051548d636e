"""A sweep: what is trained, what is tested, what goes on."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import songbag
from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.progress import Lines, Silent
from songbag_training import TrainConfig
from songbag_training.errors import RunError
from songbag_training.fit.trial import Trial
from songbag_training.fit.trials import Job, There, versions
from songbag_training.runs.document import SWEEP
from songbag_training.runs.plan import SweepPlan
from songbag_training.runs.verification import verify_folder
from songbag_training.search import Search
from songbag_training.splits.deal import choose_split
from songbag_training.sweeps.sweep import Sweep, sweep
from songbag_training.work import Cluster
from tests.support.long import LONG
from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]
FLAT, LOST = "tests.support.nets:flat", "tests.support.nets:lost"
CONFIG = TrainConfig(epochs=2, bag_size=2, batch_size=8, encoder=FLAT, no_floor=True)
RATES = {"learning_rate": [1e-5, 0.01]}
SEARCH = Search(set=(f"encoder={FLAT},{LOST}", "learning-rate=1e-5,0.01"), halving=True)


def weights(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


class Stopping(Lines):
    """Stops in the second epoch of the better point, after the other one was left behind."""

    def advance(self, done: float, state: str, line: str | None = None) -> None:
        if state.startswith("point-2: epoch   2"):
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def states() -> dict[str, str]:
    return {}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, store: SongStore, lines: list[str], states: dict[str, str]) -> Sweep:
    """A sweep of four points, of which two have no encoder; it was stopped, and went on."""
    folder = tmp_path_factory.mktemp("sweep") / "sweep"
    with pytest.raises(KeyboardInterrupt):
        sweep(store, "label", folder, SEARCH, CONFIG, progress=Stopping(lines.append))
    states |= {row["name"]: row["state"] for row in songbag.runs(folder, arrow=True).to_pylist()}
    return sweep(store, "label", folder, SEARCH, CONFIG, progress=Lines(lines.append))


@pytest.fixture
def copy(done: Sweep, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done.folder, tmp_path / "sweep"))


def test_the_best_alone_is_tested(done: Sweep, lines: list[str]) -> None:
    assert (done.winner.name, done.n_points, done.n_failed) == ("point-2", 4, 2)
    for name, parts in (("point-1", {"train", "validation"}), ("point-2", {"train", "validation", "test"})):
        metrics = json.loads((done.folder / name / "metrics.json").read_text())
        assert metrics.keys() - {"snapshot"} == parts
        table = pq.read_table(done.folder / name / "predictions.parquet")
        assert set(table["part"].to_pylist()) == parts
    assert any(
        line.startswith("4 points tried, 2 failed; by log loss of the validation songs the best") for line in lines
    )
    assert songbag.info(done.winner)["sweep"].startswith("the best of 4 points")
    assert songbag.info(done.folder / "point-1")["sweep"].endswith("chosen was point-2")
    with pytest.raises(UsageError, match="its test songs are not judged"):
        songbag.report(done.folder / "point-1")


@pytest.mark.fault(153)
def test_its_points_are_rows_and_a_failed_one_says_why(done: Sweep) -> None:
    rows = {row["name"]: row for row in songbag.runs(done.folder.parent, arrow=True).to_pylist()}
    assert list(rows) == [f"sweep/point-{number}" for number in (2, 1, 3, 4)]
    states = [rows[f"sweep/point-{number}"]["state"] for number in (1, 2, 3, 4)]
    assert states == ["finished", "finished", "failed", "failed"]
    assert "lost" in rows["sweep/point-3"]["note"]
    assert [rows[f"sweep/point-{n}"]["accuracy"] is None for n in (1, 2, 3)] == [True, False, True]
    assert None not in [rows[f"sweep/point-{n}"]["validation_log_loss"] for n in (1, 2)]
    assert {row["songs"] for row in rows.values()} == {36}
    assert [rows[f"sweep/point-{n}"]["learning_rate"] for n in (1, 2, 3, 4)] == [1e-5, 0.01, 1e-5, 0.01]


@pytest.mark.fault(101)
def test_verify_names_what_is_hit_in_a_point(copy: Path) -> None:
    assert verify_folder(copy).damages == []
    assert verify_folder(copy).notes == [
        f"point-{number}: is not trained; the same command trains it" for number in (3, 4)
    ]
    (copy / "point-1" / "history.csv").write_text("")
    (copy / "split.parquet").write_bytes(b"")
    assert [one.key for one in verify_folder(copy).damages] == ["split.parquet", "point-1/history.csv"]
    with pytest.raises(UsageError, match="this is a sweep: 2 of 4 points"):
        songbag.info(copy)
    with pytest.raises(UsageError, match="this is a sweep"):
        songbag.report(copy)


def test_two_points_are_compared_on_their_validation_songs(done: Sweep) -> None:
    found = songbag.compare(done.folder / "point-1", done.folder / "point-2")
    validated = json.loads((done.winner / "metrics.json").read_text())["validation"]["song"]
    row = found.table("metrics", arrow=True).to_pylist()[0]
    assert (row["part"], row["songs"], row["value"]) == ("validation", validated["n"], validated["accuracy"])


def test_what_no_training_could_do_is_refused_before_there_is_a_folder(
    store: SongStore, tagged: SongStore, tmp_path: Path
) -> None:
    def refused(of: SongStore, said: str, search: Any = RATES, folds: int | None = None, **options: Any) -> None:
        config = dataclasses.replace(CONFIG, **options)
        with pytest.raises(UsageError, match=said):
            sweep(of, "label", tmp_path / "sweep", search, config, folds=folds, progress=Silent())
        assert not (tmp_path / "sweep").exists()

    refused(store, "'jaz' is none of the classes", thresholds="cost:rock>jaz=5")
    refused(store, "f1 is for two classes", search={"thresholds": ["none", "f1"]})
    refused(tagged, "balanced-accuracy is not defined", monitor="balanced-accuracy")
    refused(tagged, "balanced-accuracy is not defined", monitor="balanced-accuracy", folds=2)
    refused(store, "'nowhere' is not there", callbacks=("nowhere:nothing",))
    config = dataclasses.replace(CONFIG, monitor="balanced-accuracy")
    with pytest.raises(UsageError, match="balanced-accuracy is not defined"):
        songbag.cross_validate(tagged, "label", tmp_path / "folds", config, folds=2, progress=Silent())
    assert not (tmp_path / "folds").exists()


def test_the_same_call_does_nothing_again_and_another_is_refused(done: Sweep, store: SongStore) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.folder.rglob("*") if path.name != "report.html"}
    again = sweep(store, "label", done.folder, SEARCH, CONFIG, progress=Silent())
    assert again == done
    assert {path: path.stat().st_mtime_ns for path in before if path.name not in ("sweep", "point-2")} == {
        path: then for path, then in before.items() if path.name not in ("sweep", "point-2")
    }
    other = dataclasses.replace(CONFIG, batch_size=4)
    with pytest.raises(UsageError, match=r"another sweep \(it differs in set, halving, batch_size\)"):
        sweep(store, "label", done.folder, RATES, other, progress=Silent())
    with pytest.raises(UsageError, match=r"another sweep \(it differs in split_sha256, folds\)"):
        sweep(store, "label", done.folder, SEARCH, CONFIG, folds=2, progress=Silent())


@pytest.mark.fault(152)
def test_a_halving_that_was_stopped_says_what_is_kept_and_goes_on(
    done: Sweep, lines: list[str], states: dict[str, str]
) -> None:
    assert "after 1 epoch: 1 of 2 points go on" in lines
    assert f"stopped; kept in {done.folder}: 1 of 4 points" in lines
    assert states == {"point-1": "finished", "point-2": "interrupted", "point-3": "failed", "point-4": "failed"}
    histories = [done.folder / name / "history.csv" for name in ("point-1", "point-2")]
    assert [len(one.read_text().splitlines()) - 1 for one in histories] == [1, 2]


def test_a_point_that_has_not_begun_is_a_row(copy: Path) -> None:
    shutil.rmtree(copy / "point-1")
    table = songbag.runs(copy, arrow=True)
    states = {row["name"]: row["state"] for row in table.to_pylist()}
    assert not {"split", "features"} & set(table.column_names)
    assert states == {"point-1": "waiting", "point-2": "finished", "point-3": "failed", "point-4": "failed"}


def test_a_point_is_no_cross_validation_and_a_sweep_without_a_point_is_an_error(
    tmp_path: Path, store: SongStore
) -> None:
    folder = tmp_path / "sweep"
    lost = {"encoder": [LOST]}
    with pytest.raises(RunError, match=r"no point could be trained; point-1: .*lost"):
        sweep(store, "label", folder, lost, CONFIG, progress=Silent())
    assert SweepPlan.read(folder / SWEEP).winner is None
    with pytest.raises(UsageError, match="is a point of the sweep"):
        songbag.cross_validate(store, "label", folder / "point-1", CONFIG, progress=Silent())
    half = choose_split(store, "label", None, seed=0).split
    named = {"validation": "train"}
    none = dataclasses.replace(half, subsets=tuple(named.get(one, one) for one in half.subsets))
    with pytest.raises(UsageError, match="no validation songs"):
        sweep(store, "label", tmp_path / "other", RATES, CONFIG, split=none, progress=Silent())


@pytest.mark.fault(152, 154)
def test_files_of_a_worker_that_does_not_see_the_folder_come_back_as_the_halved_point_that_was_stopped(
    tmp_path: Path, done: Sweep, store: SongStore
) -> None:
    """On a cluster of one thread here; the long form has processes."""
    from distributed import Client, LocalCluster

    plan = SweepPlan.read(done.folder / SWEEP)
    top = tmp_path / "sweep"
    top.mkdir()
    shutil.copy(done.folder / SWEEP, top / SWEEP)
    split = choose_split(store, "label", None, seed=0).split
    good = Trial(folder="point-2", label="label", where=None, split=split, config=plan.config_of(plan.points[1]))
    bad = dataclasses.replace(good, folder="point-4", config=plan.config_of(plan.points[3]))
    job = Job(str(top), "not-there", store.location.absolute(), store.uuid, store.snapshot, versions(), 10**9)
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        ended = {trial.folder: error for trial, error in There(client, job, Silent()).run([good, bad])}
    assert ended["point-2"] is None
    assert "lost" in str(ended["point-4"])
    assert weights(top / "point-2") == weights(done.folder / "point-2")
    assert "test" not in json.loads((top / "point-2" / "metrics.json").read_text())
    assert sorted(path.name for path in top.iterdir()) == ["point-2", SWEEP]


@pytest.mark.long
@pytest.mark.fault(152)
@pytest.mark.skipif(not LONG, reason="three processes load TensorFlow")
def test_a_sweep_of_cross_validations_on_two_processes_is_killed_and_finished(tmp_path: Path, store: SongStore) -> None:
    folder = tmp_path / "sweep"
    options: dict[str, Any] = {"folds": 2, "cluster": Cluster(workers=2), "progress": Silent()}
    command = [sys.executable, "-m", "songbag", "sweep", store.address, "--label", "label", "-o", str(folder)]
    command += [
        "--set",
        "learning-rate=1e-5,0.01",
        "--folds",
        "2",
        "--workers",
        "2",
        "--epochs",
        "2",
        "--bag-size",
        "2",
    ]
    command += ["--batch-size", "8", "--encoder", FLAT]
    for n_runs in (1, 3):
        process = subprocess.Popen(command, cwd=ROOT)
        until = time.monotonic() + PATIENCE_S
        while len(list(folder.glob("point-*/fold-*/run.json"))) < n_runs:
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
        process.wait()
    done = sweep(store, "label", folder, RATES, CONFIG, **options)
    assert (done.winner.name, done.n_failed) == ("point-2", 0)
    metrics = json.loads((done.winner / "metrics.json").read_text())
    assert metrics["pooled"]["n"] == 36
    assert not (folder / "point-1" / "metrics.json").exists()
    rows = songbag.runs(folder, arrow=True).to_pylist()
    assert [row["validation_accuracy"] is not None for row in rows] == [True, True]
    assert songbag.compare(folder / "point-1", folder / "point-2").table("metrics", arrow=True).num_rows
