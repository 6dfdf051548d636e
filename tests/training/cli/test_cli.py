from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_training.cli import commands
from songbag_training.runs.run import Run


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(commands, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_three_commands_work_one_after_the_other(store: SongStore, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--epochs", 1, "--bag-size", 2, "--encoder", "dense", "--seed", 4, "--no-floor")
    options += ("--pooling", "gated-attention", "--class-weight", "balanced", "--label-smoothing", 0.1)
    output = _run("train", store.address, "--label", "label", "-o", run, *options)
    assert "held-out accuracy" in output
    assert "<- predicted" in _run("evaluate", run)
    assert "36 songs predicted: " in _run("predict", run, store.address, "-o", tmp_path / "out.csv")
    assert len(pd.read_csv(tmp_path / "out.csv")) == 36


def test_errors_are_left_to_the_root_command(run: Run, store: SongStore) -> None:
    with pytest.raises(UsageError, match="not empty"):
        _run("train", store.address, "--label", "label", "-o", run.folder)


def test_the_command_line_answers_without_loading_a_network() -> None:
    code = "import sys, songbag_training.cli.train; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorflow", "keras", "numpy", "pyarrow", "sklearn", "pandas"} & set(loaded)


def test_the_command_resumes_with_the_options_of_the_run_and_refuses_others(run: Run, store: SongStore) -> None:
    command = ("train", store.address, "-o", run.folder, "--resume")
    assert "nothing is left to resume" in _run(*command)
    assert "nothing is left to resume" in _run(*command, "--label", "label", "--encoder", "auto")
    with pytest.raises(UsageError, match=r"epochs.*is 3, but 8 epochs are done"):
        _run(*command, "--epochs", 3)
    with pytest.raises(UsageError, match=r"label: is mood, but it was begun with label"):
        _run(*command, "--label", "mood")


@pytest.mark.parametrize("command", ["train", "cross-validate"])
def test_a_new_training_needs_a_label(store: SongStore, tmp_path: Path, command: str) -> None:
    with pytest.raises(UsageError, match="label: is missing"):
        _run(command, store.address, "-o", tmp_path / "new")
    assert not (tmp_path / "new").exists()
