"""What is said of a training that did not end: what is kept, and the command that goes on."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.progress import Lines, Silent
from songbag_store.storage.location import Location
from songbag_training import TrainConfig, train
from songbag_training.cli import commands
from songbag_training.errors import RunNotFound
from songbag_training.fit.cross_validation import cross_validate, resume_cross_validation
from songbag_training.runs.interruption import refuse_unfinished, telling
from songbag_training.runs.run import Run
from tests.support.command import songbag_here
from tests.support.documents import edit_document
from tests.support.long import LONG
from tests.support.patience import PATIENCE_S

OLD = Path(__file__).parents[2] / "fixtures" / "training-format-1"


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """Return a run that did not end, in a folder that a shell would take for three words."""
    return Path(shutil.copytree(OLD / "interrupted", tmp_path / "my new 'run'"))


def stopped(folder: Path, store: Any, reason: BaseException) -> list[str]:
    said: list[str] = []
    with pytest.raises(type(reason)), telling(folder, store, Lines(said.append)):
        raise reason
    return said


def test_training_into_the_folder_of_an_unfinished_run_names_the_command_that_goes_on(
    begun: Path, store: SongStore
) -> None:
    with pytest.raises(UsageError, match="the folder holds a training that did not end") as error:
        train(store, "label", begun, progress=Silent())
    line = next(line for line in str(error.value).splitlines() if "songbag train" in line)
    words = shlex.split(line.split("go on with: ")[1])
    assert words == ["songbag", "train", store.address, "-o", str(begun), "--resume"]
    with pytest.raises(UsageError, match="a training that did not end"):
        cross_validate(store, "label", begun, progress=Silent())
    for command in ("train", "cross-validate"):
        done = CliRunner().invoke(commands, [command, store.address, "--label", "label", "-o", str(begun)])
        assert isinstance(done.exception, UsageError)
        assert "--resume" in str(done.exception)


def test_a_finished_run_and_an_empty_folder_are_not_unfinished(run: Run, tmp_path: Path) -> None:
    refuse_unfinished(run.folder, "store")
    refuse_unfinished(tmp_path, "store")
    refuse_unfinished(tmp_path / "none", "store")


def test_secrets_are_not_repeated_and_own_encoders_are(begun: Path) -> None:
    config = json.loads((begun / "run.json").read_text())["config"]
    edit_document(begun / "run.json", config=config | {"encoder": "nets:small"})
    options = {"endpoint": "http://here:9000", "secret_access_key": "abc", "token": "def"}
    said = stopped(begun, Location("s3://bucket/store", options), SystemExit(130))
    words = shlex.split(said[1].removeprefix("go on with: "))
    assert words[6:] == [
        *("--encoder", "nets:small", "--storage-option", "endpoint=http://here:9000"),
        *("--storage-option", "secret_access_key=...", "--storage-option", "token=..."),
    ]
    assert "encoder='nets:small'" in said[2]


@pytest.mark.parametrize("reason", [SystemExit(130), SystemExit(143), KeyboardInterrupt()])
def test_a_signal_is_told_once_with_what_is_kept(begun: Path, reason: BaseException) -> None:
    said: list[str] = []
    with pytest.raises(type(reason)), telling(begun, "s", Lines(said.append)), telling(begun, "s", Lines(said.append)):
        raise reason
    assert said[0] == f"stopped; kept in {begun}: 2 of 3 epochs"
    assert len(said) == 3


def test_another_end_is_not_told(begun: Path) -> None:
    assert stopped(begun, "store", SystemExit(2)) == []
    assert stopped(begun, "store", ValueError()) == []


def test_what_had_not_begun_or_has_ended_needs_nothing(run: Run, tmp_path: Path) -> None:
    assert stopped(run.folder, "store", SystemExit(130)) == [
        f"stopped; kept in {run.folder}: the whole run, which is finished"
    ]
    nothing = stopped(tmp_path / "new", "store", SystemExit(130))
    assert nothing == [f"stopped; nothing is kept: the training had not begun, and there is no {tmp_path / 'new'}"]


class Stopping(Silent):
    """Ends a cross-validation in its second fold."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, line: str) -> None:
        self.said.append(line)

    def begin(self, total: float, unit: str) -> None:
        if any(line.startswith("fold 2 of") for line in self.said):
            raise SystemExit(130)


def test_a_cross_validation_says_what_is_kept_and_goes_on_without_its_options(store: SongStore, tmp_path: Path) -> None:
    config = TrainConfig(epochs=1, bag_size=2, batch_size=16, encoder="dense", no_floor=True)
    folder, stopping = tmp_path / "cv", Stopping()
    with pytest.raises(SystemExit):
        cross_validate(store, "label", folder, config, folds=2, progress=stopping)
    assert stopping.said[-3:] == [
        f"stopped; kept in {folder}: 1 of 2 folds, and in fold-2 0 of 1 epoch",
        f"go on with: songbag cross-validate {store.address} -o {folder} --resume",
        f"or in Python: songbag.resume_cross_validation('{folder}', '{store.address}')",
    ]
    with pytest.raises(UsageError, match="a cross-validation that did not end") as error:
        train(store, "label", folder, progress=Silent())
    assert "cross-validate" in str(error.value)
    command = ["cross-validate", store.address, "-o", str(folder)]
    for others, name in (
        (["--folds", "3"], "folds"),
        (["--epochs", "2"], "epochs"),
        (["--label", "mood"], "label"),
        (["--fold-column", "label"], "fold_column"),
    ):
        done = CliRunner().invoke(commands, [*command, "--resume", *others])
        assert isinstance(done.exception, UsageError)
        assert done.exception.place == name
    with pytest.raises(UsageError, match=r"differs in config.*\n.*\n +go on with: songbag cross-validate"):
        cross_validate(store, "label", folder, TrainConfig(epochs=2), folds=2, progress=Silent())
    done = CliRunner().invoke(commands, [*command, "--resume"], catch_exceptions=False)
    assert done.exit_code == 0
    assert (folder / "metrics.json").exists()
    assert "finished before" in done.output


def test_where_no_cross_validation_began_none_is_resumed(store: SongStore, tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match=r"no cross-validation\.json"):
        resume_cross_validation(tmp_path, store)


def test_the_encoder_of_a_strange_cross_validation_is_not_run_unasked(store: SongStore, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(OLD / "cross-validation", tmp_path / "cv"))
    config = json.loads((folder / "cross-validation.json").read_text())["config"]
    edit_document(folder / "cross-validation.json", config=config | {"encoder": "nets:small"})
    with pytest.raises(UsageError, match=r"(?s)not run unasked.*`encoder='nets:small'`"):
        resume_cross_validation(folder, store)


def _wait_for(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not there():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.01)


@contextlib.contextmanager
def _sigterm_when(there: Callable[[], bool]) -> Iterator[None]:
    """Send this process SIGTERM as soon as something is so."""
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.01):
            if there():
                os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.long
@pytest.mark.parametrize("command", ["train", "cross-validate"] if LONG else ["train"])
def test_ctrl_c_ends_with_130_and_the_command_that_it_shows_goes_on(
    store: SongStore, tmp_path: Path, command: str
) -> None:
    folder = tmp_path / "a run"
    arguments = [command, store.address, "--label", "label", "-o", str(folder), "--epochs", "2000", "--bag-size", "2"]
    whole = [sys.executable, "-m", "songbag", *arguments, "--encoder", "reference"]
    process = subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    of_run = folder if command == "train" else folder / "fold-1"
    _wait_for((of_run / "history.csv").exists, process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, errors
    assert "stopped; kept in" in output
    line = next(line for line in output.splitlines() if line.startswith("go on with: "))
    epochs = json.loads((of_run / "run.json").read_text())["config"]["epochs"]
    assert f"of {epochs:,} epochs" in output
    # So that it ends: a checkpoint of 2,000 epochs cannot be made shorter, and a second Ctrl-C is as good.
    words = shlex.split(line.removeprefix("go on with: "))[1:]
    refused = songbag_here(*words, "--epochs", "3")
    assert (refused.returncode, "--epochs: is 3, but it was begun with 2000" in refused.stderr) == (2, True)
    before = (of_run / "history.csv").read_text()
    with _sigterm_when(lambda: (of_run / "history.csv").read_text() != before):
        again = songbag_here(*words)
    assert again.returncode == 143, again.stderr
    assert "resuming" in again.stdout
