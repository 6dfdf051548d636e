"""Every command says on standard error what it should, and nothing comes after its last line.

The commands that the README shows are compared in `tests/test_docs.py`, which runs them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from songbag_store.cli import root
from tests.support import labelled
from tests.support.clusters import importable
from tests.support.patience import PATIENCE_S
from tests.support.stores import MakeStore

OF_STORES = {
    "relabel STORE labels.csv": (0, ""),
    "remove STORE --where label='folk'": (0, ""),
    "compact STORE": (0, ""),
    "gc STORE": (0, ""),
    "history STORE": (0, ""),
    "diff STORE --from 1": (0, "From snapshot 1 to "),
    "copies STORE": (0, "No song is there more than once."),
    "similar STORE rock/00 -k 2": (0, ""),
    "verify STORE --full": (0, ""),
    "repair STORE": (0, ""),
    "split STORE --label label -o split.parquet": (0, ""),
    "info nowhere": (1, "nowhere: "),
    "query STORE nope": (2, "query: "),
    "failures STORE --snapshot 99": (1, ""),
    "extract nowhere STORE": (2, "nowhere: there is no such folder or file"),
}
OF_RUNS = {
    "train STORE --label label -o RUN --epochs 1 --bag-size 2 --encoder reference": (0, ""),
    "train STORE --label label -o RUN --resume": (0, ""),
    "train STORE --label mood -o new": (2, "label column 'mood': "),
    "cross-validate STORE --label label --folds 2 -o folds --epochs 1 --bag-size 2 --no-floor --encoder reference": (
        0,
        "",
    ),
    "sweep STORE --label label --set pooling=middle -o other": (2, "--set: pooling is 'middle'"),
    "pretrain STORE -o ENCODER --epochs 1 --batch-size 16 --encoder reference": (0, ""),
    "evaluate ENCODER": (2, "run "),
    "train STORE --label label -o FROM --from ENCODER --freeze encoder --epochs 1 --encoder compact": (
        2,
        "--encoder: ",
    ),
    "baseline STORE --label label -o floor": (0, ""),
    "baseline STORE --label mood -o new": (2, "label column 'mood': "),
    "predict floor STORE -o floor.csv": (0, ""),
    "predict floor STORE -o w.csv --windows v.csv": (2, "floor: the run is a baseline"),
    "evaluate RUN": (0, ""),
    "info RUN": (0, ""),
    "runs .": (0, ""),
    "compare RUN folds": (0, ""),
    "compare RUN nowhere": (1, "nowhere: "),
    "review folds -o fix.csv": (0, ""),
    "relabel STORE fix.csv": (0, ""),
    "review RUN STORE -o next.csv": (0, ""),
    "review RUN": (2, "RUN: this is a run"),
    "review nowhere STORE": (1, "nowhere: "),
    "runs nowhere": (1, "nowhere: "),
    "report RUN": (0, ""),
    "report RUN folds -o both.html": (0, ""),
    "report STORE -o page.html": (0, ""),
    "doctor": (0, ""),
    "embed RUN STORE -o embedded --songs vectors.parquet": (0, ""),
    "explain RUN rock/00": (0, ""),
    "explain RUN rock/0": (1, "/"),
    "explain RUN rock/00 -o clip.flac": (1, "/music/rock/00: there is no such file"),
    "explain RUN rock/00 -o clip.doc": (2, "clip.doc: "),
    "evaluate nowhere": (1, "nowhere: "),
    "export RUN --format keras -o model.keras": (0, ""),
    "predict RUN nowhere -o new.csv": (2, "nowhere: "),
}
"""Commands: exit code, and how the message of an error begins after ``songbag: ``, or the line of one that is none."""
ELSEWHERE = {"demo", "extract", "info", "query", "failures", "train", "evaluate", "predict"}


@pytest.mark.fault(115)
@pytest.mark.parametrize("commands", [OF_STORES, OF_RUNS], ids=["stores", "runs"])
def test_a_command_says_its_error_and_nothing_else(
    make_store: MakeStore, tmp_path: Path, commands: dict[str, tuple[int, str]]
) -> None:
    songs = labelled.songs_of_classes({"folk": 12, "jazz": 12, "rock": 12})
    windows = {song["song_id"]: np.rint(song["windows"] * 16) / 16 for song in songs}
    make_store(windows, {"label": [song["label"] for song in songs]}, labelled.SPEC, "STORE")
    (tmp_path / "labels.csv").write_text("song_id,mood\nfolk/00,calm\n")
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.commands_process"],
        cwd=tmp_path,
        env=os.environ | importable(),
        input=json.dumps([line.split() for line in commands]),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for (line, (code, error)), found in zip(commands.items(), json.loads(done.stdout), strict=True):
        assert found[0] == code, (line, found)
        message = found[2]
        if code == 0:
            # One line at most: what goes beside a table that may go to a file.
            assert message.startswith(error), (line, message)
            assert message.count("\n") == bool(error), (line, message)
        else:
            assert message.startswith(f"songbag: {error}"), (line, message)
            # The message, and what to do.
            assert all(one.startswith("  ") for one in message.splitlines()[1:]), (line, message)


def test_every_command_is_compared_here_or_where_the_readme_is_run() -> None:
    here = {line.split()[0] for line in [*OF_STORES, *OF_RUNS]}
    own = {command.name or command.callback.__name__ for command in root.app.registered_commands if command.callback}
    assert {*root._add_commands(), *own} - {"songbag"} <= here | ELSEWHERE
