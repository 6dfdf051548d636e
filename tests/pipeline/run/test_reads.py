"""How often an extraction reads what it knows already."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from songbag_pipeline import extract
from songbag_pipeline.cli.commands import commands
from songbag_pipeline.run.config import ExtractConfig
from songbag_store import FeatureSpec
from songbag_store.progress import Silent
from songbag_store.storage.folder import LocalStorage
from songbag_store.writer import open_for_writing
from tests.support.audio import chirp, write

SPEC = FeatureSpec(window_s=0.5, n_mels=40)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What this process reads of stores in folders, by key; without the probe of put-if-absent."""
    counts: Counter[str] = Counter()
    get = LocalStorage.get

    def counted(storage: LocalStorage, key: str) -> bytes:
        if "probe" not in key:
            counts[key] += 1
        return get(storage, key)

    monkeypatch.setattr(LocalStorage, "get", counted)
    return counts


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    for number in range(3):
        write(tmp_path / "songs" / f"{number}.wav", chirp(1.0, seed=number))
    return tmp_path / "songs"


def test_a_run_with_nothing_to_do_reads_store_and_snapshot_once(
    songs: Path, tmp_path: Path, reads: Counter[str], standing: ExtractConfig
) -> None:
    extract(songs, tmp_path / "store", SPEC, standing, progress=Silent())
    reads.clear()
    done = CliRunner().invoke(commands, ["extract", str(songs), str(tmp_path / "store")])
    assert done.exit_code == 0, done.output
    assert "Nothing is new: 3 songs" in done.output
    assert reads == {"store.json": 1, "index/00000000000000000001.parquet": 1}


def test_a_run_with_work_reads_the_store_at_its_start_and_before_its_commit(
    songs: Path, tmp_path: Path, reads: Counter[str], standing: ExtractConfig
) -> None:
    extract(songs, tmp_path / "store", SPEC, standing, progress=Silent())
    write(songs / "new.wav", chirp(1.0, seed=9))
    reads.clear()
    assert extract(songs, tmp_path / "store", SPEC, standing, progress=Silent()).n_stored == 1
    # The commit reads both again: another writer may have come in the hours of a run.
    assert reads == {"store.json": 2, "index/00000000000000000001.parquet": 2}


def test_a_function_may_choose_the_spec_from_that_of_the_store(songs: Path, tmp_path: Path) -> None:
    asked: list[FeatureSpec | None] = []

    def choose(stored: FeatureSpec | None) -> FeatureSpec:
        asked.append(stored)
        return stored or SPEC

    for _ in range(2):
        open_for_writing(tmp_path / "store", choose)
    assert asked == [None, SPEC]
    assert open_for_writing(tmp_path / "store").spec == SPEC
    assert open_for_writing(tmp_path / "default").spec == FeatureSpec()
