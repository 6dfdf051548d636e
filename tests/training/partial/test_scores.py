"""Evaluations that were ended before they were finished, and evaluations of many songs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.progress import Lines, Silent
from songbag_store.storage.location import Location
from songbag_training import evaluate
from songbag_training.evaluation import metrics
from songbag_training.evaluation.intervals import class_intervals, song_intervals
from songbag_training.evaluation.metrics import confident_mistakes, song_metrics
from songbag_training.fit.baselines.baseline import baseline
from songbag_training.partial import scores
from songbag_training.runs.run import Run
from songbag_training.songs.task import Task
from tests.support.documents import edit_document
from tests.support.once import made_once

ROOT = Path(__file__).parents[3]
RESULTS = ("metrics.json", "predictions.parquet", "windows.parquet", "confusion.png")
KILLED = """
import os, signal, sys
from songbag_store.progress import Silent
from songbag_training import evaluate
from songbag_training.fit.baselines.baseline import baseline
from songbag_training.partial import scores

class Killed(Silent):
    def advance(self, done, state, line=None):
        if done == 8:
            os.kill(os.getpid(), signal.SIGKILL)

scores.SONGS_AT_ONCE = 4
evaluate(*sys.argv[1:], progress=Killed())
"""


class _Died(BaseException):
    """Stands for the end of a process."""


class _Dying(Silent):
    def advance(self, done: float, state: str, line: str | None = None) -> None:
        if done == 12:
            raise _Died


def test_an_evaluation_that_was_ended_goes_on_and_ends_as_if_undisturbed(
    run: Run, store: SongStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the songs of the split, in the run folder; and by all labelled songs, elsewhere."""
    monkeypatch.setattr(scores, "SONGS_AT_ONCE", 4)
    scorer = run.load_scorer()  # once for all
    monkeypatch.setattr(Run, "load_scorer", lambda _: scorer)
    copy = Run.open(shutil.copytree(run.folder, tmp_path / "run"))
    with pytest.raises(_Died):
        evaluate(copy, progress=_Dying())
    kept = copy.folder / "evaluation.partial"
    assert len(list(kept.glob("*.parquet"))) == 2 * 3
    lines: list[str] = []
    result = evaluate(copy, progress=Lines(lines.append))
    assert "12 songs were scored before" in lines
    # In parts of the same songs: on some processors songs that are scored in other company differ in the last digits.
    undisturbed = Run.open(shutil.copytree(run.folder, tmp_path / "undisturbed"))
    assert result.metrics == evaluate(undisturbed, progress=Silent()).metrics
    for name in RESULTS[1:3]:
        assert pq.read_table(copy.folder / name).equals(pq.read_table(undisturbed.folder / name)), name
    shutil.rmtree(undisturbed.folder)
    assert not kept.exists()
    output = tmp_path / "out"
    with pytest.raises(_Died):
        evaluate(copy, store, output, progress=_Dying())
    with pytest.raises(UsageError, match="is not finished"):
        evaluate(copy, Location(store.address, snapshot=1), output, progress=Silent())
    with pytest.raises(UsageError, match=r"another evaluation is not finished there \(run"):
        evaluate(_other(run, tmp_path / "other"), store.address, output, progress=Silent())
    lines.clear()
    whole = evaluate(copy, store.address, output, progress=Lines(lines.append))
    assert "12 songs were scored before" in lines
    assert whole.metrics["all"]["song"]["n"] == 36
    assert sorted(path.name for path in output.iterdir()) == sorted(RESULTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out", "run"]


def _other(run: Run, folder: Path) -> Run:
    """Return the run as another one."""
    shutil.copytree(run.folder, folder)
    edit_document(folder / "run.json", run_id="f" * 32)
    return Run.open(folder)


def test_a_killed_evaluation_of_a_baseline_goes_on(
    store: SongStore, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def make(folder: Path) -> None:
        baseline(store, "label", folder, progress=Silent())

    floor = made_once(tmp_path_factory, "floor-of-classes", make)
    arguments = [str(floor), store.address, str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=ROOT, check=False)
    assert done.returncode == -9
    assert list((tmp_path / "out").iterdir()) == []
    lines: list[str] = []
    result = evaluate(*arguments, progress=Lines(lines.append))
    assert "8 songs were scored before" in lines
    assert result.metrics == evaluate(floor, store, tmp_path / "whole", progress=Silent()).metrics
    assert {path.name for path in tmp_path.iterdir()} == {"out", "whole"}


@pytest.mark.parametrize("several", [False, True])
def test_metrics_are_the_same_in_pieces_and_need_a_few_bytes_a_song_and_class(
    several: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of probabilities that lie on disk."""
    n, n_classes, rng = 4_000, 16, np.random.default_rng(0)
    task = Task(tuple(f"c{number}" for number in range(n_classes)), several)
    values = rng.random((n, n_classes))
    if several:
        true = (rng.random((n, n_classes)) < values * 0.3).astype(np.float32)
    else:
        values /= values.sum(axis=1, keepdims=True)
        true = rng.integers(0, n_classes, n)
    ids, units = [str(number) for number in range(n)], np.arange(n)
    expected = song_metrics(task, true, values), confident_mistakes(task, ids, true, values)
    ends = song_intervals(task, true, values, units).ends
    rows = np.flatnonzero(rng.random(n) < 0.5)
    of_rows = song_metrics(task, true[rows], values[rows])
    monkeypatch.setattr(metrics, "PIECE_VALUES", 2**12)
    monkeypatch.setattr(metrics, "MOST_BYTES", 2**16)
    on_disk = metrics.room(n, n_classes, tmp_path)
    assert isinstance(on_disk, np.memmap)
    on_disk[:] = values
    del values
    tracemalloc.start()
    found = song_metrics(task, true, on_disk), confident_mistakes(task, ids, true, on_disk)
    intervals = song_intervals(task, true, on_disk, units)
    class_intervals(task, true, on_disk, units)
    half = song_metrics(task, true, on_disk, rows=rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(metrics.taken(on_disk, rows.tolist(), tmp_path), on_disk[rows])
    assert found[0] == pytest.approx(expected[0])
    assert found[1] == expected[1]
    assert half == pytest.approx(of_rows)
    for name, own in ends.items():
        assert intervals.ends[name] == pytest.approx(own), name
    # Whether a song is of each class, and said to be, and whether that is wrong; and numbers of each song and label.
    assert peak < 4 * n * n_classes + 150 * (n + len(task.pairs(task.labels(task.members(true)).to_pylist())[0]))
    assert peak < n * n_classes * 8 * 2
    assert list(tmp_path.iterdir()) == []
