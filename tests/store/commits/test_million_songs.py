"""The benchmark of a large index in a smaller real form: the same code, files and processes with 20,000 songs."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.million_songs import build, measure

N_SONGS = 20_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("large"), N_SONGS)


def test_opening_and_info_and_a_query_take_little_memory(made: tuple[Path, Path]) -> None:
    found = measure("open and info", *made)
    assert str(found["said"]).startswith("20,000 songs")
    assert float(found["peak_mb"]) < 300
    found = measure("group-by query on the open store", *made)
    assert (found["said"], float(found["peak_mb"]) < 350) == ("10", True)


def test_a_no_op_plan_looks_at_every_file_and_finds_nothing_to_do(made: tuple[Path, Path]) -> None:
    found = measure("plan of a no-op extract, opening included", *made)
    assert found["said"] == "0 to do, 20,000 known"
    # A million songs may take 2 GB; most of it is the same for any number.
    assert float(found["peak_mb"]) < 400


def test_a_song_takes_few_bytes_of_the_index(made: tuple[Path, Path]) -> None:
    store, _ = made
    assert sum(path.stat().st_size for path in (store / "index").iterdir()) < 250 * N_SONGS
