"""What a run tells of itself while it works."""

from __future__ import annotations

import pyarrow as pa

from songbag_pipeline.run.summary import RunProgress, Summary
from songbag_store.progress import Lines


def test_a_run_counts_its_songs_and_tells_speed_and_failures() -> None:
    lines: list[str] = []
    counts = Summary(n_known=0, n_failed_before=0, n_adopted=0, snapshot=1, n_duplicates=0)
    progress = RunProgress(4, counts, Lines(lines.append), line_every_s=-1.0)
    progress.advance(
        pa.table({"status": ["ok", "failed", "ok"], "n_windows": [3, 0, 2], "duration_s": [9.5, None, 7.0]})
    )
    assert (counts.n_done, counts.n_failed, counts.n_windows, counts.audio_s) == (3, 1, 5, 16.5)
    assert len(lines) == 1
    assert lines[0].startswith("3 of 4 songs, ")
    assert " songs/s, " in lines[0]
    assert " x real time, 1 failed, " in lines[0]
    assert lines[0].endswith(" s left")
