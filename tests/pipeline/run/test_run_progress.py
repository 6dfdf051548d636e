"""What a run tells of itself while it works."""

from __future__ import annotations

import pyarrow as pa
import pytest

from songbag_pipeline.run import progress as module
from songbag_pipeline.run.progress import RunProgress
from songbag_store.progress import Lines


def test_a_run_counts_its_songs_and_tells_speed_and_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(module, "_LINE_EVERY_S", -1.0)
    counts = RunProgress(4, Lines(lines.append))
    counts.advance(pa.table({"status": ["ok", "failed", "ok"], "n_windows": [3, 0, 2], "duration_s": [9.5, None, 7.0]}))
    assert (counts.n_done, counts.n_failed, counts.n_windows, counts.audio_s) == (3, 1, 5, 16.5)
    assert len(lines) == 1
    assert lines[0].startswith("3 of 4 songs, ")
    assert " songs/s, " in lines[0]
    assert " x real time, 1 failed, " in lines[0]
    assert lines[0].endswith(" s left")
