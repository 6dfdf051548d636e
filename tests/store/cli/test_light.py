"""What is loaded for a short look at a store or a run: not the libraries that take longer than the look."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.pages import ROOT
from tests.support.patience import PATIENCE_S

FIXTURE = ROOT / "tests" / "fixtures" / "training-format-1"
HEAVY = (
    "scipy",
    "zarr",
    "numcodecs",
    "obstore",
    "sklearn",
    "tensorflow",
    "keras",
    "dask",
    "distributed",
    "librosa",
    "matplotlib",
)
LIGHT = {
    "looks": (
        ["info store", "info cross-validation/fold-1", "info cross-validation", "history store", "failures store"],
        # Arrow's engines begin threads, and a process that ends at that moment is aborted.
        ["duckdb", "pandas", "pyarrow.dataset", "pyarrow.acero"],
    ),
    "queries": (["query store 'select * from songs'"], ["pandas"]),
    "split": (["split store --label label -o {tmp}/split.parquet"], ["duckdb"]),
}


@pytest.mark.parametrize("name", LIGHT)
def test_a_light_command_loads_no_heavy_library(name: str, tmp_path: object) -> None:
    commands, also = LIGHT[name]
    code = f"""
import shlex, sys
from songbag_store.cli.root import main
for line in {commands!r}:
    sys.argv = ["songbag", *shlex.split(line.format(tmp={str(tmp_path)!r}))]
    try:
        main()
    except SystemExit as end:
        assert end.code == 0, line
print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=FIXTURE, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    heavy = {*HEAVY, *also}
    # Grouping songs takes scipy; nothing of a split takes TensorFlow.
    assert heavy & loaded - ({"scipy", "numcodecs"} if name == "split" else set()) == set()
