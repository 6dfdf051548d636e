"""What a run tells of itself while it works."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from songbag_pipeline import ExtractConfig
from songbag_pipeline.run.coordinator import Coordinator
from songbag_pipeline.run.summary import RunProgress, Summary
from songbag_pipeline.run.tally import Tally
from songbag_pipeline.run.work import Work
from songbag_pipeline.songs.containment import Containment
from songbag_store.progress import Lines, Silent
from songbag_store.storage.location import Location
from tests.support.audio import chirp, write
from tests.support.clusters import SPEC


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


def test_songs_of_batches_that_are_not_done_count_until_their_batch_is_or_begins_again() -> None:
    states: list[str] = []

    class Shown(Silent):
        def advance(self, done: float, state: str, line: str | None = None) -> None:
            states.append(state)

    counts = Summary(n_known=0, n_failed_before=0, n_adopted=0, snapshot=1, n_duplicates=0)
    progress = RunProgress(9, counts, Shown())
    progress.tell(Tally("a", 1, 0, 3.0))
    progress.tell(Tally("b", 2, 1, 9.0))
    progress.tell(Tally("a", 2, 0, 6.0))
    progress.forget("a")
    progress.advance(pa.table({"status": ["ok"] * 3, "n_windows": [1] * 3, "duration_s": [3.0] * 3}))
    assert [state.partition(",")[0] for state in states] == [f"{n} of 9 songs" for n in (1, 3, 4, 5)]
    assert states[-1].endswith("1 failed")
    assert (counts.n_done, counts.n_failed) == (3, 0)


def test_the_bar_moves_with_the_first_song_and_not_with_the_first_batch(
    tmp_path: Path, standing: ExtractConfig
) -> None:
    songs = tmp_path / "songs"
    for name in ("a", "b", "c"):
        write(songs / f"{name}.wav", chirp(2.0))
    seen: list[float] = []

    class Waited(Silent):
        def advance(self, done: float, state: str, line: str | None = None) -> None:
            seen.append(done)
            if done:
                (songs / "go").touch()

    work = Work.of(songs, Location.of(tmp_path / "store").absolute(), SPEC, standing)
    reader = Containment(reader="tests.support.waiting_reader:read_song")
    Coordinator(work, Waited(), containment=reader).execute()
    assert (work.summary.n_stored, work.summary.n_failed) == (3, 0)
    assert seen[:2] == [0, 1]
    assert seen[-1] == 3
