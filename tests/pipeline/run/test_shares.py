"""How songs are shared out in batches: quick progress on a small job, fragments of a good size on a large one."""

from __future__ import annotations

import tracemalloc

import pyarrow as pa
import pytest

from songbag_pipeline.run.shares import expected_s, shares
from songbag_store import FeatureSpec

MB = 1 << 20
COMPRESSED = 0.67
"""What lz4 leaves of int16 windows of music."""


def songs(count: int, file_bytes: int | None, suffix: str = ".mp3") -> pa.Table:
    sizes = pa.array([file_bytes] * count, pa.int64())
    names = [str(number) for number in range(count)]
    paths, bounds = [f"/m/{name}{suffix}" for name in names], pa.nulls(count, pa.float64())
    return pa.table({"song_id": names, "path": paths, "file_bytes": sizes, "start_s": bounds, "end_s": bounds})


def sizes(table: pa.Table, spec: FeatureSpec | None = None, n_workers: int = 2) -> list[int]:
    return [batch.num_rows for batch in shares(table, spec or FeatureSpec(), lambda: n_workers)]


def test_every_song_is_in_one_batch_in_order_and_batches_grow_smaller() -> None:
    table = songs(500, 3_000_000)
    cuts = list(shares(table, FeatureSpec(), lambda: 2))
    assert [s for batch in cuts for s in batch["song_id"].to_pylist()] == table["song_id"].to_pylist()
    lengths = [batch.num_rows for batch in cuts]
    assert lengths == sorted(lengths, reverse=True)
    assert (lengths[0], lengths[-1]) == (63, 1)


def test_a_small_job_shows_progress_early_and_keeps_every_worker_busy() -> None:
    assert max(sizes(songs(10, 4_000_000))) == 2
    assert max(sizes(songs(100, 4_000_000), n_workers=8)) == 4


@pytest.mark.parametrize(
    ("suffix", "file_bytes", "duration_s"),
    [
        (".mp3", 3_840_000, 240),
        (".flac", 25_000_000, 240),
        (".wav", 42_336_000, 240),
        (".mp3", 1_200_000, 30),
        (".opus", 3_800_000, 240),
    ],
)
@pytest.mark.parametrize(
    "spec",
    [FeatureSpec(), FeatureSpec(n_mfcc=40), FeatureSpec(kind="logmel"), FeatureSpec(deltas=2, window_s=2.0)],
    ids=["default", "40 mfcc", "logmel", "deltas"],
)
def test_fragments_of_a_large_job_take_64_to_256_mb(
    suffix: str, file_bytes: int, duration_s: float, spec: FeatureSpec
) -> None:
    hop_s = spec.window_hop_samples / spec.sample_rate_hz
    song_bytes = (1 + (duration_s - spec.window_s) // hop_s) * spec.window_bytes
    lengths = sizes(songs(100_000, file_bytes, suffix), spec)
    assert 64 * MB < lengths[0] * song_bytes * COMPRESSED < 256 * MB
    assert sum(n for n in lengths if n == lengths[0]) > 80_000


def test_a_song_counts_for_no_more_than_what_is_read_of_it() -> None:
    spec = FeatureSpec(max_duration_s=30.0)
    assert expected_s(songs(3, 500_000_000), spec).tolist() == [30.0] * 3
    assert expected_s(songs(1, None), spec).tolist() == [2.5]
    assert max(sizes(songs(20_000, 500_000_000), spec)) > 1000


def test_a_part_of_a_file_counts_for_its_own_length() -> None:
    parts = {"start_s": pa.array([None, 7200.0, 7200.0, None]), "end_s": pa.array([None, 7260.0, None, 5.0])}
    table = songs(4, 10 * 3600 * 24_000)
    for name, column in parts.items():
        table = table.set_column(table.column_names.index(name), name, column)
    assert expected_s(table, FeatureSpec()).tolist() == [36_000.0, 60.0, 28_800.0, 5.0]


def test_files_that_are_gone_do_not_make_a_batch_without_end() -> None:
    assert max(sizes(songs(20_000, None))) == 2500
    assert max(sizes(songs(100_000, None))) == 4096


def test_workers_that_come_later_make_the_batches_smaller() -> None:
    present = [1, 1, 50]
    lengths = [
        b.num_rows for b in shares(songs(1000, 2_400_000), FeatureSpec(), lambda: present.pop(0) if present else 50)
    ]
    assert lengths[0] == 250
    assert lengths[2] < 5


@pytest.mark.fault(36)
def test_a_list_of_millions_of_songs_is_cut_with_some_bytes_a_song() -> None:
    column = pa.chunked_array([pa.array(["/music/a.mp3"] * 100_000)] * 10)
    sizes, bounds = pa.chunked_array([pa.array([5_000_000] * 100_000)] * 10), pa.nulls(1_000_000, pa.float64())
    table = pa.table({"path": column, "file_bytes": sizes, "start_s": bounds, "end_s": bounds})
    tracemalloc.start()
    first = next(shares(table, FeatureSpec(), lambda: 2))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert first.num_rows > 300
    assert peak < 30 * table.num_rows
