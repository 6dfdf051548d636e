"""Everything that the documentation shows is run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from songbag_store.cli import root as cli
from tests.support.audio import chirp, write
from tests.support.command import foreign, songbag
from tests.support.long import LONG
from tests.support.notebook import NOTEBOOK
from tests.support.pages import ROOT, arguments, blocks, demo_sections, printed, with_one_network
from tests.support.patience import PATIENCE_S

README = (ROOT / "README.md").read_text()


@pytest.mark.long
@pytest.mark.parametrize("code", [code for _, code in blocks(README, "python")], ids=lambda code: code.split()[1])
def test_a_python_block_of_the_readme_runs_in_the_demo_folder(demo: Path, tmp_path: Path, code: str) -> None:
    """With a few songs of each genre and, in the short form, a small training."""
    (tmp_path / "block.py").write_text(code if LONG else _short(code))
    (tmp_path / "store").symlink_to(demo / "store")
    for song in demo.glob("songs/*/0[1345]-*"):
        (tmp_path / "songs" / song.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(song, tmp_path / "songs" / song.parent.name)
    done = subprocess.run(
        [sys.executable, "block.py"], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, foreign(done.stderr)) == (0, "")
    assert done.stdout


def test_the_commands_of_the_readme_run_in_order_and_print_what_it_shows(demo: Path, tmp_path: Path) -> None:
    """Most of them are commands of the demo, which has run them."""
    for name in ("songs", "store"):
        shutil.copytree(demo / name, tmp_path / name)
    of_the_demo = demo_sections((demo.parent / "demo.txt").read_text())
    commands = [block.splitlines() for _, block in blocks(README, "console")]
    assert sum(command.removeprefix("$ ") in of_the_demo for command, *_ in commands) > 5
    for command, *shown in commands:
        text = of_the_demo.pop(command.removeprefix("$ "), None)
        if text is None:
            done = songbag(*arguments(command), cwd=tmp_path)
            assert (done.returncode, foreign(done.stderr)) == (0, "")
            text = done.stdout
        lines_are_in(shown, text, command)


def lines_are_in(shown: list[str], text: str, command: str) -> None:
    """Hold that a command printed the lines that a page shows."""
    for line in shown:
        if line != "..." and not volatile(line):
            assert line in text, f"{command}: {line}"


def volatile(line: str) -> bool:
    """Return whether time, the machine or the training decides a line."""
    words = ("x real time", "on disk", "<- predicted")
    is_confusion_row = re.match(r" +\d+ \w+ ", line) is not None
    return is_confusion_row or any(word in line for word in words)


BOTH = ("python", "console")
PAGES: dict[str, dict[str, tuple[str, ...]]] = {
    "use": {
        "reference/models": BOTH,
        "how-to/training/export": ("python",),
        "how-to/training/prediction": ("python",),
        "how-to/training/explain": BOTH,
        "how-to/training/pages": ("console",),
        "how-to/songs/labels": BOTH,
        "how-to/songs/plain-tools": BOTH,
        "how-to/songs/upgrading": BOTH,
        "how-to/songs/segments": ("python",),
    },
    "train": {
        "how-to/training/own-encoder": BOTH,
        "how-to/training/grouped-split": BOTH,
        "how-to/training/resume": BOTH,
        "how-to/training/training": ("python",),
        "how-to/training/embeddings": BOTH,
        "how-to/songs/similar": BOTH,
    },
    "compare": {
        "how-to/training/baseline": BOTH,
        "how-to/training/many-trainings": BOTH,
        "how-to/training/warm-start": BOTH,
        "reference/command-line": ("console",),
    },
}
"""Pages whose blocks run one after the other in one folder, by what they do, and the kinds of blocks that are run."""


@pytest.mark.long
@pytest.mark.parametrize("kinds", PAGES.values(), ids=PAGES)
def test_the_blocks_of_pages_run_one_after_the_other_in_the_demo_folder(
    demo: Path, quick_run: Path, tmp_path: Path, kinds: dict[str, tuple[str, ...]]
) -> None:
    """The commands of some pages are those of the demo. In the short form networks are few and small."""
    made = {"songs": demo / "songs", "store": demo / "store", "run": demo / "run" if LONG else quick_run}
    for name, folder in made.items():
        (tmp_path / name).symlink_to(folder)
    pages = [blocks((ROOT / "docs" / f"{name}.md").read_text(), *kind) for name, kind in kinds.items()]
    assert all(pages)
    found = [(kind, block if LONG else _short(block)) for page in pages for kind, block in page]
    for (kind, block), text in zip(found, printed(found, tmp_path), strict=True):
        if kind == "console":
            command, *shown = block.splitlines()
            lines_are_in([line for line in shown if not line.startswith("$ ")], text, command)
        elif re.search(r"^ *print\(", block, re.MULTILINE):
            assert text


def _short(block: str) -> str:
    """Return a block whose trainings have one network, small bags and no baseline; no page tells of these."""
    begun = r"^(\$ songbag (?:train|sweep))(?= )(?!.* --resume\b)(?=.* --label )"
    block = re.sub(begun, r"\1 --no-floor", block, flags=re.MULTILINE)
    block = re.sub(rf"{begun}(?!.* --bag-size )", r"\1 --bag-size 2", block, flags=re.MULTILINE)
    block = block.replace("songbag.TrainConfig(", "songbag.TrainConfig(no_floor=True, bag_size=2, ")
    return with_one_network(block)


def test_every_command_is_in_the_readme() -> None:
    names = {*cli._add_commands(), *(c.name or c.callback.__name__ for c in cli.app.registered_commands if c.callback)}
    assert names >= {"info", "query", "failures", "extract", "demo", "train", "evaluate", "predict"}
    assert [name for name in names if f"songbag {name}" not in README] == []


def test_the_readme_the_changelog_and_the_decisions_name_only_files_that_exist() -> None:
    texts = [README, *(path.read_text() for path in (ROOT / "docs").rglob("*.md"))]
    named = {name for text in texts for name in re.findall(r"`((?:tests|docs|benchmarks)/[\w./-]+)`", text)}
    # The changelog names files without quotes.
    changes = set(re.findall(r"\b(?:tests|docs|benchmarks)/[\w/-]+\.\w+", (ROOT / "CHANGELOG.md").read_text()))
    assert named
    assert changes
    assert [name for name in named | changes if not (ROOT / name).exists()] == []


TUTORIAL = (ROOT / "docs" / "tutorial" / "own-music.md").read_text()


@pytest.fixture
def own_music(tmp_path: Path) -> Path:
    """A folder with the table of the tutorial, and recordings in its places: tones and noise."""
    ((_, table),) = blocks(TUTORIAL, "csv")
    (tmp_path / "labels.csv").write_text(table)
    for number, line in enumerate(table.splitlines()[1:]):
        name, kind, _ = line.split(",")
        samples = chirp(6.0, seed=number)
        write(
            tmp_path / name, samples if kind == "music" else np.random.default_rng(number).normal(0, 0.1, samples.shape)
        )
    return tmp_path


@pytest.mark.long
def test_the_tutorial_is_followed_word_by_word(own_music: Path) -> None:
    """The short form has one network, epoch and worker, and no cross-validation: the page of evaluation runs one."""
    typed = blocks(TUTORIAL, "console")
    if not LONG:
        typed = [(kind, block) for kind, block in typed if not block.startswith("$ songbag cross-validate")]
    quick = [(kind, _short(block.replace("--epochs 20", "--epochs 1"))) for kind, block in typed]
    quick[0] = ("console", quick[0][1].replace("my-store\n", "my-store --workers 1\n", 1))
    for (_, block), text in zip(typed, printed(typed if LONG else quick, own_music), strict=True):
        command, *shown = block.splitlines()
        lines_are_in(shown, text, command)
    assert len((own_music / "predictions.csv").read_text().splitlines()) == 11


def test_the_notebook_runs_and_holds_what_it_shows(demo: Path, tmp_path: Path) -> None:
    """With one network and one epoch; `python -m tests.support.notebook` runs all of it."""
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} >= {"execute_result", "display_data"}
    assert "error" not in {output["output_type"] for output in outputs}
    (tmp_path / "store").symlink_to(demo / "store")
    code = "\n".join("".join(cell["source"]) for cell in cells).replace("epochs=10", "epochs=1")
    code = with_one_network(code)
    printed([("python", f"import matplotlib\nmatplotlib.use('agg')\n{code}")], tmp_path)
    assert (tmp_path / "notebook-run" / "predictions.parquet").is_file()
