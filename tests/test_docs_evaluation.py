"""docs/evaluation.md: its commands, run in order in the folder of the demo."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from tests.support.command import songbag

PAGE = (Path(__file__).parents[1] / "docs" / "evaluation.md").read_text()


def test_the_commands_of_the_page_run_and_leave_what_it_says(demo: Path, tmp_path: Path) -> None:
    shutil.copytree(demo / "run", tmp_path / "run")
    shutil.copytree(demo / "store", tmp_path / "store")
    printed = {}
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        command, *shown = block.splitlines()
        program, *arguments = shlex.split(command.removeprefix("$ "))
        assert program == "songbag"
        done = songbag(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        printed[arguments[0], arguments[-1]] = done.stdout
        for line in shown:
            if line != "...":
                assert line.split() in [one.split() for one in done.stdout.splitlines()], line
    assert "no leak" in printed["split", "split.parquet"]
    assert re.search(r"^pooled +64 ", printed["cross-validate", "folds"], re.MULTILINE)
    assert "surest mistakes" in printed["evaluate", "elsewhere"] or "1.000" in printed["evaluate", "elsewhere"]
    assert {path.name for path in (tmp_path / "folds").iterdir()} == {
        "cross-validation.json",
        "split.parquet",
        "fold-1",
        "fold-2",
        "metrics.json",
        "predictions.parquet",
    }


def test_every_metric_of_the_code_is_in_the_page() -> None:
    from songbag_training.evaluation.metrics import metric_names
    from songbag_training.songs.task import Task

    names = {name for several in (False, True) for name in metric_names(Task(("a", "b"), several))}
    assert len(names) > 8
    assert [name for name in sorted(names) if f"`{name}`" not in PAGE] == []
