"""Everything that the documentation shows is run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from songbag_store.cli import root as cli
from tests.support.command import songbag
from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.split()[1])
def test_a_python_block_of_the_readme_runs_in_the_demo_folder(demo: Path, tmp_path: Path, code: str) -> None:
    (tmp_path / "block.py").write_text(code)
    for name in ("songs", "store"):
        (tmp_path / name).symlink_to(demo / name)
    done = subprocess.run(
        [sys.executable, "block.py"], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("page", ["export", "prediction", "training"])
def test_the_python_blocks_of_pages_about_runs_run_in_the_demo_folder(demo: Path, tmp_path: Path, page: str) -> None:
    for name in ("songs", "store", "run"):
        (tmp_path / name).symlink_to(demo / name)
    text = (ROOT / "docs" / f"{page}.md").read_text()
    for code in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_the_commands_of_the_readme_run_in_order_and_print_what_it_shows(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "songs").symlink_to(demo / "songs")
    for block in blocks("console"):
        run_console(block, tmp_path)


def run_console(block: str, folder: Path) -> None:
    command, *shown = block.splitlines()
    program, *arguments = shlex.split(command.removeprefix("$ "))
    assert program == "songbag"
    done = songbag(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    for line in shown:
        if line != "..." and not volatile(line):
            assert line in done.stdout, f"{command}: {line}"


def volatile(line: str) -> bool:
    """Tell the lines that time, the machine or the training decides."""
    words = ("x real time", "on disk", "<- predicted")
    is_confusion_row = re.match(r" +\d+ \w+ ", line) is not None
    return is_confusion_row or any(word in line for word in words)


@pytest.mark.parametrize("page", ["models"])
def test_the_blocks_of_a_page_run_one_after_the_other(demo: Path, tmp_path: Path, page: str) -> None:
    """Python and commands in one folder; a block that begins with the name of a file is that file."""
    for name in ("songs", "store"):
        (tmp_path / name).symlink_to(demo / name)
    text = (ROOT / "docs" / f"{page}.md").read_text()
    for kind, block in re.findall(r"^```(python|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if kind == "console":
            run_console(block, tmp_path)
            continue
        file = re.match(r"# (\w+\.py)\n", block)
        name = file[1] if file else "block.py"
        (tmp_path / name).write_text(block)
        done = subprocess.run(
            [sys.executable, name], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == 0, done.stderr


def test_every_command_is_in_the_readme() -> None:
    names = {*cli._add_commands(), *(c.name or c.callback.__name__ for c in cli.app.registered_commands if c.callback)}
    assert names >= {"info", "query", "failures", "extract", "demo", "train", "evaluate", "predict"}
    assert [name for name in names if f"songbag {name}" not in README] == []


def test_the_readme_and_the_decisions_name_only_files_that_exist() -> None:
    texts = [README, *(path.read_text() for path in (ROOT / "docs").rglob("*.md"))]
    named = {name for text in texts for name in re.findall(r"`((?:tests|docs|benchmarks)/[\w./-]+)`", text)}
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
