"""docs/how-to/training/evaluation.md and review.md: their commands, run in order in the folder of the demo."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support.long import LONG
from tests.support.pages import ROOT, arguments, blocks, printed, with_one_network

PAGE = (ROOT / "docs" / "how-to" / "training" / "evaluation.md").read_text()
REVIEW = (ROOT / "docs" / "how-to" / "training" / "review.md").read_text()


@pytest.mark.long
def test_the_commands_of_the_page_run_and_leave_what_it_says(demo: Path, quick_run: Path, tmp_path: Path) -> None:
    """With one network, in the short form."""
    shutil.copytree(demo / "run" if LONG else quick_run, tmp_path / "run")
    shutil.copytree(demo / "store", tmp_path / "store")
    found = [*blocks(PAGE, "console"), *blocks(REVIEW, "console", "python")]
    found = found if LONG else [(kind, with_one_network(block)) for kind, block in found]
    texts = {}
    for (kind, block), text in zip(found, printed(found, tmp_path), strict=True):
        if kind == "python":
            assert "review_p_likely" in text
            continue
        command, *shown = block.splitlines()
        texts[arguments(command)[0], arguments(command)[-1]] = text
        for line in shown:
            if line != "...":
                assert line.split() in [one.split() for one in text.splitlines()], line
    assert "no leak" in texts["split", "split.parquet"]
    assert re.search(r"^pooled +64 ", texts["cross-validate", "folds"], re.MULTILINE)
    assert "all folds together: accuracy" in texts["cross-validate", "folds"]
    assert "surest mistakes" in texts["evaluate", "elsewhere"] or "1.000" in texts["evaluate", "elsewhere"]
    assert {path.name for path in (tmp_path / "folds").iterdir()} == {
        "cross-validation.json",
        "report.html",
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
