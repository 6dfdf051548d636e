from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from songbag_pipeline.run.summary import Summary
from songbag_store import SongStore
from tests.support.audio import chirp, write
from tests.support.command import songbag, songbag_here

Extract = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def extract(standing_cluster: Path) -> Extract:
    """Run the command in this process, on two workers that stay from test to test."""
    return partial(songbag_here, "extract", "--scheduler-file", standing_cluster)


def test_options_decide_the_spec_and_a_later_run_takes_it_from_the_store(tmp_path: Path, extract: Extract) -> None:
    write(tmp_path / "songs" / "rock" / "x.wav", chirp(3.0))
    options = "--window 1 --window-hop 0.5 --features logmel+delta --n-mels 32 --encoding float32 --label-from-folder"
    done = extract(tmp_path / "songs", tmp_path / "store", *options.split())
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("1 song stored, 0 failed; snapshot 1")
    spec = SongStore.open(tmp_path / "store").spec
    assert (spec.kind, spec.deltas, spec.n_mels, spec.window_s, spec.encoding) == ("logmel", 1, 32, 1.0, "float32")
    again = extract(tmp_path / "songs", tmp_path / "store", "--label-from-folder")
    assert again.returncode == 0
    assert "Nothing is new" in again.stdout


def test_failures_are_counted_in_the_last_line_and_explained_by_a_command(tmp_path: Path) -> None:
    write(tmp_path / "songs" / "x.wav", chirp(6.0))
    (tmp_path / "songs" / "bad.mp3").write_bytes(b"")
    done = songbag("extract", tmp_path / "songs", tmp_path / "my store")
    assert done.returncode == 0
    assert "1 song stored, 1 failed" in done.stdout.splitlines()[-1]
    asked = shlex.split(done.stdout.splitlines()[-1].partition("songbag ")[2])
    told = songbag_here(*asked).stdout
    assert "empty-file (1): The file has no bytes" in told
    assert "bad.mp3: the file is empty" in told


@pytest.mark.fault(95, 98)
def test_a_run_that_stores_nothing_ends_with_1_and_notes_come_before_the_work(tmp_path: Path, extract: Extract) -> None:
    songs, store = tmp_path / "songs", tmp_path / "store"
    songs.mkdir()
    (songs / "bad.mp3").write_bytes(b"no audio")
    (songs / ".hidden.mp3").write_bytes(b"no audio")
    (songs / "x.wav").write_bytes(b"")
    done = extract(songs, store, "--exclude", "*.wav", "--exclude", "y")
    assert (done.returncode, done.stdout.splitlines()[-1][:34]) == (1, "0 songs stored, 1 failed; snapshot")
    first, second, third, *_ = done.stderr.splitlines()
    assert first == "note: hidden, trash, version and system entries left out: 1 (.hidden.mp3); --hidden takes them"
    assert second == "note: entries that --exclude names left out: 1 (x.wav)"
    assert third == "note: the pattern 'y' of --exclude names nothing in the source"
    nowhere = tmp_path / "nowhere.csv"
    nowhere.write_text("path\nelsewhere/a.mp3\n")
    missing = songbag_here("extract", nowhere, tmp_path / "other")
    assert (missing.returncode, f"start in {tmp_path}," in missing.stderr) == (1, True)
    assert not (tmp_path / "other").exists()


@pytest.mark.fault(98)
@pytest.mark.parametrize(
    ("counts", "nothing"),
    [
        ({"n_known": 0, "n_failed": 5}, True),
        ({"n_known": 0, "n_failed_before": 5}, True),
        ({"n_known": 9, "n_failed": 5}, True),
        ({"n_known": 9, "n_failed": 5, "n_again": 4}, True),
        ({"n_known": 9, "n_failed": 5, "n_again": 5}, False),
        ({"n_known": 9, "n_failed_before": 5}, False),
        ({"n_known": 0, "n_failed": 5, "n_stored": 1}, False),
    ],
)
def test_nothing_could_be_stored_if_all_new_songs_failed_or_the_store_has_none(
    counts: dict[str, int], nothing: bool
) -> None:
    all_counts = {"n_failed_before": 0, "n_adopted": 0, "snapshot": 1, "n_duplicates": 0} | counts
    assert Summary(**all_counts).nothing_stored is nothing


@pytest.mark.fault(35, 96, 97)
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere", "no such folder"),
        ("empty", "no song"),
        ("twice.csv", "'x' stands twice, in lines 2 and 3"),
        ("list.m3u8", "it is a playlist"),
        ("links", "--follow-links follows them"),
    ],
)
def test_a_source_that_cannot_be_used_is_wrong_usage_and_makes_no_store(tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "twice.csv").write_text("path,song_id\na.mp3,x\nb.mp3,x\n")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\na.mp3\n")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.mp3").symlink_to(tmp_path / "twice.csv")
    done = songbag_here("extract", tmp_path / source, tmp_path / "store")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store").exists()


def test_a_store_below_a_file_is_refused_with_the_file(tmp_path: Path) -> None:
    song = write(tmp_path / "songs" / "x.wav", chirp(6.0))
    done = songbag_here("extract", tmp_path / "songs", song / "deep" / "store")
    assert done.returncode == 1
    assert f"{song}: this is a file, and a folder is needed here" in done.stderr


def test_a_limit_changed_songs_and_too_many_failures_each_do_what_their_option_says(
    tmp_path: Path, extract: Extract
) -> None:
    songs, store = tmp_path / "songs", tmp_path / "store"
    write(songs / "x.wav", chirp(6.0))
    write(songs / "y.wav", chirp(6.0))
    (songs / "bad.mp3").write_bytes(b"")
    limited = extract(songs, store, "--limit", "2")
    assert "1 song stored, 1 failed" in limited.stdout
    write(songs / "x.wav", chirp(8.0))
    refused = extract(songs, store)
    assert (refused.returncode, "'x.wav'" in refused.stderr, "--update-changed" in refused.stderr) == (1, True, True)
    options = ("--update-changed", "--retry-failed")
    failed = extract(songs, store, *options, "--max-failed", "0")
    assert (failed.returncode, "1 song failed, more than the 0 allowed" in failed.stderr) == (1, True)
    last = extract(songs, store, *options)
    assert last.returncode == 0, last.stderr
    assert len(SongStore.open(store).windows("x.wav")) == 2
    assert SongStore.open(store).index(arrow=True).num_rows == 3


def test_a_spec_that_cannot_be_is_wrong_usage(tmp_path: Path) -> None:
    write(tmp_path / "songs" / "x.wav", chirp(6.0))
    done = songbag_here("extract", tmp_path / "songs", tmp_path / "store", "--n-mels", "2000")
    assert (done.returncode, "--n-mels: is 2000" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("features", "option", "value", "kind"),
    [
        ("tests.support.extractors:levels", "--n-mfcc", "20", "tests.support.extractors:levels"),
        ("tests.support.extractors:levels", "--n-mels", "128", "tests.support.extractors:levels"),
        ("tests.support.extractors:levels", "--n-fft", "2048", "tests.support.extractors:levels"),
        ("tests.support.extractors:levels", "--hop-length", "256", "tests.support.extractors:levels"),
        ("chroma+tempogram", "--n-mfcc", "13", "chroma+tempogram"),
        ("contrast", "--n-mels", "64", "contrast"),
        ("logmel+delta", "--n-mfcc", "20", "logmel"),
    ],
)
def test_an_option_of_other_features_is_not_left_out_in_silence(
    tmp_path: Path, features: str, option: str, value: str, kind: str
) -> None:
    write(tmp_path / "songs" / "x.wav", chirp(6.0))
    done = songbag_here("extract", tmp_path / "songs", tmp_path / "store", "--features", features, option, value)
    assert done.returncode == 2
    assert f"{option}: decides nothing for features of {kind}" in done.stderr
    assert not (tmp_path / "store").exists()


def test_the_report_is_grammatical_for_nothing_new() -> None:
    from songbag_pipeline.cli.commands import _report

    assert _report(Summary(n_known=3, n_failed_before=1, n_adopted=0, snapshot=4, n_duplicates=0), "s") == [
        "Nothing is new: 3 songs were in the store already, 1 had failed before (--retry-failed tries it again)."
        " Snapshot 4."
    ]
