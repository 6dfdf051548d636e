"""``kill -9`` of a training at a random moment; what resumes, and what does not."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import random
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.numpy import load_file

from songbag_store import SongStore
from songbag_store.errors import StoreNotFound, UsageError
from songbag_store.progress import Lines, Silent
from songbag_store.writer import commit_change
from songbag_training import TrainConfig, resume, train
from songbag_training.errors import DamagedRun, RunNotFound
from songbag_training.fit.train import refuse_contradictions
from songbag_training.runs.checkpoints import NAME, read_reached
from songbag_training.runs.run import Run
from songbag_training.runs.summary import describe, info
from songbag_training.runs.verification import verify_folder
from songbag_training.runs.weights import save_tensors
from tests.support.documents import edit_document
from tests.support.epochs import Epochs
from tests.support.long import LONG
from tests.support.parts import OWN
from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]
N_ROUNDS = 10 if LONG else 1

ENCODER = "compact" if LONG else "tests.support.nets:with_state"
PARTS: dict[str, Any] = {} if LONG else OWN
CONFIG = TrainConfig(
    epochs=4,
    bag_size=4,
    batch_size=2,
    learning_rate=0.01,
    early_stopping=3,
    encoder=ENCODER,
    members=2,
    no_floor=True,
    **PARTS,
)
"""12 steps an epoch. The short form has parts of a training from outside songbag."""
go_on = partial(resume, encoder=ENCODER, **PARTS)


class _Killed(KeyboardInterrupt):
    """Ends a training as suddenly as a signal would, as far as files are concerned."""


class Stopping(Epochs):
    """Ends a training after the n-th checkpoint: each is followed by a word of how far it is."""

    def __init__(self, n_checkpoints: int) -> None:
        self._n_left = n_checkpoints
        self.said: list[str] = []

    def note(self, line: str) -> None:
        self.said.append(line)

    def reached(self, done: float) -> None:
        self._n_left -= 1
        if self._n_left == 0:
            raise _Killed


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, store: SongStore) -> Run:
    """A run that nothing disturbed."""
    return train(store, "label", tmp_path_factory.mktemp("whole") / "run", config=CONFIG, progress=Silent())


def assert_same(run: Path, whole: Run) -> None:
    """Hold that weights, history and metrics are those of the undisturbed run."""
    assert (run / "weights.safetensors").read_bytes() == (whole.folder / "weights.safetensors").read_bytes()
    history, undisturbed = (pd.read_csv(folder / "history.csv") for folder in (run, whole.folder))
    pd.testing.assert_frame_equal(history.drop(columns="seconds"), undisturbed.drop(columns="seconds"))
    assert json.loads((run / "metrics.json").read_text()) == json.loads((whole.folder / "metrics.json").read_text())


def process(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.training_process", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(path: Path, training: subprocess.Popen[str]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert training.poll() is None, training.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.long
@pytest.mark.fault(81)
def test_a_training_killed_at_a_random_moment_and_resumed_is_as_if_undisturbed(
    tmp_path: Path, store: SongStore, whole: Run
) -> None:
    seed = int(os.environ.get("SONGBAG_SEED") or random.SystemRandom().randrange(2**32))
    print(f"{N_ROUNDS} trainings killed: SONGBAG_SEED={seed}")
    chance = random.Random(seed)
    for number in range(N_ROUNDS):
        folder = tmp_path / f"run-{number}"
        training = process("begin", store.address, folder, json.dumps(CONFIG.to_dict()))
        wait_for(folder / NAME, training)
        time.sleep(chance.uniform(0, 1.0))
        training.kill()
        training.communicate()
        if Run.open_unfinished(folder).facts.finished_at is None:
            lines: list[str] = []
            go_on(folder, progress=Lines(lines.append))
            assert any("resuming" in line for line in lines)
        assert_same(folder, whole)


@pytest.mark.long
@pytest.mark.fault(81)
@pytest.mark.parametrize(
    ("n_checkpoints", "n_steps", "options"),
    # Between two epochs, in one, and where executions do not divide an epoch and where they do.
    [
        (12, 12, {}),
        (5, 22, {"steps_per_execution": 5}),
        *([(5, 5, {}), (5, 20, {"steps_per_execution": 4})] if LONG else []),
    ],
)
def test_a_training_goes_on_inside_an_epoch_and_between_two(
    tmp_path: Path,
    store: SongStore,
    whole: Run,
    n_checkpoints: int,
    n_steps: int,
    options: dict[str, Any],
) -> None:
    config = dataclasses.replace(CONFIG, **options)
    stopping = Stopping(n_checkpoints)
    with pytest.raises(_Killed):
        train(store, "label", tmp_path / "run", config=config, checkpoint_s=0, progress=stopping)
    reached = read_reached(tmp_path / "run" / NAME)
    kept = f"{reached.epoch} of 4 epochs" + f" and {reached.step} steps of the next" * bool(reached.step)
    folder = tmp_path / "run"
    option, argument = ("", "") if LONG else (f" --encoder {ENCODER}", f", encoder='{ENCODER}'")
    for name, own in PARTS.items():
        option += f" --{name} {own if isinstance(own, str) else own[0]}"
        argument += f", {name}={(own if isinstance(own, str) else list(own))!r}"
    assert stopping.said[-3:] == [
        f"stopped; kept in {folder}: {kept}",
        f"go on with: songbag train {store.address} -o {folder} --resume{option}",
        f"or in Python: songbag.resume('{folder}', '{store.address}'{argument})",
    ]
    assert reached.epoch * 12 + reached.step == n_steps
    lines: list[str] = []
    go_on(tmp_path / "run", progress=Lines(lines.append))
    assert lines[0].startswith("resuming")
    assert_same(tmp_path / "run", whole)


@pytest.mark.fault(81)
def test_what_follows_from_a_checkpoint_is_written_when_the_training_goes_on(
    tmp_path: Path, store: SongStore, whole: Run
) -> None:
    in_the_way = tmp_path / "run" / "weights.safetensors"

    class Blocking(Epochs):
        def begun(self) -> None:
            in_the_way.mkdir()

    with pytest.raises(UsageError, match=r"weights\.safetensors: is no file"):
        train(store, "label", tmp_path / "run", config=CONFIG, checkpoint_s=math.inf, progress=Blocking())
    in_the_way.rmdir()
    reached = read_reached(tmp_path / "run" / NAME)
    assert (reached.epoch, reached.step) == (1, 0)
    assert not (tmp_path / "run" / "history.csv").exists()
    go_on(tmp_path / "run", progress=Silent())
    assert_same(tmp_path / "run", whole)


def test_of_a_training_that_had_ended_only_the_evaluation_is_left(tmp_path: Path, store: SongStore, whole: Run) -> None:
    stopping = Stopping(CONFIG.epochs)
    with pytest.raises(_Killed):
        train(store, "label", tmp_path / "run", config=CONFIG, checkpoint_s=math.inf, progress=stopping)
    lines: list[str] = []
    go_on(tmp_path / "run", progress=Lines(lines.append))
    assert [line.split(" ")[0] for line in lines] == ["resuming", "2", "note:", "note:", "held-out"]
    assert_same(tmp_path / "run", whole)


def test_a_finished_run_is_left_as_it_is(whole: Run) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in whole.folder.iterdir()}
    lines: list[str] = []
    assert go_on(whole.folder, progress=Lines(lines.append)).facts == whole.facts
    assert "nothing is left to resume" in lines[0]
    assert before == {path.name: path.stat().st_mtime_ns for path in whole.folder.iterdir()}


def test_where_no_training_began_nothing_is_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match=r"no run\.json"):
        resume(tmp_path)


def test_a_run_without_a_checkpoint_begins_again_on_its_own_snapshot(
    tmp_path: Path, store: SongStore, whole: Run
) -> None:
    shutil.copytree(whole.folder, tmp_path / "run")
    shutil.copytree(store.address, tmp_path / "store")
    edit_document(tmp_path / "run" / "run.json", finished_at=None, best_epoch=None)
    (tmp_path / "run" / NAME).unlink()
    later = SongStore.open(tmp_path / "store")
    commit_change(later, lambda base: (base.index.slice(0, 20), base.parts), note="remove")
    run = go_on(tmp_path / "run", tmp_path / "store", progress=Silent())
    assert (run.facts.snapshot, later.at().snapshot) == (1, 2)
    assert_same(tmp_path / "run", whole)


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_checkpoint_that_is_not_one_is_refused(tmp_path: Path, whole: Run, damage: str) -> None:
    shutil.copytree(whole.folder, tmp_path / "run")
    edit_document(tmp_path / "run" / "run.json", finished_at=None)
    weights = (whole.folder / "weights.safetensors").read_bytes()
    (tmp_path / "run" / NAME).write_bytes(weights[:100] if damage == "cut" else weights)
    with pytest.raises(DamagedRun, match="Delete it to train the run from its beginning"):
        go_on(tmp_path / "run", progress=Silent())


@pytest.mark.parametrize(
    ("given", "named"), [({"batch_size": 3}, "batch_size"), ({"label": "mood"}, "label"), ({"snapshot": 7}, "7")]
)
def test_options_that_are_not_the_runs_are_refused_by_name(whole: Run, given: dict[str, Any], named: str) -> None:
    refuse_contradictions(whole, {"batch_size": 2, "label": "label"})
    with pytest.raises(UsageError, match=named):
        refuse_contradictions(whole, given)


def test_a_finished_run_goes_on_to_more_epochs(tmp_path: Path, whole: Run) -> None:
    run = Run.open(shutil.copytree(whole.folder, tmp_path / "run"))
    edit_document(run.folder / "run.json", config=dataclasses.replace(CONFIG, early_stopping=None).to_dict())
    before, steps = run.metrics, load_file(run.folder / NAME)["optimizer/0"]
    refuse_contradictions(Run.open(run.folder), {"epochs": 6})
    stopping = Stopping(1)
    with pytest.raises(_Killed):
        go_on(run.folder, epochs=6, checkpoint_s=math.inf, progress=stopping)
    assert f"go on with: songbag train {run.facts.store_location} -o {run.folder} --resume" in stopping.said[-2]
    between = Run.open_unfinished(run.folder)
    assert (between.facts.finished_at, between.facts.continued, between.facts.config.epochs) == (None, [4], 6)
    assert not verify_folder(run.folder).damages
    assert json.loads((run.folder / "metrics.json").read_text()) == before
    with pytest.raises(UsageError, match="epochs"):
        go_on(run.folder, epochs=9, progress=Silent())
    lines: list[str] = []
    longer = go_on(run.folder, epochs=6, progress=Lines(lines.append))
    assert lines[0] == "resuming after epoch 5 of 6"
    assert [*pd.read_csv(run.folder / "history.csv")["epoch"]] == [1, 2, 3, 4, 5, 6]
    assert (int(steps), int(load_file(run.folder / NAME)["optimizer/0"])) == (48, 72)
    assert longer.facts.finished_at is not None
    assert not verify_folder(run.folder).damages
    assert dict(describe(info(run.folder)))["went on"] == "after epoch 4"
    # The state begins with that of the earlier run, so the training cannot begin again.
    edit_document(run.folder / "run.json", finished_at=None)
    (run.folder / NAME).unlink()
    with pytest.raises(DamagedRun, match="the weights of its earlier epochs"):
        go_on(run.folder, progress=Silent())


@pytest.mark.fault(133)
def test_a_finished_run_that_cannot_go_on_stays_as_it_is(tmp_path: Path, whole: Run) -> None:
    run = shutil.copytree(whole.folder, tmp_path / "run")
    edit_document(run / "run.json", config=dataclasses.replace(CONFIG, early_stopping=None).to_dict())
    before = (run / "run.json").read_bytes()
    for epochs, said in ((3, "epochs: is 3, but 4 epochs are done"), (0, "epochs: is 0 but must be")):
        with pytest.raises(UsageError, match=said):
            go_on(run, epochs=epochs, progress=Silent())
    with pytest.raises(StoreNotFound):
        go_on(run, tmp_path, epochs=6, progress=Silent())
    assert (run / "run.json").read_bytes() == before
    state = load_file(run / NAME)
    state["history/val_loss"][1:] += 100
    save_tensors(run / NAME, state, {"step": "0", "seconds": "0.0"})
    edit_document(run / "run.json", config=dataclasses.replace(CONFIG, early_stopping=3).to_dict())
    with pytest.raises(UsageError, match="was stopped early, after 4 epochs"):
        go_on(run, epochs=6, progress=Silent())
    (run / NAME).unlink()
    with pytest.raises(UsageError, match=r"kept no state of its training to go on from \(no checkpoint"):
        go_on(run, epochs=6, progress=Silent())
