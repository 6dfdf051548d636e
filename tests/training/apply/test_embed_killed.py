"""``kill -9`` of a process that embeds a store: the same command ends as if undisturbed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from songbag_store import SongStore
from songbag_store.progress import Silent
from songbag_store.upkeep.verify import verify
from songbag_training.apply.embed import embed
from songbag_training.runs.run import Run
from tests.support.clusters import kill_tree
from tests.support.command import songbag_here
from tests.support.patience import PATIENCE_S

OWN = ("fragment", "row_start", "run_id", "extracted_at", "feature_sum", "feature_sumsq")
"""What differs from one run to another, or in the last bits."""


def begun(arguments: list[str], sign: Path) -> subprocess.Popen[bytes]:
    """Start the command and return when a file is there."""
    process = subprocess.Popen([sys.executable, "-m", "songbag", *arguments])
    deadline = time.monotonic() + PATIENCE_S
    while not sign.exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


@pytest.mark.fault(43)
def test_a_killed_embed_is_finished_by_the_same_command(
    run: Run, make_store: Any, songs_of_classes: Any, tmp_path: Path
) -> None:
    source = make_store(tmp_path / "store", songs_of_classes({"a": 800, "b": 800}))
    whole = embed(run, source, tmp_path / "whole", songs=tmp_path / "whole.parquet", progress=Silent()).store
    assert whole is not None
    out, vectors = tmp_path / "embedded", tmp_path / "vectors.parquet"
    arguments = ["embed", str(run.folder), source.address, "-o", str(out), "--songs", str(vectors)]
    n_killed = 0
    for delay_s in (0.0, 0.4):
        process = begun(arguments, out / "store.json")
        if delay_s:  # it was there before; TensorFlow is loaded when the process has used some seconds
            while process.poll() is None and sum(psutil.Process(process.pid).cpu_times()[:2]) < 5.0:
                time.sleep(0.01)
        time.sleep(delay_s)
        n_killed += process.poll() is None
        kill_tree(process)
    assert n_killed == 2 or vectors.exists()
    done = songbag_here(*arguments)
    assert done.returncode == 0, done.stderr
    embedded = SongStore.open(out)
    assert verify(embedded, full=True) == []
    one, other = (each.index(arrow=True).drop_columns(list(OWN)).sort_by("song_id") for each in (whole, embedded))
    assert one.equals(other)
    expected, found = dict(whole.iter_windows()), dict(embedded.iter_windows())
    assert expected.keys() == found.keys()
    for song_id, windows in expected.items():
        np.testing.assert_allclose(found[song_id], windows, rtol=1e-4, atol=1e-5)
    tables = (pq.read_table(path).sort_by("song_id") for path in (tmp_path / "whole.parquet", vectors))
    first, second = (np.stack(table["vector"].to_pylist()) for table in tables)
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)
    again = songbag_here(*arguments)
    assert (again.returncode, SongStore.open(out).snapshot) == (0, embedded.snapshot)
