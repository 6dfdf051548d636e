"""Runs on a real Dask cluster: worker processes, TCP, real files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest

from songbag_pipeline import ExtractConfig, Summary, extract, read_audio, window_features
from songbag_pipeline.errors import SongsChanged, TooManyFailures
from songbag_pipeline.run import batch as batches
from songbag_pipeline.songs.containment import Containment
from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import SpecMismatch
from songbag_store.progress import Silent
from songbag_store.upkeep.difference import diff
from songbag_store.writer import commit_parts, open_for_writing
from tests.support.audio import chirp, write
from tests.support.clusters import extract_inside
from tests.support.command import foreign
from tests.support.long import LONG
from tests.support.patience import PATIENCE_S

SPEC = FeatureSpec(window_s=0.5, n_mels=40)
Run = Callable[..., Summary]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six good songs in two folders, and two broken ones."""
    for genre, seed in (("high", 1), ("low", 2)):
        for number in range(3):
            suffix = ("wav", "flac", "mp3")[number]
            write(tmp_path / "songs" / genre / f"{number}.{suffix}", chirp(1.0 + number, seed=10 * seed + number))
    (tmp_path / "songs" / "low" / "empty.mp3").write_bytes(b"")
    (tmp_path / "songs" / "low" / "text.wav").write_text("no audio at all")
    return tmp_path / "songs"


@pytest.fixture
def run(standing_cluster: Path) -> Run:
    """Extract on two workers that stay from test to test."""

    def run(source: Path, store: Path, spec: FeatureSpec | None = SPEC, **options: Any) -> Summary:
        config = ExtractConfig(scheduler_file=standing_cluster, **options)
        return extract(source, store, spec, config, progress=Silent())

    return run


def test_good_songs_are_stored_and_bad_ones_are_rows_with_their_reason(folder: Path, tmp_path: Path, run: Run) -> None:
    summary = run(folder, tmp_path / "store", label_from_folder=True)
    assert (summary.n_stored, summary.n_failed, summary.snapshot) == (6, 2, 1)
    store = SongStore.open(tmp_path / "store")
    assert store.sql("select label, count(*) n from songs group by 1 order by 1").to_dict("list") == {
        "label": ["high", "low"],
        "n": [3, 3],
    }
    reasons = store.sql("select song_id, error_code from failures order by 1").to_dict("list")
    assert reasons == {"song_id": ["low/empty.mp3", "low/text.wav"], "error_code": ["empty-file", "not-audio"]}
    assert store.windows("high/2.mp3").shape == (11, 13, 22)


def test_the_same_songs_give_the_same_bytes_with_any_number_of_workers(folder: Path, tmp_path: Path, run: Run) -> None:
    run(folder, tmp_path / "one")
    extract(folder, tmp_path / "two", SPEC, ExtractConfig(workers=1), progress=Silent())
    one, two = (dict(SongStore.open(tmp_path / name).iter_windows()) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for song_id, windows in one.items():
        np.testing.assert_array_equal(windows, two[song_id])


def test_the_batch_a_song_is_in_changes_no_bit_of_it(folder: Path, tmp_path: Path) -> None:
    from songbag_pipeline.run.plan import Plan
    from songbag_pipeline.sources.source import read_source

    def windows(name: str, batch_songs: int) -> tuple[dict[str, bytes], list[object]]:
        store = open_for_writing(tmp_path / name, SPEC)
        todo = Plan.of(read_source(folder), store.inside.state.content).todo
        job = batches.Job(store.location, store.uuid, SPEC, name)
        for start in range(0, todo.num_rows, batch_songs):
            store = commit_parts(store, batches.run_batch(job, todo.slice(start, batch_songs)))
        sums = store.index(arrow=True).sort_by("song_id").select(["song_id", "feature_sum", "feature_sumsq"])
        return {song_id: found.tobytes() for song_id, found in store.iter_windows()}, sums.to_pylist()

    alone = windows("alone", 1)
    assert len(alone[0]) == 6
    assert windows("by three", 3) == alone
    assert windows("together", 100) == alone


def test_a_batch_that_becomes_far_larger_than_expected_makes_several_fragments(folder: Path, tmp_path: Path) -> None:
    from songbag_pipeline.run.plan import Plan
    from songbag_pipeline.sources.source import read_source

    store = open_for_writing(tmp_path / "store", SPEC)
    todo = Plan.of(read_source(folder), store.inside.state.content).todo
    job = batches.Job(store.location, store.uuid, SPEC, "run", fragment_bytes=8 * SPEC.window_bytes)
    rows = batches.run_batch(job, todo)
    windows = [sum(part["n_windows"].to_pylist()) for part in rows.values()]
    assert len(windows) > 2
    assert max(windows) < 8 + 11
    store = commit_parts(store, rows)
    assert store.index(arrow=True)["song_id"].to_pylist() == todo["song_id"].to_pylist()
    assert store.windows("low/2.mp3").shape == (11, 13, 22)


def test_a_second_run_does_only_what_is_new(folder: Path, tmp_path: Path, run: Run) -> None:
    run(folder, tmp_path / "store")
    again = run(folder, tmp_path / "store", None)
    assert (again.n_stored, again.n_known, again.n_failed_before, again.snapshot) == (0, 6, 2, 1)
    write(folder / "new.wav", chirp(1.0))
    write(folder / "low" / "empty.mp3", chirp(1.0))
    third = run(folder, tmp_path / "store", None)
    assert (third.n_stored, third.n_known, third.n_failed_before) == (2, 6, 1)
    assert run(folder, tmp_path / "store", None, retry_failed=True).n_failed == 1
    assert SongStore.open(tmp_path / "store").index(arrow=True).num_rows == 9


@pytest.mark.fault(37)
def test_a_changed_song_stops_the_run_before_any_work_unless_it_is_to_be_updated(
    folder: Path, tmp_path: Path, run: Run
) -> None:
    run(folder, tmp_path / "store")
    before = SongStore.open(tmp_path / "store")
    write(folder / "low" / "0.wav", chirp(4.0, seed=9))
    write(folder / "new.wav", chirp(1.0))
    with pytest.raises(SongsChanged, match=r"low/0\.wav"):
        run(folder, tmp_path / "store")
    assert before.at().snapshot == 1
    assert run(folder, tmp_path / "store", update_changed=True).n_stored == 2
    now = before.at()
    assert len(now.windows("low/0.wav")) == 15
    assert len(SongStore.open(tmp_path / "store", snapshot=1).windows("low/0.wav")) == 3
    assert now.index(arrow=True).num_rows == 9
    digests = [one.songs(ids=["low/0.wav"], arrow=True)["content_sha256"][0].as_py() for one in (before, now)]
    assert [tuple(row.values()) for row in diff(now, 1, arrow=True).to_pylist()] == [
        ("added", "new.wav", None, None, None),
        ("computed anew", "low/0.wav", "content_sha256", *digests),
    ]


def test_a_limit_takes_the_first_and_the_next_run_goes_on(folder: Path, tmp_path: Path, run: Run) -> None:
    assert run(folder, tmp_path / "store", limit=3).n_stored == 3
    assert run(folder, tmp_path / "store").n_known == 3


def test_another_spec_is_refused_for_a_store_that_exists(folder: Path, tmp_path: Path, run: Run) -> None:
    run(folder, tmp_path / "store")
    with pytest.raises(SpecMismatch, match="n_mfcc"):
        run(folder, tmp_path / "store", FeatureSpec(window_s=0.5, n_mels=40, n_mfcc=20))


def test_features_that_librosa_computes_are_stored_by_the_workers(folder: Path, tmp_path: Path, run: Run) -> None:
    spec = FeatureSpec(kind="chroma", window_s=0.5)
    assert run(folder, tmp_path / "store", spec).n_stored == 6
    store = SongStore.open(tmp_path / "store")
    samples = read_audio(str(folder / "high" / "0.wav"))
    np.testing.assert_array_equal(store.windows("high/0.wav"), window_features(samples, spec))
    with pytest.raises(SpecMismatch, match="kind"):
        run(folder, tmp_path / "store", FeatureSpec(kind="contrast", window_s=0.5))


@pytest.mark.fault(43)
def test_a_finished_part_that_nobody_committed_is_taken_over(folder: Path, tmp_path: Path, run: Run) -> None:
    store = open_for_writing(tmp_path / "store", SPEC)
    from songbag_pipeline.run.plan import Plan
    from songbag_pipeline.sources.source import read_source

    songs = Plan.of(read_source(folder), store.inside.state.content).todo
    batches.run_batch(batches.Job(store.location, store.uuid, SPEC, "killed run"), songs.slice(0, 4))
    summary = run(folder, tmp_path / "store")
    assert (summary.n_adopted, summary.n_stored + summary.n_failed) == (4, 4)
    assert store.at().index(arrow=True)["song_id"].to_pylist().count("high/0.wav") == 1


@pytest.mark.long
@pytest.mark.fault(44)
def test_a_song_that_kills_its_worker_fails_alone(folder: Path, tmp_path: Path, run: Run) -> None:
    for path in (*folder.glob("low/*"), *folder.glob("high/[12].*")):
        path.unlink()
    poison = write(folder / "high" / "poison.wav", chirp(1.0))
    # Dask tries four workers before it gives a batch up; here one death is enough.
    with dask.config.set({"distributed.scheduler.allowed-failures": 3 if LONG else 0}):
        config = ExtractConfig(workers=2 if LONG else 1)
        summary = extract_inside(folder, tmp_path / "store", config, task=_KillsOn(str(poison)))
    assert (summary.n_stored, summary.n_failed) == (1, 1)
    failed = SongStore.open(tmp_path / "store").sql("select song_id, error_code from failures")
    assert failed.values.tolist() == [["high/poison.wav", "decoder-crash"]]
    assert run(folder, tmp_path / "store").n_failed_before == 1


@pytest.mark.fault(27)
def test_songs_that_crash_hang_or_exhaust_the_decoder_fail_alone_and_at_once(
    folder: Path, tmp_path: Path, run: Run
) -> None:
    codes = {"segfault": "decoder-crash", "loop": "decoder-hang", "allocate": "out-of-memory"}
    for fault in codes:
        write(folder / "high" / f"{fault}-x.wav", chirp(1.0))
    (folder / "high" / "loop-x.wav").write_bytes(b"")
    # A second for a file without bytes, hours for any other.
    faulty = Containment(reader="tests.support.decoder_faults:read", patience_s=1.0, slowest_bytes_per_s=1.0)
    summary = extract_inside(folder, tmp_path / "store", ExtractConfig(workers=2), containment=faulty)
    assert (summary.n_stored, summary.n_failed) == (6, 5)
    store = SongStore.open(tmp_path / "store")
    failed = store.sql("select song_id, error_code from failures where song_id like 'high/%'")
    assert dict(zip(failed["song_id"], failed["error_code"], strict=True)) == {
        f"high/{fault}-x.wav": code for fault, code in codes.items()
    }
    assert store.windows("high/2.mp3").shape == (11, 13, 22)
    assert run(folder, tmp_path / "store").n_failed_before == 5


class _KillsOn:
    """Does a batch as always, but dies as a native crash would if one song is in it."""

    def __init__(self, poison: str) -> None:
        self.poison = poison

    def __call__(self, job: batches.Job, songs: object) -> object:
        if self.poison in songs["path"].to_pylist():  # type: ignore[index]
            os.kill(os.getpid(), signal.SIGKILL)
        return batches.run_batch(job, songs)


def test_too_many_failures_end_the_run_with_everything_finished_committed(
    folder: Path, tmp_path: Path, run: Run
) -> None:
    with pytest.raises(TooManyFailures, match=r"(1 song|2 songs) failed, more than the 0 allowed; \d+ of 8 songs done"):
        run(folder, tmp_path / "store", max_failed=0)
    assert SongStore.open(tmp_path / "store").index(arrow=True).num_rows > 0
    run(folder, tmp_path / "store", max_failed=2)
    assert SongStore.open(tmp_path / "store").index(arrow=True).num_rows == 8


@pytest.mark.fault(32)
def test_recordings_that_are_the_same_byte_for_byte_are_counted(folder: Path, tmp_path: Path, run: Run) -> None:
    shutil.copy(folder / "high" / "0.wav", folder / "low" / "copy.wav")
    assert run(folder, tmp_path / "store").n_duplicates == 1


def start(source: Path, store: Path, workers: int = 1) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "songbag", "extract", str(source), str(store), "--workers", str(workers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for_parts(store: Path, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while len(list((store / "parts").glob("*.parquet"))) < count:
        assert time.monotonic() < deadline, "no part was written in time"
        time.sleep(0.01)


def whole(store: Path, source: Path, run: Run) -> None:
    """Hold that every song is there once, bit for bit as an undisturbed run makes it."""
    run(source, store.parent / "undisturbed", None)
    expected = dict(SongStore.open(store.parent / "undisturbed").iter_windows())
    found = SongStore.open(store)
    assert sorted(found.index(arrow=True)["song_id"].to_pylist()) == sorted(expected)
    for song_id, windows in found.iter_windows():
        np.testing.assert_array_equal(windows, expected[song_id])


@pytest.mark.fault(40, 43)
def test_after_kill_9_in_the_middle_the_same_command_finishes_with_no_song_twice_and_none_lost(
    slow_songs: Path, tmp_path: Path, run: Run
) -> None:
    process = start(slow_songs, tmp_path / "store", workers=2)
    wait_for_parts(tmp_path / "store", 2)
    process.kill()
    process.communicate()
    again = start(slow_songs, tmp_path / "store")
    out, err = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 0, err
    assert "taken over from an earlier run" in out
    whole(tmp_path / "store", slow_songs, run)


@pytest.mark.fault(47)
@pytest.mark.parametrize(("number", "to_group"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_a_signal_commits_what_is_finished_and_says_how_to_go_on(
    slow_songs: Path, tmp_path: Path, run: Run, number: signal.Signals, to_group: bool
) -> None:
    process = start(slow_songs, tmp_path / "store")
    wait_for_parts(tmp_path / "store", 2)
    (os.killpg if to_group else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + number
    answer, last = err.partition("once more ends it at once")[::2]
    assert answer.endswith(("stopping while songs are computed; ", " songs are committed; ", " song is committed; "))
    assert "done and committed" in last
    assert "Traceback" not in err
    assert 0 < SongStore.open(tmp_path / "store").index(arrow=True).num_rows < 24
    run(slow_songs, tmp_path / "store", None)
    assert SongStore.open(tmp_path / "store").index(arrow=True).num_rows == 24


def test_a_file_named_as_a_module_of_python_where_the_run_is_started_harms_nothing(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "random.py").write_text("raise RuntimeError('not the module you meant')")
    # As the installed command: the present folder is not on its path.
    code = "import sys; sys.path.remove(''); from songbag_store.cli.root import main; main()"
    command = [sys.executable, "-c", code, "extract", str(folder), "store", "--workers", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    assert "6 songs stored, 2 failed" in done.stdout


@pytest.mark.fault(113)
@pytest.mark.parametrize("how", ["script", "stdin"])
def test_extract_needs_no_main_guard_however_python_runs_it(folder: Path, tmp_path: Path, how: str) -> None:
    """And one process may extract twice, also in a thread; Dask keeps its settings; nothing is left behind."""
    code = f"""
import sys, threading
from songbag_pipeline import ExtractConfig, extract
print("run")
config = ExtractConfig(workers=1, limit=1)
def in_a_thread():
    print(extract({str(folder)!r}, {str(tmp_path / "a")!r}, config=config).n_done)
thread = threading.Thread(target=in_a_thread)
thread.start()
thread.join()
if {how == "script"}:
    print(extract({str(folder)!r}, {str(tmp_path / "b")!r}, config=config).n_done)
import dask, psutil, tempfile
assert dask.config.get("distributed.comm.timeouts.connect")
assert psutil.Process().children() == []
"""
    (tmp_path / "work.py").write_text(code)
    (tmp_path / "temporary").mkdir()
    done = subprocess.run(
        [sys.executable, str(tmp_path / "work.py") if how == "script" else "-"],
        input=code,
        env=os.environ | {"TMPDIR": str(tmp_path / "temporary")},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, foreign(done.stderr)) == (0, "")
    assert done.stdout.split() == ["run", *["1"] * (2 if how == "script" else 1)]
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.fault(47)
def test_the_second_signal_ends_the_run_at_once(slow_songs: Path, tmp_path: Path) -> None:
    process = start(slow_songs, tmp_path / "store")
    wait_for_parts(tmp_path / "store", 1)
    # Two signals that come at the same moment are one.
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "done and committed" not in err
