"""The contained place, with real faults of a decoder in a real process."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from songbag_pipeline.audio.files import modification_time
from songbag_pipeline.errors import ContainmentError
from songbag_pipeline.songs.containment import ContainedReader, Containment, contained_reader
from songbag_pipeline.songs.facts import SongFacts
from songbag_pipeline.songs.song import read_song
from songbag_store import FeatureSpec
from songbag_store.errors import StoreError
from songbag_store.types import StoredWindows
from songbag_store.windows.spill import WindowSpill
from tests.support.audio import chirp, write
from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]
SPEC = FeatureSpec(window_s=0.5, n_mels=40)
FAULTY = Containment(reader="tests.support.decoder_faults:read")
IMPATIENT = dataclasses.replace(FAULTY, patience_s=1.0, slowest_bytes_per_s=1.0)
"""A second for a file without bytes, hours for any other."""


@pytest.fixture
def reader() -> Iterator[ContainedReader]:
    with ContainedReader(FAULTY) as reader:
        yield reader


def read(reader: ContainedReader, path: Path) -> tuple[SongFacts, list[StoredWindows]]:
    with WindowSpill(SPEC) as spill:
        facts = reader.read(str(path), spill)
        return facts, [np.array(spill.windows())] if spill.n_windows else []


def process_of(reader: ContainedReader) -> int:
    assert reader._child is not None
    return reader._child.pid


def gone(pid: int) -> bool:
    """Whether a process that is no child of this one ends within a few seconds."""
    deadline = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_a_song_gives_the_same_facts_and_windows_as_in_this_process(
    tmp_path: Path, reader: ContainedReader, suffix: str
) -> None:
    path = write(tmp_path / f"x.{suffix}", chirp(300.0 if suffix == "wav" else 3.0))
    expected: list[StoredWindows] = []
    assert read(reader, path)[0] == read_song(str(path), SPEC, expected.append)
    np.testing.assert_array_equal(np.concatenate(read(reader, path)[1]), np.concatenate(expected))


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ("segfault", "decoder-crash", "SIGSEGV"),
        ("abort", "decoder-crash", "SIGABRT"),
        ("halfway", "decoder-crash", "SIGABRT"),
        ("allocate", "out-of-memory", "more memory"),
        ("loop", "decoder-hang", "no end after 1 s"),
    ],
)
def test_a_decoder_that_dies_hangs_or_takes_all_memory_costs_its_song_alone(
    tmp_path: Path, fault: str, code: str, said: str
) -> None:
    with ContainedReader(FAULTY if fault != "loop" else IMPATIENT) as reader:
        costs_its_song_alone(reader, tmp_path, fault, code, said)


def costs_its_song_alone(reader: ContainedReader, tmp_path: Path, fault: str, code: str, said: str) -> None:
    good, bad = (write(tmp_path / f"{name}-x.wav", chirp(1.0)) for name in ("good", fault))
    if fault == "loop":
        bad.write_bytes(b"")
    assert read(reader, good)[0].status == "ok"
    facts, windows = read(reader, bad)
    assert (facts.status, facts.error_code, windows) == ("failed", code, [])
    assert said in (facts.error or "")
    facts, windows = read(reader, good)
    assert (facts.status, facts.n_windows, len(np.concatenate(windows))) == ("ok", 3, 3)


def test_windows_of_a_song_that_fails_halfway_are_cut_off_from_the_file_of_the_batch(
    tmp_path: Path, reader: ContainedReader
) -> None:
    good, bad = (
        write(tmp_path / f"{name}-x.wav", chirp(60.0, seed=seed)) for name, seed in (("good", 1), ("halfway", 2))
    )
    with WindowSpill(SPEC) as spill:
        assert [reader.read(str(path), spill).status for path in (good, bad, good)] == ["ok", "failed", "ok"]
        once: list[StoredWindows] = []
        read_song(str(good), SPEC, once.append)
        np.testing.assert_array_equal(spill.windows(), np.concatenate([*once, *once]))
        assert spill.songs == [239, 239]
        assert os.fstat(spill.fileno()).st_size == 2 * 239 * SPEC.window_bytes


def test_what_is_known_of_a_file_that_kills_its_decoder_is_kept(tmp_path: Path, reader: ContainedReader) -> None:
    path = write(tmp_path / "abort-x.wav", chirp(1.0))
    facts, _ = read(reader, path)
    assert (facts.file_bytes, facts.modified_at) == (path.stat().st_size, modification_time(path.stat()))


def test_songs_are_not_blamed_for_the_memory_that_earlier_ones_lost(tmp_path: Path, reader: ContainedReader) -> None:
    path = write(tmp_path / "leak-x.wav", chirp(1.0))
    assert [read(reader, path)[0].status for _ in range(20)] == ["ok"] * 20


def test_what_a_decoder_prints_disturbs_nothing(tmp_path: Path, reader: ContainedReader) -> None:
    assert read(reader, write(tmp_path / "noise-x.wav", chirp(1.0)))[0].status == "ok"


def test_the_time_allowed_grows_with_the_file() -> None:
    minute, hours = Containment().timeout_s(1_000_000), Containment().timeout_s(1_000_000_000)
    assert 60 < minute < 120 < 3600 < hours


def test_one_process_serves_song_after_song_and_ends_with_its_reader(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", chirp(1.0))
    with ContainedReader() as reader:
        pids = {read(reader, path) and process_of(reader) for _ in range(3)}
    assert len(pids) == 1
    assert gone(pids.pop())


def test_batches_of_one_worker_share_a_process(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", chirp(1.0))
    pids = set()
    for _ in range(2):
        with contained_reader(FAULTY) as reader:
            read(reader, path)
            pids.add(process_of(reader))
    assert len(pids) == 1


def test_an_idle_process_that_is_gone_is_replaced(tmp_path: Path, reader: ContainedReader) -> None:
    path = write(tmp_path / "x.wav", chirp(1.0))
    read(reader, path)
    os.kill(process_of(reader), signal.SIGTERM)
    assert gone(process_of(reader))
    assert read(reader, path)[0].status == "ok"


@pytest.mark.parametrize("fault", ["good", "loop"])
def test_the_process_dies_with_its_worker_even_in_an_endless_loop(tmp_path: Path, fault: str) -> None:
    path = write(tmp_path / f"{fault}-x.wav", chirp(1.0))
    command = [sys.executable, "-m", "tests.support.contained_process", str(path)]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert worker.stdout is not None
    pid = int(worker.stdout.readline())
    time.sleep(0.3)
    worker.kill()
    worker.communicate()
    assert gone(pid)


def test_a_process_that_cannot_start_is_an_error_with_its_reason(tmp_path: Path) -> None:
    reader = ContainedReader(Containment(reader="tests.pipeline.nowhere:read"))
    with reader, pytest.raises(ContainmentError, match=r"No module named 'tests\.pipeline\.nowhere'"):
        read(reader, tmp_path / "x.wav")


@pytest.mark.fault(38)
def test_no_room_for_the_windows_is_no_fault_of_the_song(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: ContainedReader
) -> None:
    path = write(tmp_path / "x.wav", chirp(30.0))
    read(reader, path)
    import resource

    resource.prlimit(process_of(reader), resource.RLIMIT_FSIZE, (1000, 1000))
    with pytest.raises(StoreError, match="could not be kept"):
        read(reader, path)
